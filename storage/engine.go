package storage

// What every Engine promises about sizes, so that costs can be computed without asking it.
const (
	// MinKeyBytes is the length of the shortest engine key; shorter ones belong to the engines themselves.
	MinKeyBytes = 2
	// MaxEngineKeyBytes is the length of the longest engine key.
	MaxEngineKeyBytes = 4096
	// MaxCellBytes is the length of the longest value under one engine key. Longer values are split by the partition, so
	// that an engine has to deal with nothing large.
	MaxCellBytes = 32 << 10
	// WriteOverhead is what Batch.Size counts for each Set and Delete beside the lengths of key and value.
	WriteOverhead = 128
)

// Reader reads one consistent state of an Engine. Byte slices that it hands out are valid only until the callback
// returns (Scan) or until the reader is closed (Get); copy what is kept. They must not be written to.
type Reader interface {
	// Get returns the value of key, or ErrNotFound. It does not keep the key.
	Get(key []byte) ([]byte, error)
	// Scan calls fn in byte order for every key in [start, end) until fn returns false or an error.
	// A nil end means no upper bound. With keysOnly values are not read and value is nil. fn may call Get and Scan,
	// and Set and Delete of the same batch: the scan does not see them.
	Scan(start, end []byte, keysOnly bool, fn func(key, value []byte) (bool, error)) error
}

// View is a Reader of one moment; it must be closed, once nobody reads from it any more. Any number of goroutines may read
// from one at a time, beside any number of other views and one Batch.
type View interface {
	Reader
	Close()
}

// Batch is one atomic write. Its reads see its own writes. It must be ended by exactly one of Commit and
// Discard; Discard after either does nothing. An Engine has at most one open Batch at a time (its one writer).
type Batch interface {
	Reader
	// Set stores value under key. The batch keeps neither slice after Set returns. It returns ErrTooLarge, and changes
	// nothing, where Size would pass MaxBatchBytes or the value is over MaxCellBytes; ErrBadKey for a bad key.
	Set(key, value []byte) error
	// Create is Set of a key that the caller knows to be absent, of which an engine may make use.
	Create(key, value []byte) error
	// Delete removes key, present or not. It fails as Set does.
	Delete(key []byte) error
	// Size is what the batch holds so far: for every Set and Delete the lengths of key and value and WriteOverhead,
	// rewritten keys counted again.
	Size() int
	// Commit makes all writes visible, to every view opened from then on; Engine.Sync makes them durable. After an error
	// the engine must not be used again.
	Commit() error
	Discard()
}

// Engine is an ordered map of bytes that a node keeps all its replicas' state in. After a crash it holds what it held after
// some commit: the last one, or an earlier one, but never one before the last Sync that returned, or before the last Open.
type Engine interface {
	// View opens a consistent view of everything committed so far.
	View() View
	// Batch opens the one write.
	Batch() Batch
	// MaxBatchBytes is the largest Batch.Size that can commit.
	MaxBatchBytes() int
	// DiskBytes is what the engine occupies on disk, 0 in memory.
	DiskBytes() int64
	// Sync returns after everything that was committed is on disk (fsync), or an error after which the engine must not be
	// used again: what is durable is then not known. No batch is open. It belongs to the one writer.
	Sync() error
	// Close syncs, unless the engine failed, and gives the storage back.
	Close() error
}
