package watch

import (
	"sync"
	"sync/atomic"

	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// Event is one change, shared by all watchers that it is for. Nobody changes it.
type Event struct {
	storage.Change
	Partition ring.PartitionID

	once sync.Once
	form []byte
	held atomic.Int32 // queues that hold it
}

// Form returns what render makes of the event, made once for all watchers.
func (e *Event) Form(render func(*Event) []byte) []byte {
	e.once.Do(func() { e.form = render(e) })
	return e.form
}

// newEvent makes an event that keeps nothing else in memory: c is a part of a larger piece.
func newEvent(p ring.PartitionID, c *storage.Change) *Event {
	return &Event{Change: c.Clone(), Partition: p}
}
