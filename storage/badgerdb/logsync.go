package badgerdb

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/ringkv/ringkv/storage/datasync"
)

// logSync makes commits durable. Badger's own SyncWrites syncs two files for each commit, one of which, the value log,
// never holds anything here, and both by msync, which also writes the inode for its times. A commit's records are all in
// one log file, the newest: Badger begins a new one only before it writes a commit. As every commit is synced before the
// next, the older files need nothing any more.
type logSync struct {
	dir    string
	number uint64
	file   *os.File
	syncer datasync.Syncer
}

// openLogSync finds the newest log of an open Badger.
func openLogSync(dir string) (*logSync, error) {
	ls, err := list(dir)
	if err != nil {
		return nil, err
	}
	if len(ls.logs) == 0 {
		return nil, corrupt(dir, 0, "Badger made no *%s file", logSuffix)
	}
	s := &logSync{dir: dir, number: ls.logs[len(ls.logs)-1]}
	s.file, err = os.OpenFile(s.path(s.number), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return s, s.sync()
}

func (s *logSync) path(number uint64) string {
	return filepath.Join(s.dir, fmt.Sprintf("%05d%s", number, logSuffix))
}

// sync makes everything that was committed durable.
func (s *logSync) sync() error {
	for {
		next, err := os.OpenFile(s.path(s.number+1), os.O_RDWR, 0)
		if errors.Is(err, os.ErrNotExist) {
			return s.syncer.Sync(s.file)
		}
		if err != nil {
			return err
		}
		old := s.file
		s.number, s.file = s.number+1, next
		if err := errors.Join(old.Close(), syncDir(s.dir)); err != nil {
			return err
		}
	}
}

func (s *logSync) close() error { return s.file.Close() }
