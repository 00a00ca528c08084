package raftlog

import (
	"bytes"
	"reflect"
	"testing"
)

// everyKind is a record with an item of every kind.
func everyKind() []byte {
	var b Batch
	b.trim(3)
	b.Append(1, []Entry{{Index: 5, Term: 2, Type: 1, Data: []byte("data")}, {Index: 6, Term: 2}})
	b.SetState(1, State{Replica: 1, Removed: true, Term: 2, Vote: 3, Commit: 4})
	b.Reset(2, 7, 8)
	b.Compact(3, 9)
	b.Remove(4)
	b.checkpoint(5, checkpoint{state: State{Replica: 9}, markIndex: 1, markTerm: 1, last: 2})
	b.move(1, &Entry{Index: 5, Term: 2, Data: []byte("again")})
	return sealRecord(appendShortItem(b.buf, kindNext, 0, 4), 11, 12, 10)
}

// encode writes what was decoded, with the entries' types and data taken from the body.
func encode(body []byte, ops []op, points []checkpoint) []byte {
	out := make([]byte, recordHeader)
	for _, o := range ops {
		item := body[o.off-recordHeader:]
		switch o.kind {
		case kindEntry, kindMoved:
			e := Entry{Index: o.index, Term: o.term, Type: item[1], Data: item[entryHeader : entryHeader+o.size]}
			out = appendEntryItem(out, o.kind, o.group, &e)
		case kindReset, kindCompact:
			out = appendMarkItem(out, o.kind, o.group, o.index, o.term)
		case kindRemove, kindTrim, kindNext:
			out = appendShortItem(out, o.kind, o.group, uint32(o.index))
		case kindState:
			out = appendStateItem(out, o.kind, o.group, points[o.extra].state, points[o.extra].hasState)
		case kindCheckpoint:
			out = appendCheckpointItem(out, o.group, points[o.extra])
		}
	}
	return out
}

func TestEveryKindRoundTrips(t *testing.T) {
	rec := everyKind()
	info, body, ok := parseRecord(rec, 11)
	if !ok || info.seq != 12 || info.durable != 10 || info.size() != len(rec) || len(rec)%align != 0 {
		t.Fatalf("%+v %v", info, ok)
	}
	ops, points, err := decodeItems(body, nil, nil)
	if err != nil || len(ops) != 10 {
		t.Fatalf("%d items, %v", len(ops), err)
	}
	if got := sealRecord(encode(body, ops, points), 11, 12, 10); !bytes.Equal(got, rec) {
		t.Errorf("decoded and encoded again:\n%x\n%x", got, rec)
	}
	if _, _, ok := parseRecord(rec, 12); ok {
		t.Error("a record of another segment was taken")
	}
}

// Whatever follows an intact checksum, the decoder neither panics nor reads outside; and what it takes means the same
// when it is written and decoded again.
func FuzzDecodeItems(f *testing.F) {
	f.Add(everyKind()[recordHeader:])
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) == 0 {
			return
		}
		ops, points, err := decodeItems(body, nil, nil)
		if err != nil {
			return
		}
		again := sealRecord(encode(body, ops, points), 0, 1, 0)[recordHeader:]
		ops2, points2, err := decodeItems(again, nil, nil)
		if err != nil || !reflect.DeepEqual(ops, ops2) || !reflect.DeepEqual(points, points2) {
			t.Errorf("%v and %v, %v and %v: %v", ops, ops2, points, points2, err)
		}
	})
}

// A record is taken only as it was written, and a record that fails is judged without a panic.
func FuzzParseRecord(f *testing.F) {
	f.Add(everyKind(), uint32(11))
	f.Add(everyKind()[:50], uint32(11))
	f.Fuzz(func(t *testing.T, b []byte, seed uint32) {
		tornRecord(b, 0, seed)
		tornHeader(b)
		parseSegmentInfo(b)
		info, body, ok := parseRecord(b, seed)
		if !ok {
			return
		}
		items := append(make([]byte, recordHeader), body[:len(body)-1]...)
		for len(items) > recordHeader && len(items)%align != 0 && items[len(items)-1] == 0 {
			items = items[:len(items)-1] // padding
		}
		if got := sealRecord(items, seed, info.seq, info.durable); !bytes.Equal(got, b[:info.size()]) {
			t.Errorf("%x was taken for %x", b, got)
		}
	})
}
