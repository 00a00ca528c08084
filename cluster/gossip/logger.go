package gossip

import (
	"context"
	"log"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// warnEvery is the least time between two of memberlist's errors at level warn. While a node is away it repeats them
// many times a second.
const warnEvery = 30 * time.Second

// bridge writes memberlist's log lines to slog: errors as warnings, now and then, everything else for debugging.
type bridge struct {
	logger *slog.Logger

	mu   sync.Mutex
	last time.Time // of the last warning
}

func newLogger(logger *slog.Logger) *log.Logger {
	return log.New(&bridge{logger: logger}, "", 0)
}

// Write takes one line, such as "[ERR] memberlist: ...".
func (b *bridge) Write(line []byte) (int, error) {
	level, text := slog.LevelDebug, strings.TrimSpace(string(line))
	refusal := strings.Contains(text, errForeign.Error()) // logged by who refused
	if !refusal && strings.HasPrefix(text, "[ERR]") && b.due() {
		level = slog.LevelWarn
	}
	if _, after, ok := strings.Cut(text, "memberlist: "); ok {
		text = after
	}
	b.logger.Log(context.Background(), level, "memberlist", "text", text)
	return len(line), nil
}

func (b *bridge) due() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if now.Sub(b.last) < warnEvery {
		return false
	}
	b.last = now
	return true
}
