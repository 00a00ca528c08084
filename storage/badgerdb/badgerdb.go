// Package badgerdb is storage.Engine on Badger. It is the only importer of Badger.
//
// Badger alone loses data without a word: it cuts its log at the first bad record, skips tables whose checksum is wrong,
// deletes tables that a cut manifest does not list, and takes a block that it cannot read for one without keys. Open
// therefore checks every file before Badger sees it, every cell carries a checksum of its own, and every commit a number
// without gaps. DESIGN.md has the details and what is left.
package badgerdb

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"github.com/ringkv/ringkv/storage"
)

// Sizes. A transaction must stay under 15 % of a memory table, and 8 MiB of values with all that comes with them must
// fit one, so the memory tables are large and there is but one beside the one being written.
const (
	memTableBytes = 64 << 20
	// maxBatchBytes leaves room for the commit number and for Badger's mark at the end of a transaction. What Size counts
	// for a write, WriteOverhead included, is more than Badger counts for it, in bytes and in entries.
	maxBatchBytes = memTableBytes*15/100 - 4096
)

// pageOutBytes is how much is committed before the memory of the log's mapping is given back; beginBytes before the disk
// begins to write.
const (
	pageOutBytes = 8 << 20
	beginBytes   = 1 << 20
)

// blockBytes is the size of a table's block. The longest cell with the longest key of a caller fits one: Badger builds
// tables in memory, and for a cell over the block's size it takes three times the space.
const blockBytes = storage.MaxCellBytes + 2<<10

// commitKey holds the number of the last commit. It is shorter than any key of a caller.
const commitKey = "\x00"

// Config configures an Engine.
type Config struct {
	// Dir is the engine's directory; nothing else may live there. It is created if absent.
	Dir string
	// Logger takes Badger's warnings and errors. Nil means slog.Default.
	Logger *slog.Logger
}

// Engine is a storage.Engine on a directory.
type Engine struct {
	dir     string
	db      *badger.DB
	lock    *os.File
	state   *stateFile
	logs    *logSync
	commit  uint64 // number of the last commit; used by the one writer, as are the next three
	synced  uint64 // number of the last one that is durable
	unbegun int    // bytes committed since the disk was last told to write them
	unpaged int    // bytes committed since the log's memory was given back
	failed  atomic.Bool
	closed  atomic.Bool
	writing atomic.Bool
}

var _ storage.Engine = (*Engine)(nil)

// Open checks every file of the directory and opens it. A *CorruptError, which is a storage.ErrCorrupt, names the file
// that is damaged or missing; nothing was then changed. ErrInUse if another Engine has the directory open.
//
// Commits that were not synced may be gone, the newest first: the caller sees an older applied index and repeats the
// entries from the raft log. What is found is durable when Open returns.
func Open(c Config) (*Engine, error) {
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	lock, err := acquire(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("open engine: %w", err)
	}
	e := &Engine{dir: c.Dir, lock: lock}
	if err := e.start(c.Logger); err != nil {
		return nil, errors.Join(fmt.Errorf("open engine: %w", err), lock.Close())
	}
	return e, nil
}

func (e *Engine) start(logger *slog.Logger) error {
	last, err := preflight(e.dir)
	if err != nil {
		return err
	}
	if e.state, err = openStateFile(e.dir, state{phase: phaseOpen, commit: last}); err != nil {
		return err
	}
	if err := e.openBadger(logger, last); err != nil {
		return errors.Join(err, e.state.close())
	}
	return nil
}

func (e *Engine) openBadger(logger *slog.Logger, last uint64) error {
	var err error
	if e.db, err = badger.Open(badgerOptions(e.dir, logger)); err != nil {
		return err
	}
	if err := e.checkCommit(last); err != nil {
		return errors.Join(err, e.db.Close())
	}
	e.commit, e.synced = last, last
	if e.logs, err = openLogSync(e.dir); err != nil {
		return errors.Join(err, e.db.Close())
	}
	return nil
}

