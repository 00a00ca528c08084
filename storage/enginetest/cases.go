package enginetest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/ringkv/ringkv/storage"
)

func testEmpty(t *testing.T, f Fixture) {
	e := open(t, f)
	defer e.Close()
	v := e.View()
	defer v.Close()
	expectAbsent(t, v, "ab")
	expect(t, "contents", contents(t, v, []byte{0, 0}, nil), "")
}

func testReadYourWrites(t *testing.T, f Fixture) {
	e := open(t, f)
	defer e.Close()
	write(t, e, "ka", "1", "kb", "2", "kc", "3")
	b := e.Batch()
	defer b.Discard()
	check(t, "set", b.Set([]byte("kb"), []byte("two")))
	check(t, "set", b.Set([]byte("kbb"), []byte("new")))
	check(t, "delete", b.Delete([]byte("ka")))
	check(t, "delete absent", b.Delete([]byte("kz")))
	expect(t, "batch", contents(t, b, []byte("ka"), nil), "kb=two kbb=new kc=3")
	check(t, "set again", b.Set([]byte("ka"), []byte("back")))
	expectGet(t, b, "ka", "back")
	check(t, "commit", b.Commit())
	v := e.View()
	defer v.Close()
	expect(t, "committed", contents(t, v, []byte("ka"), nil), "ka=back kb=two kbb=new kc=3")
}

func testScan(t *testing.T, f Fixture) {
	e := open(t, f)
	defer e.Close()
	write(t, e, "b\x00", "0", "b\x00\x00", "1", "b\xff", "2", "b\xff\xff", "3", "c\x00", "4")
	v := e.View()
	defer v.Close()
	for _, c := range []struct {
		name       string
		start, end string
		want       string
	}{
		{"all", "\x00\x00", "", "b\x00=0 b\x00\x00=1 b\xff=2 b\xff\xff=3 c\x00=4"},
		{"start is inclusive", "b\xff", "", "b\xff=2 b\xff\xff=3 c\x00=4"},
		{"end is exclusive", "b\x00", "b\xff\xff", "b\x00=0 b\x00\x00=1 b\xff=2"},
		{"between keys", "b\x01", "c", "b\xff=2 b\xff\xff=3"},
		{"empty range", "b\x00\x00", "b\x00\x00", ""},
		{"beyond", "d\x00", "", ""},
	} {
		var end []byte
		if c.end != "" {
			end = []byte(c.end)
		}
		expect(t, c.name, contents(t, v, []byte(c.start), end), c.want)
	}
	stop := errors.New("stop")
	n := 0
	err := v.Scan([]byte("b\x00"), nil, true, func(_, value []byte) (bool, error) {
		if n++; value != nil {
			t.Fatalf("keysOnly gave a value")
		}
		if n == 2 {
			return true, stop
		}
		return true, nil
	})
	if !errors.Is(err, stop) || n != 2 {
		t.Fatalf("scan ended after %d keys with %v, want 2 and the callback's error", n, err)
	}
}

func testNestedScan(t *testing.T, f Fixture) {
	e := open(t, f)
	defer e.Close()
	write(t, e, "aa", "1", "ab", "2", "ba", "3")
	b := e.Batch()
	defer b.Discard()
	var seen []byte
	err := b.Scan([]byte("aa"), nil, false, func(k, _ []byte) (bool, error) {
		seen = append(append(seen, k...), ' ')
		expectGet(t, b, "aa", "1")
		expect(t, "the inner scan", contents(t, b, []byte("aa"), []byte("b\x00")), "aa=1 ab=2")
		check(t, "set inside scan", b.Set(append([]byte("c"), k...), []byte("x")))
		return true, b.Delete([]byte("ba"))
	})
	check(t, "scan", err)
	expect(t, "the scan does not see the batch's later writes", string(seen), "aa ab ba ")
	expect(t, "after", contents(t, b, []byte("aa"), nil), "aa=1 ab=2 caa=x cab=x cba=x")
}

func testViewIsolation(t *testing.T, f Fixture) {
	e := open(t, f)
	defer e.Close()
	write(t, e, "ka", "1")
	before := e.View()
	defer before.Close()
	b := e.Batch()
	check(t, "set", b.Set([]byte("ka"), []byte("2")))
	check(t, "set", b.Set([]byte("kb"), []byte("2")))
	during := e.View()
	defer during.Close()
	check(t, "commit", b.Commit())
	after := e.View()
	defer after.Close()
	expect(t, "before", contents(t, before, []byte("ka"), nil), "ka=1")
	expect(t, "during", contents(t, during, []byte("ka"), nil), "ka=1")
	expect(t, "after", contents(t, after, []byte("ka"), nil), "ka=2 kb=2")
	expectGet(t, before, "ka", "1")
}

