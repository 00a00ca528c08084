package badgerdb

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const (
	logSuffix   = ".mem"
	tableSuffix = ".sst"
)

// listing is what of Badger's is in the directory.
type listing struct {
	dir      string
	manifest bool
	logs     []uint64 // numbers of the log files, ascending
	tables   []uint64
	unused   []string // names of files that hold nothing of ours and that Badger makes anew
}

// preflight checks every file of the directory and returns the number of the last commit in it, which is durable when
// preflight returns. Only when all was found good does it change something: it cuts the torn end of the log, removes files
// that hold nothing that counts or that Badger fails on, and syncs.
func preflight(dir string) (uint64, error) {
	ls, err := list(dir)
	if err != nil {
		return 0, err
	}
	st, known, err := readState(dir)
	if err != nil {
		return 0, err
	}
	fresh, err := ls.fresh(st, known)
	if err != nil {
		return 0, err
	}
	if fresh {
		return 0, ls.repair(&logCheck{})
	}
	tables, err := checkTables(dir)
	if err != nil {
		return 0, err
	}
	logs, err := ls.checkLogs(tables, st.commit)
	if err != nil {
		return 0, err
	}
	if err := ls.checkState(st, logs.last); err != nil {
		return 0, err
	}
	return logs.last, ls.repair(&logs)
}

func list(dir string) (*listing, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	ls := &listing{dir: dir}
	for _, e := range entries {
		name := e.Name()
		switch ext := filepath.Ext(name); {
		case name == manifestName:
			ls.manifest = true
		case ext == logSuffix:
			ls.logs = append(ls.logs, fileNumber(name))
		case ext == tableSuffix:
			ls.tables = append(ls.tables, fileNumber(name))
		case ext == ".vlog", name == "DISCARD", name == "KEYREGISTRY", name == manifestName+"-REWRITE":
			ls.unused = append(ls.unused, name)
		}
	}
	slices.Sort(ls.logs)
	return ls, nil
}

// fileNumber is the number that a file is named by; Badger refuses names that are none.
func fileNumber(name string) uint64 {
	n, err := strconv.ParseUint(strings.TrimSuffix(name, filepath.Ext(name)), 10, 32)
	if err != nil {
		return 0
	}
	return n
}

// fresh tells that nothing was ever committed here, not even begun.
func (ls *listing) fresh(st state, known bool) (bool, error) {
	switch {
	case ls.manifest && known:
		return false, nil
	case ls.manifest:
		return false, corrupt(filepath.Join(ls.dir, stateName), 0, "the file is missing")
	case len(ls.logs) > 0, len(ls.tables) > 0, st.commit > 0:
		return false, corrupt(filepath.Join(ls.dir, manifestName), 0, "the file is missing")
	}
	return true, nil
}

// checkState compares the last commit that was found with what the directory's state says.
func (ls *listing) checkState(st state, last uint64) error {
	if last < st.commit || st.phase == phaseClosed && last != st.commit {
		return corrupt(ls.dir, 0, "commits up to %d found, there were %d", last, st.commit)
	}
	return nil
}

// repair prepares a directory that was found good for Badger and makes what is left of the logs durable. A removal must
// be durable too: the next commits will have the numbers of those that went.
func (ls *listing) repair(logs *logCheck) error {
	if logs.torn != "" {
		if err := cut(logs.torn, logs.tornAt); err != nil {
			return err
		}
	}
	for _, path := range logs.drop {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	for _, name := range ls.unused {
		if err := os.Remove(filepath.Join(ls.dir, name)); err != nil {
			return err
		}
	}
	for _, path := range logs.keep {
		if err := syncFile(path); err != nil {
			return err
		}
	}
	return syncDir(ls.dir)
}

func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func cut(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(size), f.Sync(), f.Close())
}
