package changelog_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/storage/changelog"
	"github.com/ringkv/ringkv/storage/memdb"
)

// tb is what *testing.T and *rapid.T share.
type tb interface {
	Helper()
	Fatalf(format string, args ...any)
}

func must(t tb, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v", err)
	}
}

// node is the partitions of a node with their change log. What a crash leaves of the log and of the state is up to the test.
type node struct {
	t     tb
	dir   string
	opts  changelog.Options
	log   *changelog.Log
	parts map[storage.PartitionID]*part
}

// part is a partition whose every entry is known: after a crash the same ones are applied again.
type part struct {
	engine *memdb.Engine
	p      *storage.Partition
	told   []string // what each index changed, index 1 first
}

func newNode(t tb, dir string, opts changelog.Options, ids ...storage.PartitionID) *node {
	n := &node{t: t, dir: dir, opts: opts, parts: make(map[storage.PartitionID]*part)}
	for _, id := range ids {
		n.parts[id] = &part{engine: memdb.New()}
	}
	n.open()
	return n
}

// open is a start: every partition stands where its state says.
func (n *node) open() {
	n.t.Helper()
	var err error
	n.log, err = changelog.Open(n.dir, n.opts)
	must(n.t, err)
	for _, id := range n.ids() {
		n.begin(id)
	}
}

func (n *node) begin(id storage.PartitionID) {
	n.t.Helper()
	pt := n.parts[id]
	v := pt.engine.View()
	defer v.Close()
	var err error
	pt.p, err = storage.OpenPartition(v, id)
	must(n.t, err)
	pt.p.RecordChanges()
	n.log.Settle(id, pt.p.Meta().Applied)
	if through := n.log.Through(id); through != pt.p.Meta().Applied {
		n.t.Fatalf("partition %d: through %d, the state is at %d", id, through, pt.p.Meta().Applied)
	}
}

func (n *node) ids() []storage.PartitionID {
	var ids []storage.PartitionID
	for id := range n.parts {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// entry is the command at an index: always the same, as a raft log is.
func entry(index uint64) *storage.Command {
	c := &storage.Command{Kind: storage.KindPut, Key: fmt.Appendf(nil, "k%d", index%3), Value: fmt.Appendf(nil, "%d", index)}
	switch index % 5 {
	case 0:
		c.Kind = storage.KindDelete
	case 1:
		c.Cond.IfMatch = []storage.Version{999} // changes nothing
	}
	return c
}

// apply applies n entries to a partition in one batch.
func (n *node) apply(id storage.PartitionID, entries int) storage.Changes {
	n.t.Helper()
	pt := n.parts[id]
	b := pt.engine.Batch()
	defer b.Discard()
	for range entries {
		index := pt.p.Meta().Applied + 1
		res, err := pt.p.Apply(b, index, 1, storage.AppendCommand(nil, entry(index)))
		must(n.t, err)
		if uint64(len(pt.told)) < index {
			pt.told = append(pt.told, tell(index, res))
		}
	}
	must(n.t, pt.p.Flush(b))
	must(n.t, b.Commit())
	return pt.p.TakeChanges()
}

func tell(index uint64, res storage.Result) string {
	c := entry(index)
	switch res.Status {
	case storage.StatusCreated, storage.StatusReplaced:
		return fmt.Sprintf("%d put %s v%d %s;", index, c.Key, res.Version, c.Value)
	case storage.StatusDeleted:
		return fmt.Sprintf("%d delete %s v%d ;", index, c.Key, res.Version)
	}
	return ""
}

// check reads from index after on: exactly what was done, or ErrGone.
func (n *node) check(id storage.PartitionID, after uint64, maxBytes int) (gone bool) {
	n.t.Helper()
	pt := n.parts[id]
	for n.log.Through(id) > after {
		h, err := n.log.Read(id, after, maxBytes)
		if check := n.log.Check(id, after); errors.Is(check, changelog.ErrGone) != errors.Is(err, changelog.ErrGone) {
			n.t.Fatalf("behind %d: Check says %v, Read %v", after, check, err)
		}
		if errors.Is(err, changelog.ErrGone) {
			return true
		}
		must(n.t, err)
		var got strings.Builder
		for _, c := range h.Changes {
			fmt.Fprintf(&got, "%d %v %s v%d %s;", c.Index, c.Kind, c.Key, c.Version, c.Value)
		}
		if h.Through <= after {
			n.t.Fatalf("no progress behind %d", after)
		}
		if want := strings.Join(pt.told[after:h.Through], ""); got.String() != want {
			n.t.Fatalf("partition %d behind %d through %d: got\n%s, want\n%s", id, after, h.Through, got.String(), want)
		}
		after = h.Through
	}
	return false
}

// TestModel writes, crashes at any point, loses any end of any file, and reads: what is given out is exactly what was done.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "changelog") //nolint:usetesting // rapid's T has no directory
		must(t, err)
		defer os.RemoveAll(dir)
		n := newNode(t, dir, changelog.Options{MaxBytes: 1200, SegmentBytes: 100}, 1, 2)
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			n.step(t)
			for _, id := range n.ids() {
				n.check(id, uint64(rapid.IntRange(0, len(n.parts[id].told)).Draw(t, "after")), rapid.SampledFrom([]int{1, 1 << 20}).Draw(t, "page"))
			}
		}
		must(t, n.log.Close())
	})
}

