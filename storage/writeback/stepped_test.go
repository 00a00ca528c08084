package writeback_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/storage/enginetest"
	"github.com/ringkv/ringkv/storage/memdb"
	"github.com/ringkv/ringkv/storage/writeback"
)

// stepped is an engine whose flights go on, or not, whenever it is asked for something.
type stepped struct {
	*writeback.Engine
	rng *rand.Rand
}

func (s stepped) View() storage.View   { s.step(); return s.Engine.View() }
func (s stepped) Batch() storage.Batch { s.step(); return s.Engine.Batch() }

func (s stepped) step() {
	if s.rng.IntN(3) == 0 {
		s.Step()
	}
}

type steppedFixture struct {
	fixture
	layer int
}

func (f steppedFixture) Open() (storage.Engine, error) {
	e, err := f.disk.Open(memdb.Options{MaxBatchBytes: f.max})
	if err != nil {
		return nil, err
	}
	return stepped{writeback.NewStepped(e, f.layer, func() {}), f.rng}, nil
}

func TestSteppedConformance(t *testing.T) {
	for _, layer := range []int{1, 2 << 10, math.MaxInt} {
		t.Run(fmt.Sprint(layer), func(t *testing.T) {
			enginetest.Run(t, func(*testing.T) enginetest.Fixture {
				return steppedFixture{fixture{memdb.NewDisk(), rand.New(rand.NewPCG(1, 2)), 0}, layer}
			})
		})
	}
}

// worst is a source of randomness by which a power cut takes everything that it may.
type worst struct{}

func (worst) Uint64() uint64 { return 0 }

// TestStepsAndCrashes: what a kill and the loss of power leave, after each step of a sync.
func TestStepsAndCrashes(t *testing.T) {
	for _, c := range []struct {
		steps int
		power bool
		want  string // of what was committed before the sync was begun
		done  bool   // what StartSync says
	}{
		{0, false, "old", false},
		{0, true, "old", false},
		{1, false, "new", false},
		{1, true, "old", false},
		{2, false, "new", true},
		{2, true, "new", true},
	} {
		t.Run(fmt.Sprintf("%d steps, power %t", c.steps, c.power), func(t *testing.T) {
			disk := memdb.NewDisk()
			begun := 0
			e := openStepped(t, disk, &begun)
			commit(t, e, "ka", "old")
			commit(t, e, "kb", "old")
			if err := e.Sync(); err != nil {
				t.Fatal(err)
			}
			commit(t, e, "ka", "new")
			commit(t, e, "kb", "new")
			begun = 0
			done := e.StartSync()
			if _, err := done(); err != nil || begun != 1 {
				t.Fatalf("%d flights are begun, %v", begun, err)
			}
			commit(t, e, "kc", "later")
			for i := range c.steps {
				if more, want := e.Step(), i == 0; more != want {
					t.Fatalf("after step %d another is left: %t", i+1, more)
				}
			}
			if got, err := done(); got != c.done || err != nil {
				t.Errorf("done: %t, %v", got, err)
			}
			wantCells(t, e, "ka", "new", "kb", "new", "kc", "later")
			if c.power {
				disk.Crash(rand.New(worst{}))
			} else {
				disk.Kill()
			}
			wantCells(t, openStepped(t, disk, &begun), "ka", c.want, "kb", c.want)
		})
	}
}

func openStepped(t *testing.T, disk *memdb.Disk, begun *int) *writeback.Engine {
	t.Helper()
	under, err := disk.Open(memdb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return writeback.NewStepped(under, math.MaxInt, func() { *begun++ })
}

// wantCells compares all cells with keys and values that take turns.
func wantCells(t *testing.T, e storage.Engine, want ...string) {
	t.Helper()
	v := e.View()
	defer v.Close()
	var got []string
	err := v.Scan([]byte("ka"), nil, false, func(key, value []byte) (bool, error) {
		got = append(got, string(key), string(value))
		return true, nil
	})
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("cells %q, %v, want %q", got, err, want)
	}
}

// TestWriterTakesSteps: who has to wait for a flight takes the steps that are left, and a failure among them is its own.
func TestWriterTakesSteps(t *testing.T) {
	for _, steps := range []int{0, 1} {
		t.Run(fmt.Sprint(steps), func(t *testing.T) {
			syncs := 0
			under, err := memdb.NewDisk().Open(memdb.Options{OnSync: func() memdb.Fault { syncs++; return memdb.FaultLost }})
			if err != nil {
				t.Fatal(err)
			}
			e := writeback.NewStepped(under, math.MaxInt, func() {})
			commit(t, e, "ka", "1")
			if _, err := e.StartSync()(); err != nil {
				t.Fatal(err)
			}
			for range steps {
				e.Step()
			}
			if err := e.Sync(); !errors.Is(err, storage.ErrFailed) || syncs != 1 {
				t.Errorf("sync: %v after %d syncs below, want ErrFailed after one", err, syncs)
			}
			if e.Step() {
				t.Error("a flight that failed goes on")
			}
		})
	}
}

// TestNoFlightAfterAFailure: the engine below is left alone once one of its syncs has failed, and who waits is told at once.
func TestNoFlightAfterAFailure(t *testing.T) {
	under, err := memdb.NewDisk().Open(memdb.Options{OnSync: func() memdb.Fault { return memdb.FaultLost }})
	if err != nil {
		t.Fatal(err)
	}
	begun := 0
	e := writeback.NewStepped(under, 1, func() { begun++ })
	commit(t, e, "ka", "1") // is written down, as it fills a layer
	e.Step()
	done := e.StartSync()
	if _, err := done(); err != nil || begun != 2 {
		t.Fatalf("%d flights are begun, %v", begun, err)
	}
	for e.Step() {
	}
	if ok, err := done(); ok || !errors.Is(err, storage.ErrFailed) || begun != 2 {
		t.Errorf("done %t, %v with %d flights begun, want ErrFailed and no other flight", ok, err, begun)
	}
}

// TestOrderBelow: the same commits come to the engine below in the same order, so that a simulation can rely on them.
func TestOrderBelow(t *testing.T) {
	var first []string
	for run := range 3 {
		under := &recorder{Engine: memdb.New()}
		e := writeback.NewStepped(under, math.MaxInt, func() {})
		for i := range 50 {
			commit(t, e, fmt.Sprintf("%d-%d", i%7, i), "1")
		}
		if err := e.Sync(); err != nil {
			t.Fatal(err)
		}
		if run == 0 {
			first = under.keys
		}
		if len(first) != 50 || !slices.Equal(under.keys, first) {
			t.Fatalf("run %d: %q, at first %q", run, under.keys, first)
		}
	}
}

// recorder notes the keys that are set.
type recorder struct {
	storage.Engine
	keys []string
}

func (r *recorder) Batch() storage.Batch { return recordedBatch{r.Engine.Batch(), r} }

type recordedBatch struct {
	storage.Batch
	r *recorder
}

func (b recordedBatch) Set(key, value []byte) error {
	b.r.keys = append(b.r.keys, string(key))
	return b.Batch.Set(key, value)
}