// checkCommit compares what Badger made of the files with what they were found to hold.
func (e *Engine) checkCommit(want uint64) error {
	v := e.View()
	defer v.Close()
	b, err := v.(*view).get([]byte(commitKey))
	if errors.Is(err, storage.ErrNotFound) && want == 0 {
		return nil
	}
	if err != nil || len(b) != 8 || binary.BigEndian.Uint64(b) != want || e.db.MaxVersion() != want {
		return &CorruptError{Path: e.dir, Reason: fmt.Sprintf("Badger opened at commit %x of %d", b, want), Err: err}
	}
	return nil
}

func badgerOptions(dir string, logger *slog.Logger) badger.Options {
	return badger.DefaultOptions(dir).
		WithLogger(logAdapter{logger}).
		WithSyncWrites(false).      // Engine.Sync does it
		WithDetectConflicts(false). // one writer
		WithMetricsEnabled(false).
		WithNumVersionsToKeep(1).
		// No compression, hence no need of a block cache: blocks are read from the mapped file.
		WithCompression(options.None).WithBlockCacheSize(0).WithIndexCacheSize(0).
		// A block that fails Badger's own check counts as one without keys, in reads and in compactions. So it is not
		// asked to: blocks are checked before Badger opens them, cells when they are read.
		WithChecksumVerificationMode(options.NoVerification).
		WithBlockSize(blockBytes).
		// Cells are shorter: nothing is ever in the value log.
		WithValueThreshold(1 << 20).WithValueLogFileSize(1 << 20).
		WithMemTableSize(memTableBytes).WithNumMemtables(1).
		WithNumCompactors(2).
		WithNumLevelZeroTables(1).WithNumLevelZeroTablesStall(4)
}

// View is as storage.Engine says.
func (e *Engine) View() storage.View {
	return &view{reader{txn: e.db.NewTransaction(false)}}
}

// Batch is as storage.Engine says. It panics where another batch is open: the caller's invariant is broken.
func (e *Engine) Batch() storage.Batch {
	if !e.writing.CompareAndSwap(false, true) {
		panic("badgerdb: two batches at a time")
	}
	return &batch{reader: reader{txn: e.db.NewTransaction(true)}, engine: e}
}

// MaxBatchBytes is as storage.Engine says.
func (e *Engine) MaxBatchBytes() int { return maxBatchBytes }

// Commits is the number of batches that were ever committed to the directory. It belongs to the one writer.
func (e *Engine) Commits() uint64 { return e.commit }

// Sync is as storage.Engine says. That damage to what is durable is told from a torn end is noted after the logs are
// synced: a crash in between promises less than there is.
func (e *Engine) Sync() error {
	switch {
	case e.closed.Load():
		return storage.ErrClosed
	case e.failed.Load():
		return storage.ErrFailed
	case e.synced == e.commit:
		return nil
	}
	err := e.logs.sync()
	if err == nil {
		err = e.state.write(state{phase: phaseOpen, commit: e.commit})
	}
	if err != nil {
		e.failed.Store(true)
		return fmt.Errorf("sync commit %d: %w: %w", e.commit, storage.ErrFailed, err)
	}
	e.synced, e.unbegun = e.commit, 0
	if e.unpaged >= pageOutBytes {
		e.unpaged = 0
		pageOutLogs()
	}
	return nil
}

// Close syncs, writes what is in memory into tables and gives the directory back. No batch or view is open.
func (e *Engine) Close() error {
	if e.closed.Load() {
		return nil
	}
	var err error
	if !e.failed.Load() {
		if err = e.Sync(); err == nil {
			err = e.state.write(state{phase: phaseClosed, commit: e.commit})
		}
	}
	e.closed.Store(true)
	if err := errors.Join(err, e.logs.close(), e.db.Close(), e.state.close(), e.lock.Close()); err != nil {
		return fmt.Errorf("close engine: %w", err)
	}
	return nil
}
