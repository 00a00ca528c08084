package writeback_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/storage/enginetest"
	"github.com/ringkv/ringkv/storage/memdb"
	"github.com/ringkv/ringkv/storage/writeback"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixture is a disk; batches are so small that many layers are written down.
type fixture struct {
	disk *memdb.Disk
	rng  *rand.Rand
	max  int
}

func (f fixture) ForgetsInCrash() {}
func (f fixture) Remove()         {}

func (f fixture) Open() (storage.Engine, error) {
	e, err := f.disk.Open(memdb.Options{MaxBatchBytes: f.max})
	if err != nil {
		return nil, err
	}
	return writeback.New(e), nil
}

func (f fixture) Crash(e storage.Engine) error {
	f.disk.Kill()
	_ = e.Close() // ends its goroutine; the disk is out of its reach
	return nil
}

func (f fixture) PowerCut(e storage.Engine) error {
	f.disk.Crash(f.rng)
	_ = e.Close()
	return nil
}

func TestConformance(t *testing.T) {
	for _, max := range []int{0, 64 << 10} {
		t.Run(fmt.Sprint(max), func(t *testing.T) {
			enginetest.Run(t, func(*testing.T) enginetest.Fixture {
				return fixture{memdb.NewDisk(), rand.New(rand.NewPCG(1, 2)), max}
			})
		})
	}
}

func commit(t *testing.T, e storage.Engine, key, value string) {
	t.Helper()
	b := e.Batch()
	defer b.Discard()
	if err := errors.Join(b.Set([]byte(key), []byte(value)), b.Commit()); err != nil {
		t.Fatal(err)
	}
}

// TestMerges shows what it is for: many commits are one below, and what was overwritten is written once.
func TestMerges(t *testing.T) {
	commits := uint64(0)
	under, err := memdb.NewDisk().Open(memdb.Options{OnCommit: func(n uint64) memdb.Fault { commits = n; return memdb.FaultNone }})
	if err != nil {
		t.Fatal(err)
	}
	e := writeback.New(under)
	for i := range 1000 {
		commit(t, e, "key", fmt.Sprint(i))
	}
	if err := e.Sync(); err != nil {
		t.Fatal(err)
	}
	if commits != 1 {
		t.Errorf("1000 commits were %d below, want 1", commits)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

// counted is an engine that counts what its batches write.
type counted struct {
	storage.Engine
	writes int
}

func (c *counted) Batch() storage.Batch { return &countedBatch{c.Engine.Batch(), c} }

type countedBatch struct {
	storage.Batch
	engine *counted
}

func (b *countedBatch) Set(key, value []byte) error {
	b.engine.writes++
	return b.Batch.Set(key, value)
}

func (b *countedBatch) Delete(key []byte) error {
	b.engine.writes++
	return b.Batch.Delete(key)
}

// TestLeavesNoTrace: what is made and removed within one layer is not written down, if it is known that there was none
// before: by Create, or as a batch had looked for it. Otherwise its removal is.
func TestLeavesNoTrace(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(b storage.Batch) error
		want int
	}{
		{"created", func(b storage.Batch) error { return b.Create([]byte("key"), nil) }, 0},
		{"looked for", func(b storage.Batch) error {
			_, err := b.Get([]byte("key"))
			return errors.Join(b.Set([]byte("key"), nil), map[bool]error{true: errors.New("found")}[err == nil])
		}, 0},
		{"set", func(b storage.Batch) error { return b.Set([]byte("key"), nil) }, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			under, err := memdb.NewDisk().Open(memdb.Options{})
			if err != nil {
				t.Fatal(err)
			}
			count := &counted{Engine: under}
			e := writeback.New(count)
			defer e.Close()
			b := e.Batch()
			if err := errors.Join(c.make(b), b.Commit()); err != nil {
				t.Fatal(err)
			}
			b = e.Batch()
			if err := errors.Join(b.Delete([]byte("key")), b.Commit(), e.Sync()); err != nil {
				t.Fatal(err)
			}
			if count.writes != c.want {
				t.Errorf("%d writes below, want %d", count.writes, c.want)
			}
		})
	}
}

