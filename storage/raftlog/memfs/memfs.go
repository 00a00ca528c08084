// Package memfs is a file system in memory that forgets like a disk at a power cut.
//
// It owns a namespace and files, each as they stand and as they would be found after a crash. It implements
// raftlog.FS for tests and for the simulator of the cluster; it must not be used for anything that is to last. It
// guarantees that what was synced survives Crash, that anything else may be lost wholly or in part, and that the same
// calls with the same random source give the same bytes. An FS is used by one goroutine at a time.
package memfs

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"

	"github.com/ringkv/ringkv/storage/raftlog"
)

// ErrCrashed is returned by every handle that was opened before the last Crash or Kill.
var ErrCrashed = errors.New("memfs: file handle from before the crash")

// Op names a call to the file system for FS.Fail.
type Op string

// The calls that FS.Fail is asked about.
const (
	OpCreate   Op = "create"
	OpOpen     Op = "open"
	OpRemove   Op = "remove"
	OpList     Op = "list"
	OpSyncDir  Op = "syncdir"
	OpRead     Op = "read"
	OpWrite    Op = "write"
	OpSync     Op = "sync"
	OpTruncate Op = "truncate"
)

// FS is the file system. Directories need not be created and never vanish.
type FS struct {
	// Fail is asked before every call; an error that it returns fails the call, which then changes nothing.
	// A failed sync leaves what it should have made durable as likely to be lost as before. Nil: nothing fails.
	Fail func(op Op, path string) error

	names  map[string]*inode // as they stand
	synced map[string]*inode // as found after a crash, before the unsynced changes
	moves  []move            // unsynced changes of names, in order
	locks  map[string]int    // path → epoch of the holder
	epoch  int               // counts crashes
}

// move is an unsynced creation, or with a nil node removal, of a name.
type move struct {
	path string
	node *inode
}

// New returns an empty file system.
func New() *FS {
	return &FS{names: map[string]*inode{}, synced: map[string]*inode{}, locks: map[string]int{}}
}

func (f *FS) fail(op Op, path string) error {
	if f.Fail == nil {
		return nil
	}
	return f.Fail(op, path)
}

// MkdirAll does nothing: every directory exists.
func (f *FS) MkdirAll(string) error { return nil }

// List returns the names in dir, ascending.
func (f *FS) List(dir string) ([]string, error) {
	if err := f.fail(OpList, dir); err != nil {
		return nil, err
	}
	var list []string
	for path := range f.names {
		if filepath.Dir(path) == filepath.Clean(dir) {
			list = append(list, filepath.Base(path))
		}
	}
	slices.Sort(list)
	return list, nil
}

// Create makes an empty file; it fails with fs.ErrExist if there is one.
func (f *FS) Create(path string) (raftlog.File, error) {
	if err := f.fail(OpCreate, path); err != nil {
		return nil, err
	}
	if f.names[path] != nil {
		return nil, &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist}
	}
	n := &inode{}
	f.names[path] = n
	f.moves = append(f.moves, move{path, n})
	return &handle{fs: f, path: path, node: n, epoch: f.epoch}, nil
}

// Open opens a file; it fails with fs.ErrNotExist if there is none.
func (f *FS) Open(path string) (raftlog.File, error) {
	if err := f.fail(OpOpen, path); err != nil {
		return nil, err
	}
	n := f.names[path]
	if n == nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	return &handle{fs: f, path: path, node: n, epoch: f.epoch}, nil
}

// Remove deletes a file; it fails with fs.ErrNotExist if there is none.
func (f *FS) Remove(path string) error {
	if err := f.fail(OpRemove, path); err != nil {
		return err
	}
	if f.names[path] == nil {
		return &fs.PathError{Op: "remove", Path: path, Err: fs.ErrNotExist}
	}
	delete(f.names, path)
	f.moves = append(f.moves, move{path, nil})
	return nil
}

// SyncDir makes creations and removals in dir durable. What is in a created file is not: that is for its own Sync.
func (f *FS) SyncDir(dir string) error {
	if err := f.fail(OpSyncDir, dir); err != nil {
		return err
	}
	var rest []move
	for _, m := range f.moves {
		if filepath.Dir(m.path) == filepath.Clean(dir) {
			m.apply(f.synced)
		} else {
			rest = append(rest, m)
		}
	}
	f.moves = rest
	return nil
}

func (m move) apply(names map[string]*inode) {
	if m.node == nil {
		delete(names, m.path)
	} else {
		names[m.path] = m.node
	}
}

type lock struct {
	fs    *FS
	path  string
	epoch int
}

// Lock takes a lock that a crash releases.
func (f *FS) Lock(path string) (io.Closer, error) {
	if epoch, held := f.locks[path]; held && epoch == f.epoch {
		return nil, raftlog.ErrLocked
	}
	f.locks[path] = f.epoch
	return &lock{f, path, f.epoch}, nil
}

func (l *lock) Close() error {
	if l.epoch == l.fs.epoch {
		delete(l.fs.locks, l.path)
	}
	return nil
}

// Crash is a power cut. Every handle is dead. Each unsynced change of a name happened or not. Each unsynced write is
// on disk wholly, not at all, up to some byte, or in some of its 512-byte sectors; what is missing is as it was
// before. All of it is drawn from rng.
func (f *FS) Crash(rng *rand.Rand) {
	for _, m := range f.moves {
		if rng.IntN(2) == 0 {
			m.apply(f.synced)
		}
	}
	f.moves = nil
	f.names = maps.Clone(f.synced)
	for _, path := range slices.Sorted(maps.Keys(f.names)) {
		f.names[path].crash(rng)
	}
	f.epoch++
}

// Kill is the sudden end of the process that uses the file system: every handle is dead, nothing is lost.
func (f *FS) Kill() { f.epoch++ }

// Clone returns an independent copy of all files, whose handles are dead there, with what is synced and what is not.
func (f *FS) Clone() *FS {
	c := New()
	copies := map[*inode]*inode{}
	clone := func(n *inode) *inode {
		if n == nil {
			return nil
		}
		if copies[n] == nil {
			copies[n] = n.clone()
		}
		return copies[n]
	}
	for path, n := range f.names {
		c.names[path] = clone(n)
	}
	for path, n := range f.synced {
		c.synced[path] = clone(n)
	}
	for _, m := range f.moves {
		c.moves = append(c.moves, move{m.path, clone(m.node)})
	}
	return c
}

// Content returns a copy of a file's bytes as they stand, nil if there is no such file.
func (f *FS) Content(path string) []byte {
	if n := f.names[path]; n != nil {
		return bytes.Clone(n.now)
	}
	return nil
}

// Replace makes a file hold b, durably: for damage done on purpose.
func (f *FS) Replace(path string, b []byte) {
	n := &inode{now: bytes.Clone(b), disk: bytes.Clone(b)}
	f.names[path], f.synced[path] = n, n
}
