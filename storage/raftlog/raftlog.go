// Package raftlog is a node's one shared log: the entries and the unforgettable state of all raft groups of the node,
// in checksummed segments on disk.
//
// It owns the bytes of the log directory and the in-memory index over them. It must not know raft, decide anything
// about a group, or start a goroutine. It guarantees that a batch whose Write with sync returned nil survives every
// crash as a whole, that a batch which was never acknowledged is there as a whole or not at all, and that damage to
// anything acknowledged is reported as *CorruptError, never taken for the torn end of an unfinished write (DESIGN.md
// names the one exception). A Log has one owner: all its methods, reads too, are called from one goroutine at a time.
package raftlog

import (
	"fmt"
	"time"

	"github.com/ringkv/ringkv/ring"
)

// GroupID names a raft group: a partition, or the metadata group.
type GroupID = ring.PartitionID

// Entry is one raft log entry. Type is opaque here. An empty Data is read back as nil.
type Entry struct {
	Index uint64
	Term  uint64
	Type  uint8
	Data  []byte
}

// State is what a group must never forget besides its entries.
type State struct {
	Replica uint64 // id of the local replica
	Removed bool   // tombstone: Replica and every smaller id may never come back
	Term    uint64
	Vote    uint64
	Commit  uint64 // a hint: may lag, may go backwards
}

// Options configures a Log. The zero value means the defaults.
type Options struct {
	// SegmentBytes is the size at which a segment is closed and the next begun, in bytes. Default 16 MiB; from 4 KiB
	// to 1 GiB. A batch larger than that gets a segment of its own size.
	SegmentBytes int64
	// MustExist refuses with ErrNoLog where there is no log yet, so that a node that had one and lost it does not
	// start with its votes forgotten.
	MustExist bool
	// MinRecord refuses a log that ends before the record of this number, with *CorruptError or, where there is none, with
	// ErrNoLog. A caller who has noted elsewhere what Durable said finds out so that the log's end is gone. Default 0: any.
	MinRecord uint64
	// ID is the identity given to a log that is created. Default: random. A simulator gives its own.
	ID uint64
	// OnSync is called with the duration of every fsync of a segment. Default: not called.
	OnSync func(time.Duration)
}

const (
	defaultSegmentBytes = 16 << 20
	minSegmentBytes     = 4 << 10
	maxSegmentBytes     = 1 << 30
	maxRecordBytes      = 1 << 30
)

func (o Options) withDefaults() Options {
	if o.SegmentBytes == 0 {
		o.SegmentBytes = defaultSegmentBytes
	}
	return o
}

func (o Options) validate() error {
	if o.SegmentBytes < minSegmentBytes || o.SegmentBytes > maxSegmentBytes {
		return fmt.Errorf("raftlog: SegmentBytes %d is outside %d to %d", o.SegmentBytes, minSegmentBytes, maxSegmentBytes)
	}
	return nil
}

// Stats is what a Log holds and did since Open. Bytes are bytes of files.
type Stats struct {
	Segments   int
	DiskBytes  int64  // of all segments, with what is allocated ahead
	LiveBytes  int64  // of entries that can still be read
	Entries    int    // that can still be read, in all groups
	Syncs      uint64 // fsyncs of segments
	Records    uint64 // written, with the log's own
	MovedBytes uint64 // of entries that Reclaim wrote again
	Reclaimed  uint64 // segments that Reclaim deleted
}