// TestOwnWritesStay: what a batch has handed out of its own writes is not overwritten by the next one, which uses its memory
// again otherwise.
func TestOwnWritesStay(t *testing.T) {
	e := writeback.New(memdb.New())
	defer e.Close()
	for _, read := range []func(b storage.Batch) ([]byte, error){
		func(b storage.Batch) ([]byte, error) { return b.Get([]byte("ka")) },
		func(b storage.Batch) (seen []byte, err error) {
			err = b.Scan([]byte("ka"), []byte("kb"), false, func(_, value []byte) (bool, error) {
				seen = value
				return true, nil
			})
			return seen, err
		},
	} {
		b := e.Batch()
		err := b.Set([]byte("ka"), []byte("first"))
		value, err2 := read(b)
		if err := errors.Join(err, err2, b.Commit()); err != nil {
			t.Fatal(err)
		}
		commit(t, e, "ka", "other")
		if string(value) != "first" {
			t.Errorf("what was read is %q now", value)
		}
	}
}

// TestStartSync: it says true once what was committed before is durable, whatever is committed meanwhile.
func TestStartSync(t *testing.T) {
	disk := memdb.NewDisk()
	f := fixture{disk, rand.New(rand.NewPCG(1, 2)), 0}
	e, err := f.Open()
	if err != nil {
		t.Fatal(err)
	}
	commit(t, e, "ka", "1")
	done := e.(*writeback.Engine).StartSync()
	for {
		ok, err := done()
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			break
		}
		commit(t, e, "kb", "1")
	}
	disk.Crash(rand.New(rand.NewPCG(0, 0)))
	_ = e.Close()
	e, err = f.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	v := e.View()
	defer v.Close()
	if _, err := v.Get([]byte("ka")); err != nil {
		t.Errorf("what was synced is gone: %v", err)
	}
}

// TestFailure: a failure below, which happens beside the writer, ends the engine at the next call.
func TestFailure(t *testing.T) {
	for name, o := range map[string]memdb.Options{
		"commit": {OnCommit: func(uint64) memdb.Fault { return memdb.FaultLost }},
		"sync":   {OnSync: func() memdb.Fault { return memdb.FaultKept }},
	} {
		t.Run(name, func(t *testing.T) {
			under, err := memdb.NewDisk().Open(o)
			if err != nil {
				t.Fatal(err)
			}
			e := writeback.New(under)
			commit(t, e, "ka", "1")
			if err := e.Sync(); !errors.Is(err, storage.ErrFailed) {
				t.Errorf("sync: %v, want ErrFailed", err)
			}
			b := e.Batch()
			if err := errors.Join(b.Set([]byte("kb"), nil), b.Commit()); !errors.Is(err, storage.ErrFailed) {
				t.Errorf("commit after it: %v, want ErrFailed", err)
			}
			if err := e.Exclusive(func() error { return nil }); !errors.Is(err, storage.ErrFailed) {
				t.Errorf("exclusive after it: %v, want ErrFailed", err)
			}
			if err := e.Close(); !errors.Is(err, storage.ErrFailed) {
				t.Errorf("close after it: %v, want ErrFailed", err)
			}
		})
	}
}

// TestReadersBeside lets views be opened and read, some by two goroutines, while the writer keeps two cells equal.
func TestReadersBeside(t *testing.T) {
	under, err := memdb.NewDisk().Open(memdb.Options{MaxBatchBytes: 4 << 10})
	if err != nil {
		t.Fatal(err)
	}
	e := writeback.New(under)
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					compare(t, e)
				}
			}
		})
	}
	for i := range 3000 {
		b := e.Batch()
		v := []byte(fmt.Sprint(i))
		if err := errors.Join(b.Set([]byte("ka"), v), b.Delete([]byte("kb")), b.Set([]byte("kc"), v), b.Commit()); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	readers.Wait()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

func compare(t *testing.T, e storage.Engine) {
	v := e.View()
	defer v.Close()
	var other sync.WaitGroup
	other.Go(func() { _, _ = v.Get([]byte("ka")) })
	defer other.Wait()
	a, errA := v.Get([]byte("ka"))
	c, errC := v.Get([]byte("kc"))
	if string(a) != string(c) || !errors.Is(errC, errA) {
		t.Errorf("one view has %q, %v and %q, %v", a, errA, c, errC)
	}
	seen := ""
	err := v.Scan([]byte("k\x00"), nil, false, func(_, value []byte) (bool, error) {
		seen += string(value) + " "
		return true, nil
	})
	if want := string(a) + " " + string(c) + " "; err != nil || seen != want && errA == nil {
		t.Errorf("its scan has %q, %v, want %q", seen, err, want)
	}
}
