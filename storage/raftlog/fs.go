package raftlog

import "io"

// FS is the part of a file system that a Log stands on. OS is the real one; package memfs forgets unsynced writes.
// Paths are joined with package path/filepath.
type FS interface {
	// MkdirAll creates dir and its parents, if need be, durably.
	MkdirAll(dir string) error
	// List returns the base names of dir's files in ascending order.
	List(dir string) ([]string, error)
	// Create makes an empty file, which must not exist. It is durable after Sync of the file and SyncDir.
	Create(path string) (File, error)
	// Open opens an existing file for reading and writing.
	Open(path string) (File, error)
	// Remove deletes a file; after a crash before SyncDir it may be back.
	Remove(path string) error
	// SyncDir makes creations and removals in dir durable.
	SyncDir(dir string) error
	// Lock takes the exclusive lock named path until the Closer is closed or the process ends.
	// It fails with ErrLocked while another holder has it.
	Lock(path string) (io.Closer, error)
}

// File is an open segment. ReadAt past the end returns io.EOF with what there is.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Sync returns after the file's bytes and size are durable. After an error nothing may be assumed of them.
	Sync() error
	Truncate(size int64) error
	Size() (int64, error)
}