func (n *node) step(t *rapid.T) {
	id := rapid.SampledFrom(n.ids()).Draw(t, "partition")
	switch rapid.IntRange(0, 9).Draw(t, "step") {
	case 0: // the log is ahead of the state: the batch was written, and lost with its commit
		saved := n.parts[id].engine
		n.parts[id].engine = clone(t, saved, id)
		n.log.Write([]storage.Changes{n.apply(id, rapid.IntRange(1, 4).Draw(t, "lost"))})
		n.parts[id].engine = saved
		n.restart(t)
	case 1: // the log is behind the state
		n.apply(id, rapid.IntRange(1, 4).Draw(t, "unrecorded"))
		n.restart(t)
	case 2:
		n.restart(t)
	case 3: // the state came from elsewhere
		n.log.Settle(id, 0)
		n.apply(id, 3)
		n.begin(id)
	case 4:
		n.log.Forget(id)
		n.begin(id)
	default:
		var batch []storage.Changes
		for _, id := range n.ids() {
			if k := rapid.IntRange(0, 3).Draw(t, "entries"); k > 0 {
				batch = append(batch, n.apply(id, k))
			}
		}
		n.log.Write(batch)
		n.log.Publish()
	}
}

// restart opens the log again, perhaps without the end of one of its files.
func (n *node) restart(t *rapid.T) {
	must(t, n.log.Close())
	if files, _ := filepath.Glob(filepath.Join(n.dir, "*")); len(files) > 0 && rapid.Bool().Draw(t, "cut") {
		path := rapid.SampledFrom(files).Draw(t, "file")
		info, err := os.Stat(path)
		must(t, err)
		must(t, os.Truncate(path, rapid.Int64Range(0, info.Size()).Draw(t, "length")))
	}
	n.open()
}

// clone returns an engine that holds the same partition.
func clone(t tb, e *memdb.Engine, id storage.PartitionID) *memdb.Engine {
	t.Helper()
	to := memdb.New()
	v, b := e.View(), to.Batch()
	defer v.Close()
	must(t, v.Scan([]byte{byte(id >> 8), byte(id)}, nil, false, func(k, val []byte) (bool, error) { return true, b.Set(k, val) }))
	must(t, b.Commit())
	return to
}

// TestNothingIsLostWithoutACrash: a clean restart keeps all that fits.
func TestNothingIsLostWithoutACrash(t *testing.T) {
	n := newNode(t, t.TempDir(), changelog.Options{}, 1, 2)
	for range 5 {
		for range 20 {
			n.log.Write([]storage.Changes{n.apply(1, 2), n.apply(2, 1)})
			n.log.Publish()
		}
		must(t, n.log.Close())
		n.open()
	}
	for id, applied := range map[storage.PartitionID]uint64{1: 200, 2: 100} {
		if n.log.Through(id) != applied || n.check(id, 0, 1) {
			t.Errorf("partition %d: through %d of %d, or gone", id, n.log.Through(id), applied)
		}
	}
	must(t, n.log.Close())
}

