package badgerdb

import (
	"bytes"
	"fmt"

	"github.com/ringkv/ringkv/storage"
)

// scratchKey is written and dropped to have Badger write a memory table out, for which it has no call. It is longer than
// any key of a caller, so it is no prefix of one.
func scratchKey() []byte { return bytes.Repeat([]byte{0xff}, scratchKeyBytes) }

const scratchKeyBytes = storage.MaxEngineKeyBytes + 1

// Flush writes what is in memory into tables and begins a new log. It belongs to the one writer, and no batch is open.
// Readers wait meanwhile, up to a second or two. Of its errors none is harmless: as after those of Commit, the engine is
// to be opened again.
func (e *Engine) Flush() error {
	err := e.commitScratch()
	if err == nil {
		err = e.Sync()
	}
	if err == nil {
		err = e.db.DropPrefix(scratchKey())
	}
	if err == nil {
		err = e.logs.follow()
	}
	if err != nil {
		e.failed.Store(true)
		return fmt.Errorf("flush: %w: %w", storage.ErrFailed, err)
	}
	return nil
}

func (e *Engine) commitScratch() error {
	key := scratchKey()
	b := &batch{reader: reader{txn: e.db.NewTransaction(true)}, engine: e, size: len(key)}
	e.writing.Store(true)
	if err := b.txn.Set(key, seal(key, nil)); err != nil {
		b.Discard()
		return err
	}
	return b.Commit()
}

// Compact merges tables until what was deleted or overwritten takes no space in them any more. After a Flush that is
// all of it but for what an open view may read. It runs beside everything else and cannot be interrupted: Close must not be
// called meanwhile. For a while it needs the space of some ten tables more, about 100 MiB.
func (e *Engine) Compact() error {
	if e.closed.Load() {
		return storage.ErrClosed
	}
	if err := e.db.Flatten(1); err != nil {
		return fmt.Errorf("compact: %w", err)
	}
	return nil
}
