package storage_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/storage/memdb"
)

// stepper is an Installer or a Dropper.
type stepper interface{ Step() (bool, error) }

// filled makes a replica with so many keys that an install takes several steps.
func filled(t tb, id storage.PartitionID, e storage.Engine, keys int, value byte) *replica {
	return filledWith(t, id, e, keys, bytes.Repeat([]byte{value}, 600<<10))
}

func filledWith(t tb, id storage.PartitionID, e storage.Engine, keys int, value []byte) *replica {
	r := newReplicaOn(t, id, e)
	for i := range keys {
		r.apply(&storage.Command{
			Kind: storage.KindPut, Key: fmt.Appendf(nil, "key %d", i), Value: value, TTL: 1000,
		})
	}
	return r
}

func finish(t *testing.T, s stepper) (steps int) {
	t.Helper()
	for done := false; !done; steps++ {
		var err error
		if done, err = s.Step(); err != nil {
			t.Fatal(err)
		}
	}
	return steps
}

// TestCrashAtEveryStep kills an install and a drop at each commit, whether the commit was made or not, with the power or
// only the process, and redoes it. Until it is done the partition cannot be opened; its neighbours never change.
func TestCrashAtEveryStep(t *testing.T) {
	source := filled(t, 5, memdb.New(), 5, 'n')
	source.must(source.p.SetConf(100, 9, []byte("conf")))
	source.apply(&storage.Command{Kind: storage.KindDelete, Key: []byte("key 0")})
	snapshot := source.snapshot()

	begin := map[string]func(e storage.Engine) stepper{
		"install": func(e storage.Engine) stepper {
			in, err := storage.NewInstaller(e, 5, bytes.NewReader(snapshot), "spool-5")
			source.must(err)
			return in
		},
		"drop": func(e storage.Engine) stepper { return storage.NewDropper(e, 5) },
	}
	for name, begin := range begin {
		for _, fault := range []memdb.Fault{memdb.FaultLost, memdb.FaultKept} {
			for cut := range uint64(4) {
				crashEverywhere(t, name, begin, fault, cut, snapshot)
			}
		}
	}
}

// crashEverywhere crashes an operation at each of its commits; cut 0 is a kill, others are power cuts by that seed.
func crashEverywhere(t *testing.T, name string, begin func(storage.Engine) stepper, fault memdb.Fault, cut uint64, snapshot []byte) {
	t.Helper()
	for n := uint64(1); ; n++ {
		what := fmt.Sprintf("%s, fault %d at commit %d, cut %d", name, fault, n, cut)
		if !crashAt(t, what, begin, fault, cut, n, snapshot) {
			if n < 3 {
				t.Fatalf("%s took %d steps only", name, n)
			}
			return
		}
	}
}

// crashAt returns false when the operation ended before its commit n.
func crashAt(t *testing.T, what string, begin func(storage.Engine) stepper, fault memdb.Fault, cut, n uint64, snapshot []byte) bool {
	t.Helper()
	disk := memdb.NewDisk()
	e := openDisk(t, disk, memdb.Options{})
	before := filledWith(t, 4, e, 1, []byte("left")).snapshot()
	filledWith(t, 5, e, 4, []byte("old"))
	after := filledWith(t, 6, e, 1, []byte("right")).snapshot()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	commits := uint64(0)
	e = openDisk(t, disk, memdb.Options{OnCommit: func(uint64) memdb.Fault {
		if commits++; commits == n {
			return fault
		}
		return memdb.FaultNone
	}})
	s := begin(e)
	var done bool
	var err error
	for !done && err == nil {
		done, err = s.Step()
	}
	if done {
		return false
	}
	if !errors.Is(err, storage.ErrFailed) {
		t.Fatalf("%s: %v, want ErrFailed", what, err)
	}
	if _, err := s.Step(); err == nil {
		t.Fatalf("%s: a step after a failed one", what)
	}
	if cut == 0 {
		disk.Kill()
	} else {
		disk.Crash(rand.New(rand.NewPCG(cut, n)))
	}
	e = openDisk(t, disk, memdb.Options{})
	checkPending(t, what, e, s)
	finish(t, begin(e))
	checkDone(t, what, e, s, snapshot)
	for id, want := range map[storage.PartitionID][]byte{4: before, 6: after} {
		if got := newReplicaOn(t, id, e).snapshot(); !bytes.Equal(got, want) {
			t.Fatalf("%s: partition %d changed", what, id)
		}
	}
	return true
}

