package watch

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Config is what a Hub is made of. Zero means the default.
type Config struct {
	Cluster Cluster // required

	MaxWatchers int           // default 10,000
	MaxCatchUps int           // resumed watchers that read what they missed at the same time; default 64
	SlotWait    time.Duration // how long one waits for its turn to catch up; default 5 s

	// A watcher is given up when more waits for it, a whole entry aside: events, and bytes of keys and values.
	QueueEvents int // default 8192
	QueueBytes  int // default 4 MiB
	// HeldBytes bounds what all queues hold together, events that several of them share counted once. Default 256 MiB.
	HeldBytes int64

	Poll   time.Duration // how long one read waits for news; default 2 s
	Retry  time.Duration // the pause after a read that failed; default 100 ms
	Linger time.Duration // for how long histories are followed after the last watcher left; default 5 s

	Logger *slog.Logger // default: nothing is logged
}

func (c Config) withDefaults() Config {
	setDefault(&c.MaxWatchers, 10_000)
	setDefault(&c.MaxCatchUps, 64)
	setDefault(&c.SlotWait, 5*time.Second)
	setDefault(&c.QueueEvents, 8192)
	setDefault(&c.QueueBytes, 4<<20)
	setDefault(&c.HeldBytes, 256<<20)
	setDefault(&c.Poll, 2*time.Second)
	setDefault(&c.Retry, 100*time.Millisecond)
	setDefault(&c.Linger, 5*time.Second)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func setDefault[T comparable](p *T, value T) {
	var zero T
	if *p == zero {
		*p = value
	}
}

// Hub is a node's watchers. All methods may be called from any goroutine.
type Hub struct {
	cfg     Config
	cluster Cluster
	ctx     context.Context // ends with Close
	cancel  context.CancelCauseFunc
	tasks   sync.WaitGroup
	slots   chan struct{} // a token for each watcher that catches up
	heads   rounds

	held    atomic.Int64 // see Config.HeldBytes
	events  atomic.Uint64
	lagged  atomic.Uint64
	resumed atomic.Uint64

	mu       sync.Mutex // guards what follows, and the feed
	closed   bool
	watchers int
	feed     *feed // nil while nobody watches
}

// New returns a Hub that does nothing until somebody watches.
func New(cfg Config) *Hub {
	cfg = cfg.withDefaults()
	h := &Hub{cfg: cfg, cluster: cfg.Cluster, slots: make(chan struct{}, cfg.MaxCatchUps)}
	h.ctx, h.cancel = context.WithCancelCause(context.Background())
	return h
}

// Close ends all watchers with ErrClosed and returns after the last goroutine has ended.
func (h *Hub) Close() {
	h.mu.Lock()
	h.closed = true
	if h.feed != nil {
		h.feed.end(ErrClosed)
	}
	h.mu.Unlock()
	h.cancel(ErrClosed)
	h.tasks.Wait()
}

// Stats are the numbers of a Hub since it was made, but for the first two: those are of now.
type Stats struct {
	Watchers  int
	HeldBytes int64
	Events    uint64 // given to watchers
	Lagged    uint64 // watchers that were given up
	Resumed   uint64 // watches that began with a cursor
}

// Stats looks at everything once.
func (h *Hub) Stats() Stats {
	h.mu.Lock()
	n := h.watchers
	h.mu.Unlock()
	return Stats{
		Watchers: n, HeldBytes: h.held.Load(),
		Events: h.events.Load(), Lagged: h.lagged.Load(), Resumed: h.resumed.Load(),
	}
}

// Watch begins to watch the keys with a prefix, which may be empty: from now on, or where the watcher stood whose cursor is
// given. The caller closes the Watcher. ctx is for the beginning only.
//
// Errors: ErrBadCursor, ErrTooOld, *LimitError, ErrClosed; what Cluster.Heads returned, where a partition is not available.
func (h *Hub) Watch(ctx context.Context, prefix []byte, cursor string) (*Watcher, error) {
	w := &Watcher{hub: h, prefix: slices.Clone(prefix), codec: newCodec(h.cluster.ID(), prefix), news: make(chan struct{}, 1)}
	if cursor != "" {
		at, err := w.codec.decode(cursor, h.cluster.Partitions())
		if err != nil {
			return nil, err
		}
		w.at = at
	}
	if err := h.admit(); err != nil {
		return nil, err
	}
	w.counted = true
	if err := h.begin(ctx, w, cursor != ""); err != nil {
		w.Close()
		return nil, err
	}
	if cursor != "" {
		h.resumed.Add(1)
	}
	return w, nil
}

// admit counts one more watcher.
func (h *Hub) admit() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.closed:
		return ErrClosed
	case h.watchers >= h.cfg.MaxWatchers:
		return &LimitError{What: "watches on this node", Limit: h.cfg.MaxWatchers}
	}
	h.watchers++
	return nil
}

func (h *Hub) begin(ctx context.Context, w *Watcher, resume bool) error {
	if !resume {
		return h.beginNow(ctx, w)
	}
	if err := h.join(ctx, w); err != nil {
		return err
	}
	if err := h.checkFuture(ctx, w); err != nil {
		return err
	}
	return w.beginCatchUp(ctx)
}

// beginNow lets w begin behind everything acknowledged before now.
func (h *Hub) beginNow(ctx context.Context, w *Watcher) error {
	heads, err := h.heads.next(ctx, h)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	f, err := h.follow(heads)
	if err != nil {
		return err
	}
	w.at = position{through: slices.Clone(heads)}
	w.at.reach(f.at)
	f.add(w)
	f.register(w)
	return nil
}

// join makes w one of the feed's, which is started if need be.
func (h *Hub) join(ctx context.Context, w *Watcher) error {
	for {
		var heads []uint64
		if !h.following() {
			var err error
			if heads, err = h.heads.next(ctx, h); err != nil {
				return err
			}
		}
		if joined, err := h.joinAt(heads, w); joined || err != nil {
			return err
		}
	}
}

func (h *Hub) following() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.feed != nil
}

// joinAt reports false if there is no feed, and no heads to begin one at: it ended meanwhile.
func (h *Hub) joinAt(heads []uint64, w *Watcher) (bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.feed == nil && heads == nil {
		return false, nil
	}
	f, err := h.follow(heads)
	if err != nil {
		return false, err
	}
	f.add(w)
	return true, nil
}

// follow returns the feed, a new one from heads on if there is none.
func (h *Hub) follow(heads []uint64) (*feed, error) {
	if h.closed {
		return nil, ErrClosed
	}
	if h.feed == nil {
		h.feed = newFeed(h, slices.Clone(heads))
	}
	return h.feed, nil
}

// checkFuture refuses a cursor that is ahead of what is committed: of a cluster that was set back since.
func (h *Hub) checkFuture(ctx context.Context, w *Watcher) error {
	h.mu.Lock()
	ahead := w.at.aheadOf(w.feed.at)
	h.mu.Unlock()
	if !ahead {
		return nil
	}
	heads, err := h.heads.next(ctx, h)
	if err == nil && w.at.aheadOf(heads) {
		err = ErrBadCursor
	}
	return err
}
