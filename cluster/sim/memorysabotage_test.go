package sim_test

import (
	"errors"

	"github.com/ringkv/ringkv/storage"
)

// countsMemory calls what was applied durable as soon as somebody wants to have it synced, which then begins.
func countsMemory(e storage.Engine) storage.Engine { return hasty{e, e.(starter)} }

type starter interface {
	StartSync() func() (bool, error)
}

type hasty struct {
	storage.Engine
	starter starter
}

// StartSync is not as writeback.Engine says.
func (h hasty) StartSync() func() (bool, error) {
	ask := h.starter.StartSync()
	return func() (bool, error) {
		_, err := ask()
		return err == nil, err
	}
}

// dropsLayers lets the layer of memory go when its batch was handed over, which the engine below commits a little later.
func dropsLayers(e storage.Engine) storage.Engine { return &tardy{Engine: e} }

type tardy struct {
	storage.Engine
	due storage.Batch
}

func (t *tardy) catchUp() error {
	b := t.due
	t.due = nil
	if b == nil {
		return nil
	}
	return b.Commit()
}

// Batch is not as storage.Engine says.
func (t *tardy) Batch() storage.Batch {
	if err := t.catchUp(); err != nil {
		return t.Engine.Batch() // it fails as well
	}
	return &tardyBatch{t.Engine.Batch(), t}
}

// Sync is as storage.Engine says.
func (t *tardy) Sync() error { return errors.Join(t.catchUp(), t.Engine.Sync()) }

// Close is as storage.Engine says.
func (t *tardy) Close() error { return errors.Join(t.catchUp(), t.Engine.Close()) }

type tardyBatch struct {
	storage.Batch
	engine *tardy
}

// Commit is not as storage.Batch says.
func (b *tardyBatch) Commit() error {
	b.engine.due = b.Batch
	return nil
}

// Discard is as storage.Batch says.
func (b *tardyBatch) Discard() {
	if b.engine.due != b.Batch {
		b.Batch.Discard()
	}
}
