package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/api/client"
)

// The workloads.
const (
	workloadPut    = "put"
	workloadGet    = "get"
	workloadMix    = "mix"
	workloadTxn1   = "txn1"
	workloadTxn2   = "txn2"
	workloadTxnAdd = "txn-add"
	workloadExpire = "expire"
	workloadLock   = "lock"
)

// workload is one kind of load: the keys that it needs and what a worker does again and again.
type workload struct {
	name    string
	filled  bool // its keys are written beforehand
	numbers bool // its values are numbers; else they are text if txn is set, or bytes that do not compress
	txn     bool
	expires bool                               // meanwhile other keys fall due
	names   func(k *benchKeys, i int) []string // of the keys with number i
	step    func(w *worker, ctx context.Context) (*opStats, error)
}

// workloadTable lists every workload once and never changes.
var workloadTable = [...]workload{
	{name: workloadPut, names: (*benchKeys).plain, step: (*worker).put},
	{name: workloadGet, filled: true, names: (*benchKeys).plain, step: (*worker).get},
	{name: workloadMix, filled: true, names: (*benchKeys).plain, step: (*worker).getOrPut},
	{name: workloadTxn1, filled: true, numbers: true, txn: true, names: (*benchKeys).tagged, step: (*worker).transferInOne},
	{name: workloadTxn2, filled: true, txn: true, names: (*benchKeys).plain, step: (*worker).readAndWriteBoth},
	{name: workloadTxnAdd, filled: true, numbers: true, txn: true, names: (*benchKeys).plain, step: (*worker).transfer},
	{name: workloadExpire, filled: true, expires: true, names: (*benchKeys).plain, step: (*worker).getOrPut},
	{name: workloadLock, names: (*benchKeys).plain, step: (*worker).lockAndUnlock},
}

// findWorkload returns the workload called name, or an error that lists them all.
func findWorkload(name string) (*workload, error) {
	names := make([]string, len(workloadTable))
	for i := range workloadTable {
		if workloadTable[i].name == name {
			return &workloadTable[i], nil
		}
		names[i] = workloadTable[i].name
	}
	return nil, fmt.Errorf("workload %q: want %s or %s", name, strings.Join(names[:len(names)-1], ", "), names[len(names)-1])
}

// startingBalance outlasts every benchmark.
const startingBalance = "1000000000000"

// value returns what a key of w holds at first, and what writes put there.
func (w *workload) value(n int) []byte {
	switch {
	case w.numbers:
		return []byte(startingBalance)
	case w.txn:
		return newText(n)
	default:
		return newValue(n)
	}
}

// newValue returns n bytes that do not compress.
func newValue(n int) []byte {
	value := make([]byte, n)
	for i := range value {
		value[i] = byte(rand.Uint32())
	}
	return value
}

// newText returns n letters at random: they stand in JSON as they are.
func newText(n int) []byte {
	value := make([]byte, n)
	for i := range value {
		value[i] = byte('a' + rand.IntN(26))
	}
	return value
}

func (w *worker) get(ctx context.Context) (*opStats, error) {
	_, err := w.client.Get(ctx, w.keys.plainKey(w.rand.IntN(w.keys.n)))
	return &w.gets, err
}

func (w *worker) put(ctx context.Context) (*opStats, error) {
	_, err := w.client.Put(ctx, w.keys.plainKey(w.rand.IntN(w.keys.n)), w.value)
	return &w.puts, err
}

func (w *worker) getOrPut(ctx context.Context) (*opStats, error) {
	if w.rand.Uint32()&1 == 0 {
		return w.get(ctx)
	}
	return w.put(ctx)
}

// transferInOne moves 1 between two keys of one partition.
func (w *worker) transferInOne(ctx context.Context) (*opStats, error) {
	names := w.keys.tagged(w.rand.IntN(w.keys.n))
	return &w.txns, w.move(ctx, names[0], names[1])
}

// transfer moves 1 between keys of two partitions.
func (w *worker) transfer(ctx context.Context) (*opStats, error) {
	from, to := w.keys.pair(w.rand)
	return &w.txns, w.move(ctx, from, to)
}

func (w *worker) move(ctx context.Context, from, to string) error {
	r, err := w.client.Transact(ctx, client.NewTxn(w.opts...).Add(from, -1, client.AtLeast(0)).Add(to, 1))
	if err == nil && !r.Lost {
		w.conflicts += int64(r.Attempts - 1)
	}
	return err
}

// readAndWriteBoth reads keys of two partitions and writes both on condition that they are unchanged, until that holds.
func (w *worker) readAndWriteBoth(ctx context.Context) (*opStats, error) {
	one, other := w.keys.pair(w.rand)
	for n := 0; ; n++ {
		began := time.Now()
		a, b, err := w.versions(ctx, one, other)
		if err != nil {
			return &w.txns, err
		}
		read := time.Now()
		r, err := w.client.Transact(ctx, client.NewTxn(w.opts...).
			IfVersion(one, a).IfVersion(other, b).Put(one, w.value).Put(other, w.value))
		if !errors.Is(err, client.ErrConditionFailed) {
			if err == nil {
				w.part(&w.reads, began, read)
				w.part(&w.commits, read, time.Now())
				w.conflicts += int64(max(0, r.Attempts-1))
			}
			return &w.txns, err
		}
		w.conflicts++
		sleep(ctx, w.racePause(n))
	}
}

// racePause is a random pause after the n-th lost race, from 0: as client.Txn makes it.
func (w *worker) racePause(n int) time.Duration {
	const first, doublings = 4 * time.Millisecond, 9
	return time.Duration(w.rand.Int64N(int64(first << min(n, doublings))))
}

// versions reads the versions of two keys, both at a time: that they are of one moment, the commit finds out.
func (w *worker) versions(ctx context.Context, one, other string) (a, b api.Version, err error) {
	var wg sync.WaitGroup
	var otherErr error
	wg.Go(func() { b, otherErr = w.version(ctx, other) })
	a, err = w.version(ctx, one)
	wg.Wait()
	if err == nil {
		err = otherErr
	}
	return a, b, err
}

// version reads the version of key, 0 if it is absent.
func (w *worker) version(ctx context.Context, key string) (api.Version, error) {
	item, err := w.client.Get(ctx, key)
	if errors.Is(err, client.ErrNotFound) {
		return 0, nil
	}
	return item.Version, err
}

// part books a part of an operation.
func (w *worker) part(s *opStats, from, to time.Time) {
	if phase(w.load.phase.Load()) == measuring {
		s.record(to.Sub(from), nil)
	}
}