func testNoAliasing(t *testing.T, f Fixture) {
	e := open(t, f)
	defer e.Close()
	b := e.Batch()
	key, value := []byte("ka"), []byte("1")
	check(t, "set", b.Set(key, value))
	key[1], value[0] = 'b', '2'
	check(t, "set", b.Set(key, value))
	key[1] = 'c'
	check(t, "delete", b.Delete(key))
	key[1] = 'a'
	check(t, "commit", b.Commit())
	v := e.View()
	defer v.Close()
	expect(t, "contents", contents(t, v, []byte("ka"), nil), "ka=1 kb=2")
}

func testEmptyValues(t *testing.T, f Fixture) {
	e := open(t, f)
	b := e.Batch()
	check(t, "set nil", b.Set([]byte("ka"), nil))
	check(t, "set empty", b.Set([]byte("kb"), []byte{}))
	expectGet(t, b, "ka", "")
	check(t, "commit", b.Commit())
	for range 3 { // from the memory table, from the log, from a table
		v := e.View()
		expectGet(t, v, "ka", "")
		expect(t, "contents", contents(t, v, []byte("ka"), nil), "ka= kb=")
		v.Close()
		check(t, "close", e.Close())
		e = open(t, f)
	}
	check(t, "close", e.Close())
}

func testLimits(t *testing.T, f Fixture) {
	e := open(t, f)
	defer e.Close()
	b := e.Batch()
	defer b.Discard()
	for _, c := range []struct {
		name       string
		key, value int
		want       error
	}{
		{"no key", 0, 1, storage.ErrBadKey},
		{"short key", storage.MinKeyBytes - 1, 1, storage.ErrBadKey},
		{"long key", storage.MaxEngineKeyBytes + 1, 1, storage.ErrBadKey},
		{"long value", 2, storage.MaxCellBytes + 1, storage.ErrTooLarge},
		{"shortest key", storage.MinKeyBytes, 0, nil},
		{"longest key and value", storage.MaxEngineKeyBytes, storage.MaxCellBytes, nil},
	} {
		size := b.Size()
		if err := b.Set(make([]byte, c.key), make([]byte, c.value)); !errors.Is(err, c.want) {
			t.Fatalf("%s: got %v, want %v", c.name, err, c.want)
		}
		want := size
		if c.want == nil {
			want += c.key + c.value + storage.WriteOverhead
		}
		if b.Size() != want {
			t.Fatalf("%s: size %d after %d, want %d", c.name, b.Size(), size, want)
		}
	}
	if err := b.Delete([]byte("x")); !errors.Is(err, storage.ErrBadKey) {
		t.Fatalf("delete of a short key: %v", err)
	}
	check(t, "commit", b.Commit())
}

// testLargestBatch fills a batch to its limit with large values; it must commit.
func testLargestBatch(t *testing.T, f Fixture) {
	fillBatch(t, f, storage.MaxCellBytes)
}

// testMostWrites fills a batch to its limit with the most writes that it can hold.
func testMostWrites(t *testing.T, f Fixture) {
	fillBatch(t, f, 0)
}

func fillBatch(t *testing.T, f Fixture, valueBytes int) {
	e := open(t, f)
	b := e.Batch()
	defer b.Discard()
	value := bytes.Repeat([]byte("v"), valueBytes)
	key := func(n uint64) []byte { return binary.BigEndian.AppendUint64([]byte("k"), n) }
	n := uint64(0)
	for ; ; n++ {
		room := e.MaxBatchBytes() - b.Size() - len(key(n)) - storage.WriteOverhead
		if room < 0 {
			break
		}
		check(t, "set", b.Set(key(n), value[:min(room, len(value))]))
	}
	if err := b.Set(key(n), nil); !errors.Is(err, storage.ErrTooLarge) {
		t.Fatalf("set into a full batch: %v", err)
	}
	expectAbsent(t, b, string(key(n)))
	check(t, "commit", b.Commit())
	check(t, "close", e.Close())
	e = open(t, f)
	defer e.Close()
	v := e.View()
	defer v.Close()
	found := uint64(0)
	err := v.Scan([]byte("k\x00"), nil, true, func(k, _ []byte) (bool, error) {
		if !bytes.Equal(k, key(found)) {
			t.Fatalf("key %x where %x belongs", k, key(found))
		}
		found++
		return true, nil
	})
	check(t, "scan", err)
	if found != n {
		t.Fatalf("%d of %d keys", found, n)
	}
}

