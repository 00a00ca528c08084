package changelog

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"sync"

	"github.com/ringkv/ringkv/storage"
)

// Options are those of a Log. Zero means the default.
type Options struct {
	MaxBytes     int64        // of all files, about; default 128 MiB
	SegmentBytes int64        // after which a file is closed, under 2 GiB; default a 16th of MaxBytes
	Logger       *slog.Logger // default: nothing is logged
}

func (o Options) withDefaults() Options {
	if o.MaxBytes == 0 {
		o.MaxBytes = 128 << 20
	}
	if o.SegmentBytes == 0 {
		o.SegmentBytes = min(o.MaxBytes/16, math.MaxInt32)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Log is the changes of a node's partitions. Write and Publish are for the one goroutine that applies entries; all other
// methods may be called from any.
type Log struct {
	dir  string
	opts Options

	// The writer's.
	active *segment // nil: to be made
	next   uint64   // number of the next segment
	buf    []byte
	staged []staged
	broken bool // the last write did not succeed

	mu        sync.RWMutex // guards what follows
	tracks    map[storage.PartitionID]*track
	segments  []*segment // oldest first, the active one last
	bytes     int64
	listeners map[*Listener]struct{}
	closed    bool
}

// staged is a record that is written and not yet to be seen. seg is nil where the entries changed nothing.
type staged struct {
	changes storage.Changes // without Data
	block   block
	lost    bool
}

// Open reads what dir holds, which is made if need be. Nothing of it is given out before Settle says how far the partition
// got. What is damaged counts as lost.
func Open(dir string, o Options) (*Log, error) {
	l := &Log{dir: dir, opts: o.withDefaults(), tracks: make(map[storage.PartitionID]*track), listeners: make(map[*Listener]struct{})}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("open change log: %w", err)
	}
	numbers, err := segmentNumbers(dir)
	if err != nil {
		return nil, fmt.Errorf("open change log: %w", err)
	}
	for _, n := range numbers {
		l.next = n + 1
		s, err := openSegment(dir, n, l.found)
		if err != nil {
			l.giveUp(n, err)
			continue
		}
		l.segments = append(l.segments, s)
		l.bytes += s.size
		if s.size == 0 {
			l.dropEmpty(s)
		}
	}
	l.shrink()
	return l, nil
}

func (l *Log) found(s *segment, off int64, size int, c *storage.Changes) {
	b := block{through: c.Through, seg: s, off: uint32(off), size: uint32(size)}
	if len(c.Data) == 0 {
		b.seg = nil
	}
	l.track(c.Partition).add(c.From, c.Through, b)
}

// giveUp loses a segment that cannot be read, which is no reason for a node not to start.
func (l *Log) giveUp(number uint64, err error) {
	l.opts.Logger.Warn("read a file of the change log: watchers will miss what is in it, and are told so", "err", err)
	if err := os.Remove(segmentPath(l.dir, number)); err != nil {
		l.opts.Logger.Warn("remove an unreadable file of the change log", "err", err)
	}
}

func (l *Log) dropEmpty(s *segment) {
	l.segments = l.segments[:len(l.segments)-1]
	if err := s.remove(); err != nil {
		l.opts.Logger.Warn("remove an empty file of the change log", "path", s.path, "err", err)
	}
}

func (l *Log) track(p storage.PartitionID) *track {
	t := l.tracks[p]
	if t == nil {
		t = &track{}
		l.tracks[p] = t
	}
	return t
}

// Settle says that there is a replica of a partition whose state is that of index applied. What is recorded behind it will
// be recorded again, and where less is recorded something was lost. Index 0 is a replica that is yet to be filled.
func (l *Log) Settle(p storage.PartitionID, applied uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.track(p)
	t.cut(applied)
	if t.through < applied {
		t.reset(applied)
	}
	t.here = applied > 0
}

// Forget says that there is no replica of a partition any more.
func (l *Log) Forget(p storage.PartitionID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.tracks, p)
}

// Through is the index up to which a partition's changes are recorded, 0 if there is no replica.
func (l *Log) Through(p storage.PartitionID) uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if t := l.tracks[p]; t != nil && t.here {
		return t.through
	}
	return 0
}

// Close closes the files. Nobody uses the log any more.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	var errs []error
	for _, s := range l.segments {
		errs = append(errs, s.file.Close())
	}
	return errors.Join(errs...)
}

// Listener hears of new changes of any partition.
type Listener struct {
	C   chan struct{} // a token after changes came
	log *Log
}

// Listen begins to listen. Close the Listener.
func (l *Log) Listen() *Listener {
	li := &Listener{C: make(chan struct{}, 1), log: l}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.listeners[li] = struct{}{}
	return li
}

// Close ends it.
func (li *Listener) Close() {
	li.log.mu.Lock()
	defer li.log.mu.Unlock()
	delete(li.log.listeners, li)
}
