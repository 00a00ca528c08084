package sim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/txn"
	"github.com/ringkv/ringkv/txn/serial"
)

// load is what transactions are about: lists that grow, accounts whose sum is 0, one item that lies under one of
// several keys, and counters that count a token's effects.
type load struct {
	w         *world
	recorder  *serial.Recorder
	handles   int
	values    serial.Value
	tokens    int
	lists     map[string]map[storage.Version][]serial.Value // every version of a list that somebody has seen
	deeds     []*deed
	byRequest map[*txn.Request]*deed
	gaps      []gap
	placed    bool // the item surely exists
}

const (
	listKeys    = 6
	accountKeys = 4
	itemKeys    = 4
	lowest      = -60 // balance of an account
)

func listKey(i int) string    { return "list/" + strconv.Itoa(i) }
func accountKey(i int) string { return "account/" + strconv.Itoa(i) }
func itemKey(i int) string    { return "item/" + strconv.Itoa(i) }

func newLoad(w *world) load {
	return load{
		w: w, recorder: serial.NewRecorder(func() serial.Time { return serial.Time(w.now) }),
		lists:     make(map[string]map[storage.Version][]serial.Value),
		byRequest: make(map[*txn.Request]*deed),
	}
}

// gap is a read that was made by the versions of lists, which may become known only later.
type gap struct {
	handle   int // of the recorder's history
	keys     []string
	versions []storage.Version
}

func (l *load) begin(client int, ops []serial.Op) (*serial.Handle, int) {
	l.handles++
	return l.recorder.Begin(serial.Client(client), ops...), l.handles - 1
}

// newValue is one that nobody else appends.
func (l *load) newValue() serial.Value {
	l.values++
	return l.values
}

// learn notes what a list was at a version: it can only have been one thing.
func (l *load) learn(key string, v storage.Version, list []serial.Value) {
	if v == 0 {
		if len(list) > 0 {
			l.w.violate("list %s is %v without a version", key, list)
		}
		return
	}
	if l.lists[key] == nil {
		l.lists[key] = make(map[storage.Version][]serial.Value)
	}
	if old, ok := l.lists[key][v]; ok && !slices.Equal(old, list) {
		l.w.violate("list %s has two contents at version %d: %v and %v", key, v, old, list)
	}
	l.lists[key][v] = list
}

// encodeList is a list as its key holds it, now and then much longer than it need be.
func (l *load) encodeList(list []serial.Value) []byte {
	var b []byte
	for i, v := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(v), 10)
	}
	if l.w.chance(0.05) {
		b = append(b, ';')
		b = append(b, strings.Repeat("x", l.w.rng.IntN(6000))...)
	}
	return b
}

func decodeList(b []byte) ([]serial.Value, error) {
	s, _, _ := strings.Cut(string(b), ";")
	if s == "" {
		return nil, nil
	}
	var list []serial.Value
	for f := range strings.SplitSeq(s, ",") {
		v, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("list %q: %w", s, err)
		}
		list = append(list, serial.Value(v))
	}
	return list, nil
}

// seenList is the list of a result or an item.
func (l *load) seenList(key string, value []byte, v storage.Version) []serial.Value {
	list, err := decodeList(value)
	if err != nil {
		l.w.violate("key %s: %w", key, err)
	}
	l.learn(key, v, list)
	return list
}

// number is the balance of a result or an item.
func (l *load) number(key string, value []byte) int64 {
	if len(value) == 0 {
		return 0
	}
	n, err := strconv.ParseInt(string(value), 10, 64)
	if err != nil {
		l.w.violate("key %s: %w", key, err)
	}
	return n
}

// snapshot checks what must hold at every moment of what one transaction has read.
func (l *load) snapshot(results []storage.OpResult, placed bool) {
	var sum int64
	accounts, items, there := 0, 0, 0
	for i := range results {
		r := &results[i]
		key := string(r.Key)
		switch {
		case r.Kind != storage.OpGet:
		case strings.HasPrefix(key, "account/"):
			accounts++
			sum += l.number(key, r.Value)
		case strings.HasPrefix(key, "item/"):
			items++
			if r.Exists {
				there++
			}
		}
	}
	if accounts == accountKeys && sum != 0 {
		l.w.violate("a transaction reads accounts whose sum is %d", sum)
	}
	if items == itemKeys {
		l.oneItem(there, placed)
	}
}

// oneItem: the item is never in two places, and once it was placed never nowhere.
func (l *load) oneItem(there int, placed bool) {
	if there > 1 || placed && there == 0 {
		l.w.violate("a transaction sees the item in %d places", there)
	}
}

// The parts that requests are made of.

func getOf(key string) storage.TxnOp { return storage.TxnOp{Kind: storage.OpGet, Key: []byte(key)} }

func putOf(key string, value []byte) storage.TxnOp {
	return storage.TxnOp{Kind: storage.OpPut, Key: []byte(key), Value: value}
}

func addOf(key string, by int64, least *int64) storage.TxnOp {
	return storage.TxnOp{Kind: storage.OpAdd, Key: []byte(key), By: by, Min: least}
}

func test(key string, t storage.Test) storage.TxnCondition {
	return storage.TxnCondition{Test: t, Key: []byte(key)}
}

// same reports whether two clients were told the same.
func same(a, b *txn.Outcome) bool {
	return a.Decision == b.Decision && a.ID == b.ID &&
		slices.EqualFunc(a.Results, b.Results, func(x, y storage.OpResult) bool {
			return x.Index == y.Index && x.Kind == y.Kind && x.Exists == y.Exists && x.Version == y.Version &&
				string(x.Value) == string(y.Value) && string(x.Key) == string(y.Key)
		}) &&
		slices.EqualFunc(a.Failed, b.Failed, func(x, y txn.Failure) bool {
			return x.In == y.In && x.Index == y.Index && x.Version == y.Version && x.Op == y.Op
		})
}