func testDiscard(t *testing.T, f Fixture) {
	e := open(t, f)
	defer e.Close()
	b := e.Batch()
	check(t, "set", b.Set([]byte("ka"), []byte("1")))
	b.Discard()
	b.Discard()
	write(t, e, "kb", "2")
	v := e.View()
	defer v.Close()
	expect(t, "contents", contents(t, v, []byte("ka"), nil), "kb=2")
}

func testEnded(t *testing.T, f Fixture) {
	e := open(t, f)
	b := e.Batch()
	check(t, "set", b.Set([]byte("ka"), []byte("1")))
	check(t, "commit", b.Commit())
	v := e.View()
	v.Close()
	for name, err := range map[string]error{
		"set":           b.Set([]byte("kb"), nil),
		"delete":        b.Delete([]byte("kb")),
		"second commit": b.Commit(),
		"get of a view": second(v.Get([]byte("ka"))),
		"get":           second(b.Get([]byte("ka"))),
	} {
		if !errors.Is(err, storage.ErrClosed) {
			t.Fatalf("%s after the end: %v, want ErrClosed", name, err)
		}
	}
	check(t, "close", e.Close())
	check(t, "close again", e.Close())
}

func second(_ []byte, err error) error { return err }

func testReopen(t *testing.T, f Fixture) {
	e := open(t, f)
	write(t, e, "ka", "1", "kb", "2")
	write(t, e, "ka", "3")
	for range 3 {
		check(t, "close", e.Close())
		e = open(t, f)
		v := e.View()
		expect(t, "contents", contents(t, v, []byte("ka"), nil), "ka=3 kb=2")
		v.Close()
	}
	check(t, "close", e.Close())
}

func testCrash(t *testing.T, f Fixture) {
	e := open(t, f)
	want := model{}
	for i := range 4 {
		k, v := string([]byte{'k', 'a' + byte(i)}), string([]byte{'0' + byte(i)})
		write(t, e, k, v)
		want[k] = v
		keep(t, f, e)
		b := e.Batch()
		check(t, "set", b.Set([]byte("lost"), []byte(v)))
		if i%2 == 0 {
			b.Discard()
		}
		check(t, "crash", f.Crash(e))
		if i%2 == 1 {
			b.Discard()
		}
		e = open(t, f)
		view := e.View()
		expect(t, "after the crash", contents(t, view, []byte("aa"), nil), want.contents())
		view.Close()
	}
	check(t, "close", e.Close())
}

func testSync(t *testing.T, f Fixture) {
	e := open(t, f)
	check(t, "sync of nothing", e.Sync())
	write(t, e, "ka", "1")
	check(t, "sync", e.Sync())
	check(t, "sync again", e.Sync())
	v := e.View()
	expectGet(t, v, "ka", "1")
	v.Close()
	check(t, "close", e.Close())
	if err := e.Sync(); !errors.Is(err, storage.ErrClosed) {
		t.Fatalf("sync after the end: %v, want ErrClosed", err)
	}
}

// testPowerCut counts up in one cell and writes a cell for each number: what is left is all numbers up to one that is not
// below the last that was synced.
func testPowerCut(t *testing.T, f Fixture) {
	e := open(t, f)
	n, synced := byte('0'), byte('0')
	for round := range 8 {
		for range 5 {
			n++
			write(t, e, "count", string(n), "k"+string(n), "x")
			if int(n)%3 == round%3 {
				check(t, "sync", e.Sync())
				synced = n
			}
		}
		check(t, "power cut", f.PowerCut(e))
		e = open(t, f)
		v := e.View()
		left := synced
		if b, err := v.Get([]byte("count")); err == nil {
			left = b[0]
		} else if synced > '0' {
			t.Fatalf("round %d: the count is gone: %v", round, err)
		}
		if left < synced || left > n {
			t.Fatalf("round %d: %c is left, %c was synced, %c the last", round, left, synced, n)
		}
		for k := byte('1'); k <= n; k++ {
			if k <= left {
				expectGet(t, v, "k"+string(k), "x")
			} else {
				expectAbsent(t, v, "k"+string(k))
			}
		}
		v.Close()
		n, synced = left, left
	}
	check(t, "close", e.Close())
}

func testOpenIsDurable(t *testing.T, f Fixture) {
	e := open(t, f)
	write(t, e, "ka", "1")
	write(t, e, "kb", "2")
	keep(t, f, e)
	check(t, "crash", f.Crash(e))
	e = open(t, f)
	check(t, "power cut", f.PowerCut(e))
	e = open(t, f)
	v := e.View()
	expect(t, "after both", contents(t, v, []byte("aa"), nil), "ka=1 kb=2")
	v.Close()
	check(t, "close", e.Close())
}
