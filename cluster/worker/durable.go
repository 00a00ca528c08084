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
	if !w.unsynced && w.syncing == nil {
		return nil
	}
	if err := w.engine.Sync(); err != nil {
		return fmt.Errorf("sync state machines: %w", err)
	}
	w.unsynced, w.dropped, w.syncing = false, false, nil
	for _, g := range w.order {
		g.durable = g.part.Meta().Applied
	}
	return nil
}

// starter is an engine that can sync beside its writer.
type starter interface {
	// StartSync begins to do what Sync does with everything committed so far. The writer asks the function returned, between
	// batches, until that says true or returns an error, as Sync would.
	StartSync() (done func() (bool, error))
}

// syncBehind makes durable what was applied, where that is due. Nobody waits for it but the log, which keeps its entries
// until it is done; so it is left to go on beside the turns, if the engine can do that.
func (w *Worker) syncBehind() error {
	if w.syncing != nil {
		return w.followSync()
	}
	if !w.syncDue {
		return nil
	}
	e, ok := w.engine.(starter)
	if !ok {
		return w.syncEngine()
	}
	w.syncDue = false
	if err := w.markLog(); err != nil {
		return fmt.Errorf("mark raft log: %w", err)
	}
	if !w.unsynced {
		return nil
	}
	w.unsynced, w.syncing = false, e.StartSync()
	for _, g := range w.order {
		g.syncing = g.part.Meta().Applied
	}
	return w.followSync()
}

// followSync takes note of the end of a sync that was begun. One that was made meanwhile has taken its place.
func (w *Worker) followSync() error {
	done, err := w.syncing()
	if err != nil {
		return fmt.Errorf("sync state machines: %w", err)
	}
	if !done {
		return nil
	}
	w.syncing = nil
	for _, g := range w.order {
		g.durable = max(g.durable, g.syncing)
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
