package main

import (
	"fmt"
	"math/rand/v2"
	"strconv"

	"github.com/ringkv/ringkv/ring"
)

// benchKeys are the keys of a load, numbered from 0. Used by any number of goroutines.
type benchKeys struct {
	n      int
	prefix string
	ring   *ring.Ring
	hot    []string // in place of the numbered ones; neighbours lie in different partitions
}

// newBenchKeys returns n keys; if few is set, so chosen that any two neighbours lie in different partitions.
func newBenchKeys(prefix string, n, partitions int, few bool) (*benchKeys, error) {
	hash, err := ring.New(partitions)
	if err != nil {
		return nil, err
	}
	k := &benchKeys{n: n, prefix: prefix, ring: hash}
	if few {
		k.hot = spread(hash, prefix+"h-", n)
	}
	return k, nil
}

// spread returns n names that lie in the partitions in turn.
func spread(hash *ring.Ring, prefix string, n int) []string {
	names := make([]string, 0, n)
	for try := 0; len(names) < n; try++ {
		name := prefix + strconv.Itoa(try)
		if int(hash.Partition([]byte(name))) == len(names)%hash.Partitions() {
			names = append(names, name)
		}
	}
	return names
}

// plainKey is the i-th key: 16 bytes up to a hundred million keys.
func (k *benchKeys) plainKey(i int) string {
	if k.hot != nil {
		return k.hot[i]
	}
	return k.prefix + "k-" + eightDigits(i)
}

func (k *benchKeys) plain(i int) []string { return []string{k.plainKey(i)} }

// tagged are the two keys with number i in one partition.
func (k *benchKeys) tagged(i int) []string {
	tag := k.prefix + "{" + eightDigits(i) + "}"
	return []string{tag + "a", tag + "b"}
}

// pair returns two keys at random, in different partitions as far as there are such.
func (k *benchKeys) pair(r *rand.Rand) (one, other string) {
	const tries = 32
	i := r.IntN(k.n)
	one = k.plainKey(i)
	for range tries {
		other = k.plainKey(r.IntN(k.n))
		if k.ring.Partition([]byte(one)) != k.ring.Partition([]byte(other)) {
			return one, other
		}
	}
	return one, k.plainKey((i + 1) % k.n)
}

func eightDigits(i int) string {
	const digits = "00000000"
	s := strconv.Itoa(i)
	return digits[:max(0, len(digits)-len(s))] + s
}

// checkHot refuses numbers of hot keys that make no sense. n is 0 where none were asked for.
func checkHot(n int, w *workload) error {
	const mostHot = 1000
	switch {
	case n == 0:
		return nil
	case n < 0 || n > mostHot:
		return fmt.Errorf("--hot %d: want 1 to %d", n, mostHot)
	case n < 2 && w.txn && w.name != workloadTxn1:
		return fmt.Errorf("--hot %d: %s needs two keys", n, w.name)
	}
	return nil
}