func openDisk(t *testing.T, d *memdb.Disk, o memdb.Options) storage.Engine {
	t.Helper()
	e, err := d.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// checkPending: after a crash the partition is whole, old or new, or it says what was going on and cannot be opened.
func checkPending(t *testing.T, what string, e storage.Engine, s stepper) {
	t.Helper()
	v := e.View()
	defer v.Close()
	_, installing := s.(*storage.Installer)
	spool, install, err := storage.PendingInstall(v, 5)
	if err != nil {
		t.Fatal(err)
	}
	drop, err := storage.PendingDrop(v, 5)
	if err != nil {
		t.Fatal(err)
	}
	_, openErr := storage.OpenPartition(v, 5)
	if pending := install || drop; !pending {
		if openErr != nil {
			t.Fatalf("%s: nothing pending, but open: %v", what, openErr)
		}
		if err := storage.Verify(v, 5); err != nil {
			t.Fatalf("%s: nothing pending, but %v", what, err)
		}
		return
	}
	if !errors.Is(openErr, storage.ErrPending) || install != installing || install && spool != "spool-5" {
		t.Fatalf("%s: install %v of %q, drop %v, open: %v", what, install, spool, drop, openErr)
	}
}

func checkDone(t *testing.T, what string, e storage.Engine, s stepper, snapshot []byte) {
	t.Helper()
	r := newReplicaOn(t, 5, e)
	r.verify()
	if _, installing := s.(*storage.Installer); installing {
		if !bytes.Equal(r.snapshot(), snapshot) {
			t.Fatalf("%s: not what was installed", what)
		}
		return
	}
	v := e.View()
	defer v.Close()
	ids, err := storage.Partitions(v)
	if err != nil || !reflect.DeepEqual(ids, []storage.PartitionID{4, 6}) || r.p.Meta().Applied != 0 {
		t.Fatalf("%s: partitions %v, %v, applied %d", what, ids, err, r.p.Meta().Applied)
	}
}

// TestManyKeys clears more than one step's worth of keys.
func TestManyKeys(t *testing.T) {
	var entries [][]byte
	for i := range 15000 {
		entries = append(entries, storage.AppendCommand(nil, &storage.Command{Kind: storage.KindPut, Key: fmt.Appendf(nil, "%d", i)}))
	}
	for _, c := range []struct {
		name  string
		begin func(r *replica) stepper
		steps int // at least: marking, clearing twice, and what comes after
	}{
		{"drop", func(r *replica) stepper { return storage.NewDropper(r.e, 2) }, 3},
		{"install", func(r *replica) stepper {
			in, err := storage.NewInstaller(r.e, 2, bytes.NewReader(newReplica(t, 2).snapshot()), "spool")
			r.must(err)
			return in
		}, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newReplica(t, 2)
			r.applyAll(entries)
			if steps := finish(t, c.begin(r)); steps < c.steps {
				t.Errorf("took %d steps, want at least %d", steps, c.steps)
			}
			r.open()
			r.verify()
			if r.p.Meta().Keys != 0 {
				t.Errorf("%d keys left", r.p.Meta().Keys)
			}
		})
	}
}

// TestLastPartition installs and drops the id behind which there is nothing.
func TestLastPartition(t *testing.T) {
	source := filled(t, storage.MetaPartition, memdb.New(), 3, 's')
	r := filled(t, storage.MetaPartition, memdb.New(), 4, 'x')
	r.must(r.install(source.snapshot()))
	if !bytes.Equal(r.snapshot(), source.snapshot()) {
		t.Fatalf("not what was installed")
	}
	finish(t, storage.NewDropper(r.e, storage.MetaPartition))
	v := r.e.View()
	defer v.Close()
	if ids, err := storage.Partitions(v); err != nil || len(ids) != 0 {
		t.Fatalf("left after the drop: %v, %v", ids, err)
	}
}

// TestDamagedSnapshot flips and cuts a snapshot everywhere; it is never accepted, and an install of it ends as pending.
func TestDamagedSnapshot(t *testing.T) {
	r := newReplica(t, 3)
	for i := range commands() {
		r.apply(&commands()[i])
	}
	r.apply(&storage.Command{Kind: storage.KindPut, Key: []byte("other"), Value: []byte("value"), TTL: 1 << 50})
	good := r.snapshot()
	meta, err := storage.VerifySnapshot(bytes.NewReader(good))
	if err != nil || !reflect.DeepEqual(meta, r.p.Meta()) {
		t.Fatalf("got %+v, %v, want %+v", meta, err, r.p.Meta())
	}
	refuse := func(what string, b []byte) {
		t.Helper()
		if _, err := storage.VerifySnapshot(bytes.NewReader(b)); !errors.Is(err, storage.ErrCorrupt) {
			t.Errorf("%s: %v, want ErrCorrupt", what, err)
		}
		if err := newReplica(t, 3).install(b); !errors.Is(err, storage.ErrCorrupt) {
			t.Errorf("install, %s: %v, want ErrCorrupt", what, err)
		}
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1 << (i % 8)
		refuse(fmt.Sprintf("flip at %d", i), bad)
		refuse(fmt.Sprintf("cut to %d", i), good[:i])
	}
	refuse("longer", append(bytes.Clone(good), 0))
	if err := newReplica(t, 4).install(good); !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("install as another partition: %v, want ErrCorrupt", err)
	}
}

// TestSnapshotOfBrokenPartition: what an engine lost without noticing does not travel on.
func TestSnapshotOfBrokenPartition(t *testing.T) {
	for _, c := range []struct {
		name   string
		column byte
		stream bool // the snapshot finds it too
	}{
		{"record lost", 0x10, true},
		{"overflow cell lost", 0x18, false},
		{"expiry entry lost", 0x20, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := filled(t, 2, memdb.New(), 2, 'v')
			lose(t, r.e, c.column)
			v := r.e.View()
			defer v.Close()
			if err := storage.Verify(v, 2); !errors.Is(err, storage.ErrCorrupt) {
				t.Errorf("verify: %v, want ErrCorrupt", err)
			}
			var buf bytes.Buffer
			err := storage.WriteSnapshot(v, 2, &buf)
			if c.stream && !errors.Is(err, storage.ErrCorrupt) {
				t.Errorf("snapshot: %v, want ErrCorrupt", err)
			}
		})
	}
}

// lose deletes the first cell of a column of partition 2.
func lose(t *testing.T, e storage.Engine, column byte) {
	t.Helper()
	b := e.Batch()
	defer b.Discard()
	err := b.Scan([]byte{0, 2, column}, []byte{0, 2, column + 1}, true, func(k, _ []byte) (bool, error) {
		return false, b.Delete(k)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
}