// TestBounded: the files keep to their size, the newest changes are there, and the oldest are said to be gone.
func TestBounded(t *testing.T) {
	n := newNode(t, t.TempDir(), changelog.Options{MaxBytes: 64 << 10, SegmentBytes: 4 << 10}, 1)
	for range 5000 {
		n.log.Write([]storage.Changes{n.apply(1, 2)})
		n.log.Publish()
	}
	total := int64(0)
	files, _ := filepath.Glob(filepath.Join(n.dir, "*"))
	for _, f := range files {
		info, err := os.Stat(f)
		must(t, err)
		total += info.Size()
	}
	if total > 64<<10 || total < 48<<10 {
		t.Errorf("%d bytes of files", total)
	}
	if !n.check(1, 0, 1<<20) || n.check(1, 9500, 1<<20) {
		t.Error("the beginning should be gone, and the end there")
	}
	must(t, n.log.Close())
}

// TestUnseenBeforePublish: readers do not see what is not committed, and are woken when it is.
func TestUnseenBeforePublish(t *testing.T) {
	n := newNode(t, t.TempDir(), changelog.Options{}, 1)
	defer n.log.Close()
	if _, err := n.log.Read(1, 0, 1); !errors.Is(err, changelog.ErrNoReplica) {
		t.Errorf("empty replica: %v, want ErrNoReplica", err)
	}
	li := n.log.Listen()
	defer li.Close()
	n.log.Write([]storage.Changes{n.apply(1, 4)})
	if through := n.log.Through(1); through != 0 || len(li.C) != 0 {
		t.Errorf("before Publish: through %d, %d tokens", through, len(li.C))
	}
	n.log.Publish()
	if through := n.log.Through(1); through != 4 || len(li.C) != 1 {
		t.Errorf("after Publish: through %d, %d tokens", through, len(li.C))
	}
}

// TestDiskRefuses: what could not be written is gone, later changes are told.
func TestDiskRefuses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	n := newNode(t, dir, changelog.Options{}, 1)
	defer n.log.Close()
	must(t, os.Remove(dir))
	n.log.Write([]storage.Changes{n.apply(1, 4)})
	n.log.Publish()
	if n.log.Through(1) != 4 || !n.check(1, 0, 1) {
		t.Errorf("through %d; what is lost should be gone", n.log.Through(1))
	}
	must(t, os.Mkdir(dir, 0o755))
	n.log.Write([]storage.Changes{n.apply(1, 4)})
	n.log.Publish()
	if n.log.Through(1) != 8 || n.check(1, 4, 1) {
		t.Errorf("through %d; what came later should be there", n.log.Through(1))
	}
}

// TestUnreadableFile: what cannot be read is gone, and the rest is there.
func TestUnreadableFile(t *testing.T) {
	n := newNode(t, t.TempDir(), changelog.Options{}, 1, 2)
	for _, id := range []storage.PartitionID{2, 1, 1} { // a file each
		n.log.Write([]storage.Changes{n.apply(id, 4)})
		n.log.Publish()
		must(t, n.log.Close())
		n.open()
	}
	must(t, n.log.Close())
	path := filepath.Join(n.dir, fmt.Sprintf("%016x.changes", 1))
	must(t, os.Remove(path))
	must(t, os.Mkdir(path, 0o755))
	n.open()
	if !n.check(1, 3, 1) {
		t.Error("a part of what cannot be read is not gone")
	}
	if n.check(1, 4, 1) || n.check(2, 0, 1) {
		t.Error("what can be read is gone")
	}
	must(t, n.log.Close())
}

// FuzzOpen: any file opens, and what it gives out decodes or is gone.
func FuzzOpen(f *testing.F) {
	dir := f.TempDir()
	n := newNode(f, dir, changelog.Options{}, 1)
	n.log.Write([]storage.Changes{n.apply(1, 7)})
	n.log.Publish()
	must(f, n.log.Close())
	b, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("%016x.changes", 0)))
	must(f, err)
	f.Add(b)
	f.Add(append(b, b...))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		must(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("%016x.changes", 7)), b, 0o600))
		l, err := changelog.Open(dir, changelog.Options{})
		must(t, err)
		l.Settle(1, 7)
		if _, err := l.Read(1, 0, 1<<20); err != nil && !errors.Is(err, changelog.ErrGone) {
			t.Errorf("read: %v", err)
		}
		must(t, l.Close())
	})
}
