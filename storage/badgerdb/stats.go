package badgerdb

import (
	"context"
	"errors"
	"os"
	"slices"

	"github.com/ringkv/ringkv/storage"
)

// Stats is what an Engine tells a monitor.
type Stats struct {
	TableBytes int64 // in tables
	Tables     int   // their number
	TopTables  int   // those of them in level 0; writes stall at 4
	LogBytes   int64 // what the log files occupy
	Logs       int   // their number: 1, more while memory tables are written out
}

// Stats reads the directory; it takes some 10 µs and may be called beside anything else.
func (e *Engine) Stats() (Stats, error) {
	if e.closed.Load() {
		return Stats{}, storage.ErrClosed
	}
	var s Stats
	for _, level := range e.db.Levels() {
		s.TableBytes += level.Size
		s.Tables += level.NumTables
		if level.Level == 0 {
			s.TopTables = level.NumTables
		}
	}
	ls, err := list(e.dir)
	if err != nil {
		return Stats{}, err
	}
	s.Logs = len(ls.logs)
	s.LogBytes = ls.logBytes()
	return s, nil
}

// DiskBytes is what tables and log occupy, holes left out.
func (e *Engine) DiskBytes() int64 {
	s, err := e.Stats()
	if err != nil {
		return 0
	}
	return s.TableBytes + s.LogBytes
}

// Scrub reads every table again and returns a *CorruptError for the first that was damaged since Open. Badger itself
// would take what it cannot read for absent. It may be called beside anything else. After each table it calls pace, if that
// is not nil, with the number of bytes read, and ends with its error.
func (e *Engine) Scrub(ctx context.Context, pace func(bytes int) error) error {
	for _, id := range e.tableIDs() {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		path := tablePath(e.dir, id)
		info, _ := os.Stat(path)
		_, err := checkTable(path)
		if info != nil && pace != nil {
			if err := pace(int(info.Size())); err != nil {
				return err
			}
		}
		if _, gone := os.Stat(path); errors.Is(gone, os.ErrNotExist) && !slices.Contains(e.tableIDs(), id) {
			continue // a compaction was done with it
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) tableIDs() []uint64 {
	if e.closed.Load() {
		return nil
	}
	var ids []uint64
	for _, t := range e.db.Tables() {
		ids = append(ids, t.ID)
	}
	return ids
}
