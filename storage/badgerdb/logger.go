package badgerdb

import (
	"fmt"
	"log/slog"
	"strings"
)

// logAdapter passes Badger's warnings and errors on and drops the rest.
type logAdapter struct{ l *slog.Logger }

func (a logAdapter) Errorf(format string, args ...any) {
	a.l.Error("badger", "text", text(format, args))
}
func (a logAdapter) Warningf(format string, args ...any) {
	a.l.Warn("badger", "text", text(format, args))
}
func (a logAdapter) Infof(string, ...any)  {}
func (a logAdapter) Debugf(string, ...any) {}

func text(format string, args []any) string { return strings.TrimSpace(fmt.Sprintf(format, args...)) }
