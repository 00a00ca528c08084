package storage_test

import (
	"bytes"
	"testing"

	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/storage/memdb"
)

// tb is what *testing.T, *testing.F and *rapid.T share.
type tb interface {
	Helper()
	Fatalf(format string, args ...any)
}

// replica is one partition on an engine, one batch an entry.
type replica struct {
	t  tb
	id storage.PartitionID
	e  storage.Engine
	p  *storage.Partition

	told [16]told // the last results
	at   int      // where in told the next goes
}

// told is a result as a client keeps it.
type told struct {
	clone storage.Result
	was   []byte // what the result said when it came
}

func newReplica(t tb, id storage.PartitionID) *replica { return newReplicaOn(t, id, memdb.New()) }

func newReplicaOn(t tb, id storage.PartitionID, e storage.Engine) *replica {
	r := &replica{t: t, id: id, e: e}
	r.open()
	return r
}

func (r *replica) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatalf("%v", err)
	}
}

// open reads the partition anew, as after a restart.
func (r *replica) open() {
	r.t.Helper()
	v := r.e.View()
	defer v.Close()
	var err error
	r.p, err = storage.OpenPartition(v, r.id)
	r.must(err)
}

func (r *replica) apply(c *storage.Command) storage.Result {
	r.t.Helper()
	return r.applyEntry(storage.AppendCommand(nil, c))
}

func (r *replica) applyEntry(data []byte) storage.Result {
	r.t.Helper()
	b := r.e.Batch()
	defer b.Discard()
	locked := r.p.Locks().XLockedIn(nil, nil)
	bound := r.p.ApplyCost(data)
	res, err := r.p.Apply(b, r.p.Meta().Applied+1, 1, data)
	r.must(err)
	if size := b.Size(); size > bound {
		r.t.Fatalf("the entry added %d to the batch, ApplyCost says at most %d", size, bound)
	}
	before := b.Size()
	r.must(r.p.Flush(b))
	if b.Size()-before > storage.FlushCost {
		r.t.Fatalf("the flush added %d to the batch", b.Size()-before)
	}
	r.must(b.Commit())
	r.shadow(locked)
	return r.keep(res)
}

// shadow looks whether one falls on what was locked until the last batch was committed, and on what is since.
func (r *replica) shadow(until [][]byte) {
	r.t.Helper()
	r.fall(until)
	r.p.Visible()
	locked := r.p.Locks().XLockedIn(nil, nil)
	r.fall(locked)
	for i := range shadowKeys {
		if len(locked) == 0 && r.p.LockShadow().Falls(shadowKeys[i]) {
			r.t.Fatalf("a shadow falls on %q, and nothing is locked", shadowKeys[i])
		}
	}
}

func (r *replica) fall(locked [][]byte) {
	r.t.Helper()
	for _, key := range locked {
		if !r.p.LockShadow().Falls(key) {
			r.t.Fatalf("%q is locked, and no shadow falls on it", key)
		}
	}
}

// keep returns a clone of a result, and looks whether those that are kept still say what they said.
func (r *replica) keep(res storage.Result) storage.Result {
	r.t.Helper()
	for _, x := range r.told {
		if x.was != nil && !bytes.Equal(storage.AppendResult(nil, x.clone), x.was) {
			r.t.Fatalf("a clone has become %+v", x.clone)
		}
	}
	const long = 4 << 10 // not worth the time
	if was := storage.AppendResult(nil, res); len(was) <= long {
		r.told[r.at%len(r.told)] = told{res.Clone(), was}
		r.at++
	}
	return res.Clone()
}

func (r *replica) get(key string) (storage.Item, error) {
	v := r.e.View()
	defer v.Close()
	return storage.Get(v, r.id, []byte(key))
}

func (r *replica) scan(o storage.ScanOptions) ([]storage.Item, bool) {
	r.t.Helper()
	v := r.e.View()
	defer v.Close()
	items, next, err := storage.Scan(v, r.id, o)
	r.must(err)
	return items, next != nil
}

func (r *replica) verify() {
	r.t.Helper()
	v := r.e.View()
	defer v.Close()
	r.must(storage.Verify(v, r.id))
}

func (r *replica) snapshot() []byte {
	r.t.Helper()
	v := r.e.View()
	defer v.Close()
	var buf bytes.Buffer
	r.must(storage.WriteSnapshot(v, r.id, &buf))
	return buf.Bytes()
}

// install replaces the partition by a snapshot and opens it.
func (r *replica) install(b []byte) error {
	in, err := storage.NewInstaller(r.e, r.id, bytes.NewReader(b), "spool")
	if err != nil {
		return err
	}
	for done := false; !done; {
		if done, err = in.Step(); err != nil {
			return err
		}
	}
	r.open()
	return nil
}

// applyFuzzed applies an entry that may be anything to a partition that holds something.
func applyFuzzed(t *testing.T, data []byte) {
	t.Helper()
	r := newReplica(t, 1)
	r.apply(&storage.Command{Kind: storage.KindPut, Key: []byte("k"), Value: []byte("v"), TTL: 5})
	r.applyEntry(data)
	r.verify()
}
