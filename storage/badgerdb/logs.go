package badgerdb

// logCheck is what a walk over all log files found.
type logCheck struct {
	tables uint64 // number of the last commit in the tables
	synced uint64 // every commit up to this one must be there

	last   uint64   // number of the last commit that is there and has all before it
	torn   string   // path of the file whose end must be cut, if there is one
	tornAt int64    // where
	drop   []string // paths of files that must go: without length, written out into tables, or behind what is torn
	keep   []string // paths of the others
	ended  bool     // what comes after is behind something that is missing
}

// checkLogs walks the log files, oldest first. Commits are numbered without gaps, over all files and on from the tables.
// The first one that is missing or damaged ends the log if it was not synced yet: a power cut writes of such commits what
// it likes, later ones and whole files among it. If it was, this is corruption.
func (ls *listing) checkLogs(tables, synced uint64) (logCheck, error) {
	c := logCheck{tables: tables, synced: synced, last: tables}
	walks := make([]logWalk, len(ls.logs))
	for i, number := range ls.logs {
		var err error
		if walks[i], err = walkLogFile(logPath(ls.dir, number)); err != nil {
			return logCheck{}, err
		}
	}
	for i, number := range ls.logs {
		if err := c.take(logPath(ls.dir, number), &walks[i], walks[i+1:]); err != nil {
			return logCheck{}, err
		}
	}
	return c, nil
}

// take judges one file; later are those after it.
func (c *logCheck) take(path string, w *logWalk, later []logWalk) error {
	out, err := c.writtenOut(path, w, later)
	switch {
	case err != nil:
		return err
	case w.empty || c.ended || out:
		c.drop = append(c.drop, path)
		return nil
	case w.first == 0 && !w.dirty:
		c.keep = append(c.keep, path) // just begun
		return nil
	case w.first == 0:
		return c.end(path, w.end, "bad record in what should be commit %d", c.last+1)
	case w.first > c.last+1:
		return c.end(path, 0, "begins with commit %d, those before end with %d: a file is missing", w.first, c.last)
	case w.first <= c.last:
		return corrupt(path, 0, "begins with commit %d, the file before ends with %d", w.first, c.last)
	}
	c.last = w.last
	c.keep = append(c.keep, path)
	if !w.dirty {
		return nil
	}
	c.torn, c.tornAt = path, w.end
	return c.endAt(path, w.end, "bad record in what should be commit %d", c.last+1)
}

// writtenOut tells whether a file's commits are all in the tables. Badger writes a log out as a whole, removes it and does
// not sync the removal: it may be back after a power cut, in any state. It must not be replayed then: a part of it could
// bring back what a later part deletes and a compaction has forgotten.
func (c *logCheck) writtenOut(path string, w *logWalk, later []logWalk) (bool, error) {
	if w.first == 0 {
		return w.dirty && c.last == c.tables && beginsBy(later, c.tables+1), nil
	}
	if w.first > c.tables {
		return false, nil
	}
	if w.last > c.tables {
		return false, corrupt(path, 0, "has commits %d to %d, the tables end with %d", w.first, w.last, c.tables)
	}
	return true, nil
}

// beginsBy tells whether the first of the walks that found a commit found one up to that number.
func beginsBy(walks []logWalk, number uint64) bool {
	for i := range walks {
		if walks[i].first != 0 {
			return walks[i].first <= number
		}
	}
	return false
}

// end drops a file of which nothing counts, and what follows it.
func (c *logCheck) end(path string, offset int64, format string, args ...any) error {
	c.drop = append(c.drop, path)
	return c.endAt(path, offset, format, args...)
}

// endAt ends the log at c.last, if it may end there.
func (c *logCheck) endAt(path string, offset int64, format string, args ...any) error {
	if c.last < c.synced {
		return corrupt(path, offset, format+" (synced up to %d)", append(args, c.synced)...)
	}
	c.ended = true
	return nil
}
