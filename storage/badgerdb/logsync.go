package badgerdb

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/ringkv/ringkv/storage/datasync"
)

// logSync makes the log files durable, and gives new ones their space. Badger begins one every 64 MiB, before it writes a
// commit, and removes an old one once its content is in a table, which it syncs, and the table in the manifest, which it
// syncs too: so what is in no log any more is durable.
type logSync struct {
	dir    string
	newest uint64              // number of the file that is written to
	files  map[uint64]*os.File // that file, and those before it that are not synced since they were the newest
}

// openLogSync takes over the logs of an open Badger and syncs them.
func openLogSync(dir string) (*logSync, error) {
	ls, err := list(dir)
	if err != nil {
		return nil, err
	}
	if len(ls.logs) == 0 {
		return nil, corrupt(dir, 0, "Badger made no *%s file", logSuffix)
	}
	// Preflight has synced the older ones.
	s := &logSync{dir: dir, newest: ls.logs[len(ls.logs)-1] - 1, files: make(map[uint64]*os.File)}
	if err := s.follow(); err != nil {
		return nil, errors.Join(err, s.close())
	}
	if err := s.sync(); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func logPath(dir string, number uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%05d%s", number, logSuffix))
}

// follow notices that a new log was begun. It is called after each commit, of which each begins one at most.
func (s *logSync) follow() error {
	f, err := os.OpenFile(logPath(s.dir, s.newest+1), os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	s.newest++
	s.files[s.newest] = f
	return errors.Join(reserveLog(f), syncDir(s.dir))
}

// sync makes everything that was committed durable, older files first.
func (s *logSync) sync() error {
	for _, number := range slices.Sorted(maps.Keys(s.files)) {
		f := s.files[number]
		if err := datasync.Seldom(f); err != nil {
			return err
		}
		if number == s.newest {
			continue
		}
		delete(s.files, number)
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

// begin starts writing what was committed, so that the next sync finds little left to wait for.
func (s *logSync) begin() { datasync.Begin(s.files[s.newest]) }

func (s *logSync) close() error {
	var err error
	for _, f := range s.files {
		err = errors.Join(err, f.Close())
	}
	return err
}
