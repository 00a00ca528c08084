package badgerdb

import (
	"fmt"
	"path/filepath"
)

// logCheck is what a walk over all log files found.
type logCheck struct {
	last   uint64   // number of the last whole commit, 0 if there is none
	torn   string   // path of the newest file if its end must be cut
	tornAt int64    // where
	empty  []string // paths of files of length 0
}

// checkLogs walks the log files, oldest first. Commits are numbered without gaps, over all files and on from the tables,
// so a file that is missing shows, as does damage anywhere but in the very last transaction of the newest file.
func (ls *listing) checkLogs(inTables uint64) (logCheck, error) {
	var found logCheck
	for i, number := range ls.logs {
		path := filepath.Join(ls.dir, fmt.Sprintf("%05d%s", number, logSuffix))
		w, err := walkLogFile(path)
		if err != nil {
			return logCheck{}, err
		}
		if w.empty {
			found.empty = append(found.empty, path)
			continue
		}
		if err := found.join(path, &w, inTables); err != nil {
			return logCheck{}, err
		}
		if !w.dirty {
			continue
		}
		if i != len(ls.logs)-1 {
			return logCheck{}, corrupt(path, w.end, "bad record, and there are newer files")
		}
		found.torn, found.tornAt = path, w.end
	}
	return found, nil
}

// join checks that a file's commits go on where those before end.
func (c *logCheck) join(path string, w *logWalk, inTables uint64) error {
	if w.first == 0 {
		return nil
	}
	switch {
	case c.last == 0 && w.first > inTables+1:
		return corrupt(path, 0, "begins with commit %d, the tables end with %d: a file is missing", w.first, inTables)
	case c.last != 0 && w.first != c.last+1:
		return corrupt(path, 0, "begins with commit %d, the file before ends with %d", w.first, c.last)
	}
	c.last = w.last
	return nil
}
