package sim_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/ringkv/ringkv/cluster/sim"
	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/storage/raftlog"
	"github.com/ringkv/ringkv/storage/raftlog/memfs"
)

// TestConvicts breaks the system in ways that a careless change could, and demands that it is noticed.
func TestConvicts(t *testing.T) {
	for _, c := range []struct {
		name     string
		sabotage sim.Sabotage
		seeds    uint64 // in which it must be noticed at least once
	}{
		{"sync does nothing", sim.Sabotage{FS: func(fs raftlog.FS) raftlog.FS { return lazyFS{fs, true} }}, 30},
		{"sync comes too late", sim.Sabotage{FS: func(fs raftlog.FS) raftlog.FS { return lazyFS{fs, false} }}, 60},
		{"the log's end is lost", sim.Sabotage{Restart: rewriteLog(loseEnd)}, 60},
		{"the engine is never synced", sim.Sabotage{Engine: neverSyncs}, 30},
		{"the log is compacted beyond what the engine has synced", sim.Sabotage{Engine: syncsInstalls}, 30},
		{"the engine is not synced below its memory", sim.Sabotage{Below: neverSyncs}, 30},
		{"the log is compacted to what is in memory", sim.Sabotage{Engine: countsMemory}, 30},
		{"memory is let go before the engine has it", sim.Sabotage{Below: dropsLayers}, 10},
		{"leader trusts itself", sim.Sabotage{TrustLeader: true}, 100},
		{"conditions are lost", sim.Sabotage{Command: loseCondition}, 10},
		{"writes are lost", sim.Sabotage{Command: loseWrite}, 10},
		{"unknown writes are repeated", sim.Sabotage{Repeat: true}, 60},
		{"snapshots are damaged", sim.Sabotage{Snapshot: damageKey}, 20},
		{"TTLs are cut", sim.Sabotage{Command: cutTTL}, 20},
		{"expired keys are found until they are purged", sim.Sabotage{Revive: true}, 60},
	} {
		t.Run(c.name, func(t *testing.T) {
			for seed := uint64(1); seed <= c.seeds; seed++ {
				rep := sim.Run(sim.Config{Seed: seed, Mortal: true, Sabotage: c.sabotage})
				if rep.Err != nil {
					first, _, _ := strings.Cut(rep.Err.Error(), "\n")
					t.Logf("after %d seeds: %s", seed, first)
					return
				}
			}
			t.Fatalf("not noticed in %d seeds", c.seeds)
		})
	}
}

// neverSyncs lets a worker believe that what it applied is durable. syncsInstalls does the same, but for the end of an
// install: then only the log is given up before the engine has what was in it.
func neverSyncs(e storage.Engine) storage.Engine    { return &forgetful{Engine: e, always: true} }
func syncsInstalls(e storage.Engine) storage.Engine { return &forgetful{Engine: e} }

type forgetful struct {
	storage.Engine
	always    bool
	installed bool // an install or a drop has ended since the last sync
}

// Sync is not as storage.Engine says.
func (f *forgetful) Sync() error {
	if f.always || !f.installed {
		return nil
	}
	f.installed = false
	return f.Engine.Sync()
}

// Batch is as storage.Engine says.
func (f *forgetful) Batch() storage.Batch { return &noticed{f.Engine.Batch(), f} }

type noticed struct {
	storage.Batch
	engine *forgetful
}

// Delete is as storage.Batch says. The marker of an install or drop goes with its end.
func (b *noticed) Delete(key []byte) error {
	if len(key) == 4 && key[2] == 0 && key[3] == 'p' {
		b.engine.installed = true
	}
	return b.Batch.Delete(key)
}

// lazyFS syncs a file when it is next written to, or never.
type lazyFS struct {
	raftlog.FS
	never bool
}

func (fs lazyFS) Create(path string) (raftlog.File, error) {
	f, err := fs.FS.Create(path)
	return &lazyFile{File: f, never: fs.never}, err
}

func (fs lazyFS) Open(path string) (raftlog.File, error) {
	f, err := fs.FS.Open(path)
	return &lazyFile{File: f, never: fs.never}, err
}

type lazyFile struct {
	raftlog.File
	never, due bool
}

func (f *lazyFile) Sync() error {
	f.due = true
	return nil
}

func (f *lazyFile) WriteAt(b []byte, off int64) (int, error) {
	if f.due && !f.never {
		f.due = false
		if err := f.File.Sync(); err != nil {
			return 0, err
		}
	}
	return f.File.WriteAt(b, off)
}

// rewriteLog damages every group of a log in a way that no checksum tells.
func rewriteLog(damage func([]raftlog.Entry) []raftlog.Entry) func(*sim.Disk) error {
	return func(d *sim.Disk) error {
		old, err := raftlog.Open(d.FS, sim.LogDir, sim.LogOptions())
		if err != nil {
			return err
		}
		fs := memfs.New()
		fresh, err := raftlog.Open(fs, sim.LogDir, sim.LogOptions())
		if err != nil {
			return err
		}
		for _, g := range old.Groups() {
			if err := rewriteGroup(old, fresh, g, damage); err != nil {
				return err
			}
		}
		if err := errors.Join(old.Close(), fresh.Close()); err != nil {
			return err
		}
		d.FS = fs
		return nil
	}
}

func rewriteGroup(old, fresh *raftlog.Log, g raftlog.GroupID, damage func([]raftlog.Entry) []raftlog.Entry) error {
	first, last := old.FirstIndex(g), old.LastIndex(g)
	term, err := old.Term(g, first-1)
	if err != nil {
		return err
	}
	entries, err := old.Entries(g, first, last+1, 1<<40)
	if err != nil {
		return err
	}
	var b raftlog.Batch
	b.Reset(g, first-1, term)
	if s, ok := old.State(g); ok {
		b.SetState(g, s)
	}
	if entries = damage(entries); len(entries) > 0 {
		b.Append(g, entries)
	}
	return fresh.Write(&b, true)
}

func loseEnd(entries []raftlog.Entry) []raftlog.Entry {
	return entries[:max(0, len(entries)-2)]
}

// loseCondition makes some writes unconditional.
func loseCondition(rng *rand.Rand, data []byte) []byte {
	c, err := storage.DecodeCommand(data)
	if err != nil || rng.IntN(4) > 0 || bytes.Equal(c.Key, []byte("cluster")) {
		return data
	}
	c.Cond = storage.Condition{}
	return storage.AppendCommand(nil, &c)
}

// cutTTL lets keys expire early.
func cutTTL(_ *rand.Rand, data []byte) []byte {
	c, err := storage.DecodeCommand(data)
	if err != nil || c.TTL == 0 {
		return data
	}
	c.TTL = 1 + c.TTL/2
	return storage.AppendCommand(nil, &c)
}

// loseWrite makes some writes write something else.
func loseWrite(rng *rand.Rand, data []byte) []byte {
	c, err := storage.DecodeCommand(data)
	if err != nil || rng.IntN(20) > 0 || bytes.Equal(c.Key, []byte("cluster")) {
		return data
	}
	c.Value = []byte("lost")
	return storage.AppendCommand(nil, &c)
}

// damageKey changes a key on its way.
func damageKey(_ *rand.Rand, data []byte) []byte {
	return bytes.Replace(data, []byte("key/1"), []byte("kez/1"), 1)
}
