package worker

import (
	"fmt"

	"github.com/ringkv/ringkv/storage"
)

// syncEvery is how many ticks apart the engine is synced while something is committed to it: about a second.
const syncEvery = 10

// Sync makes durable what was applied and notes how far the log is, as is done about once a second anyway. An error is
// final. It is called before an orderly end.
func (w *Worker) Sync() error { return w.syncEngine() }

// syncEngine makes durable what was applied. Until then only the raft log has it for sure, which a crash lets repeat it: so
// the log keeps what is not durable here. What else relies on the engine syncs it first: a new configuration, the end of an
// install, a replica in the place of one that was dropped.
func (w *Worker) syncEngine() error {
	w.syncDue = false
	if err := w.markLog(); err != nil {
		return fmt.Errorf("mark raft log: %w", err)
	}
	if !w.unsynced {
		return nil
	}
	if err := w.engine.Sync(); err != nil {
		return fmt.Errorf("sync state machines: %w", err)
	}
	w.unsynced, w.dropped = false, false
	for _, g := range w.order {
		g.durable = g.part.Meta().Applied
	}
	return nil
}

// markLog notes in the engine how far the raft log is durable. The next start refuses a log that ends before: with its end
// votes and acknowledgements are gone.
func (w *Worker) markLog() error {
	record := w.log.Durable()
	if record == w.marked {
		return nil
	}
	b := w.engine.Batch()
	defer b.Discard()
	if err := storage.SetLogMark(b, record); err != nil {
		return err
	}
	if err := b.Commit(); err != nil {
		return err
	}
	w.marked, w.unsynced = record, true
	return nil
}
