package cluster

import (
	"bytes"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ringkv/ringkv/cluster/watch"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

func drawItem(t *rapid.T) Item {
	return Item{
		Item: storage.Item{
			Key:         rapid.SliceOfN(rapid.Byte(), 1, 40).Draw(t, "key"),
			Value:       rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "value"),
			ContentType: rapid.String().Draw(t, "type"),
			Version:     storage.Version(rapid.Uint64().Draw(t, "version")),
		},
		Partition: ring.PartitionID(rapid.Uint16().Draw(t, "partition")),
		TTL:       time.Duration(rapid.Uint32().Draw(t, "ttl")) * time.Millisecond,
	}
}

func TestItemRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawItem(t)
		got, err := decodeItem(appendItem(nil, &want))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v became %+v, %v", want, got, err)
		}
	})
}

func TestScanRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := scanRequest{List: List{
			Start: rapid.SliceOf(rapid.Byte()).Draw(t, "start"), Limit: rapid.IntRange(1, 1000).Draw(t, "limit"),
			MaxBytes: rapid.IntRange(0, 1<<30).Draw(t, "bytes"), KeysOnly: rapid.Bool().Draw(t, "keys only"),
		}}
		if rapid.Bool().Draw(t, "bounded") {
			want.End = rapid.SliceOf(rapid.Byte()).Draw(t, "end")
		}
		for _, p := range rapid.SliceOfN(rapid.Uint16(), 1, 20).Draw(t, "partitions") {
			want.partitions = append(want.partitions, ring.PartitionID(p))
		}
		got, err := decodeScanRequest(want.append(nil)[2:])
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v became %+v, %v", want, got, err)
		}
	})
}

func TestScanAnswerRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var want scanResponse
		if rapid.Bool().Draw(t, "more") {
			want.next = rapid.SliceOfN(rapid.Byte(), 1, 9).Draw(t, "next")
		}
		for range rapid.IntRange(0, 5).Draw(t, "items") {
			want.items = append(want.items, drawItem(t))
		}
		for range rapid.IntRange(0, 5).Draw(t, "not led") {
			want.notLed = append(want.notLed, ring.PartitionID(rapid.Uint16().Draw(t, "p")))
			want.leaders = append(want.leaders, ring.NodeID(rapid.Uint32().Draw(t, "leader")))
		}
		got, err := decodeScanResponse(want.append(nil))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v became %+v, %v", want, got, err)
		}
	})
}

func FuzzDecodeItem(f *testing.F) {
	f.Add(appendItem(nil, &Item{Item: storage.Item{Key: []byte("k"), Value: []byte("v"), Version: 7}}))
	f.Add([]byte{})
	f.Add([]byte{1, 2, 3, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		it, err := decodeItem(b)
		if err != nil {
			return
		}
		again, err := decodeItem(appendItem(nil, &it))
		if err != nil || !reflect.DeepEqual(it, again) {
			t.Errorf("%x decodes to %+v, which becomes %+v, %v", b, it, again, err)
		}
	})
}

func FuzzDecodeScan(f *testing.F) {
	req := scanRequest{List: List{Start: []byte("a"), Limit: 10}, partitions: []ring.PartitionID{1, 2}}
	f.Add(req.append(nil)[2:])
	resp := scanResponse{part: part{next: []byte("l"), items: []Item{{Item: storage.Item{Key: []byte("k")}}}}, notLed: []ring.PartitionID{3}, leaders: []ring.NodeID{1}}
	f.Add(resp.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if req, err := decodeScanRequest(b); err == nil {
			if again, err := decodeScanRequest(req.append(nil)[2:]); err != nil || !reflect.DeepEqual(req, again) {
				t.Errorf("%x decodes to %+v, which becomes %+v, %v", b, req, again, err)
			}
		}
		if resp, err := decodeScanResponse(b); err == nil {
			if again, err := decodeScanResponse(resp.append(nil)); err != nil || !reflect.DeepEqual(resp, again) {
				t.Errorf("%x decodes to %+v, which becomes %+v, %v", b, resp, again, err)
			}
		}
	})
}

// A page of many parts is a prefix of what one sorted list of everything would give, and its Next goes on right behind it,
// also where the parts were cut before their first item.
func TestMergeIsAPrefix(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-e]{1,4}`), 0, 40, rapid.ID[string]).Draw(t, "keys")
		split := rapid.IntRange(1, 5).Draw(t, "parts")
		parts := make([]part, split)
		for i, k := range all {
			p := &parts[i%split]
			p.items = append(p.items, Item{Item: storage.Item{Key: []byte(k), Value: make([]byte, 10)}})
		}
		for i := range parts {
			p := &parts[i]
			sortItems(p.items)
			if n := rapid.IntRange(0, len(p.items)).Draw(t, "kept"); n < len(p.items) {
				p.next = p.items[n].Key // the part has gone up to there, or less far
				if n > 0 && rapid.Bool().Draw(t, "right behind") {
					p.next = append(slices.Clone(p.items[n-1].Key), 0)
				}
				p.items = p.items[:n]
			}
		}
		l := List{Limit: rapid.IntRange(1, 50).Draw(t, "limit"), MaxBytes: rapid.IntRange(1, 500).Draw(t, "bytes")}
		page := merge(parts, l)
		checkPrefix(t, all, page, l)
	})
}

func sortItems(items []Item) {
	slices.SortFunc(items, func(a, b Item) int { return bytes.Compare(a.Key, b.Key) })
}

func checkPrefix(t *rapid.T, all []string, page Page, l List) {
	sorted := make([]Item, len(all))
	for i, k := range all {
		sorted[i].Key = []byte(k)
	}
	sortItems(sorted)
	if len(page.Items) > l.Limit || len(page.Items) > len(sorted) {
		t.Fatalf("%d items of %d, limit %d", len(page.Items), len(sorted), l.Limit)
	}
	for i, it := range page.Items {
		if !bytes.Equal(it.Key, sorted[i].Key) {
			t.Fatalf("item %d is %q, want %q", i, it.Key, sorted[i].Key)
		}
	}
	if page.Next == nil && len(page.Items) < len(sorted) {
		t.Fatalf("ends after %d of %d items", len(page.Items), len(sorted))
	}
	before := slices.IndexFunc(sorted, func(it Item) bool { return bytes.Compare(it.Key, page.Next) >= 0 })
	if page.Next != nil && before != len(page.Items) && (before >= 0 || len(page.Items) != len(sorted)) {
		t.Fatalf("goes on at %q, which is behind %d items, after %d", page.Next, before, len(page.Items))
	}
}

func TestReadKeysRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 9), 0, 5)
		keys, locks := names.Draw(t, "keys"), names.Draw(t, "locks")
		b := appendReadKeys(nil, 7, keys, locks)
		gotKeys, gotLocks, err := decodeReadKeys(b[2:])
		if err != nil || !slices.EqualFunc(gotKeys, keys, bytes.Equal) || !slices.EqualFunc(gotLocks, locks, bytes.Equal) {
			t.Fatalf("%q, %q became %q, %q, %v", keys, locks, gotKeys, gotLocks, err)
		}
	})
}

func FuzzReadKeys(f *testing.F) {
	f.Add([]byte{})
	f.Add(appendReadKeys(nil, 7, [][]byte{[]byte("k"), {}}, [][]byte{[]byte("lock")})[2:])
	f.Add([]byte{2, 1, 'x'})
	f.Fuzz(func(t *testing.T, b []byte) {
		keys, locks, err := decodeReadKeys(b)
		if err != nil {
			return
		}
		again, names, err := decodeReadKeys(appendReadKeys(nil, 0, keys, locks)[2:])
		if err != nil || !slices.EqualFunc(again, keys, bytes.Equal) || !slices.EqualFunc(names, locks, bytes.Equal) {
			t.Fatalf("%q, %q became %q, %q, %v", keys, locks, again, names, err)
		}
	})
}

func TestTxnIDRoundTrip(t *testing.T) {
	want := storage.TxnID{Node: 1<<32 - 1, Incarnation: 7, Seq: 1<<64 - 2}
	b := appendTxnID(nil, want)
	if got, err := decodeTxnID(b); err != nil || got != want {
		t.Fatalf("%v became %v, %v", want, got, err)
	}
	for _, bad := range [][]byte{nil, b[1:], append(b, 0)} {
		if _, err := decodeTxnID(bad); err == nil {
			t.Errorf("%x decodes", bad)
		}
	}
}

func TestHistoryQueryRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := watch.Query{
			Wait:     time.Duration(rapid.IntRange(0, 30_000).Draw(t, "wait")) * time.Millisecond,
			MaxBytes: rapid.IntRange(0, maxHistoryBytes).Draw(t, "bytes"),
		}
		for _, p := range rapid.SliceOfN(rapid.Uint16(), 1, 20).Draw(t, "partitions") {
			want.Wants = append(want.Wants, watch.Want{Partition: ring.PartitionID(p), After: rapid.Uint64().Draw(t, "after")})
		}
		got, err := decodeHistoryQuery(appendHistoryQuery(nil, &want)[2:])
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v became %+v, %v", want, got, err)
		}
	})
}

func TestHistoryAnswersRoundTrip(t *testing.T) {
	want := []watch.Answer{
		{Partition: 3, Verdict: watch.Gone},
		{Partition: 0xFFFE, History: storage.History{Through: 9, Changes: []storage.Change{{
			Index: 8, Last: true, Kind: storage.ChangePut, Key: []byte("k"), Value: []byte{}, Version: 7,
			Txn: storage.TxnID{Node: 1, Incarnation: 2, Seq: 3}, Home: 4,
		}}}},
		{Partition: 5, Verdict: watch.Elsewhere},
		{Partition: 6, History: storage.History{Through: 1 << 60}},
	}
	b := appendHistoryAnswers(nil, want)
	got, err := decodeHistoryAnswers(b)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v became %+v, %v", want, got, err)
	}
}

func FuzzHistoryAnswers(f *testing.F) {
	f.Add(appendHistoryAnswers(nil, []watch.Answer{{Partition: 1, Verdict: watch.Elsewhere}, {Partition: 2, History: storage.History{Through: 3}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		answers, err := decodeHistoryAnswers(b)
		if err != nil {
			return
		}
		again, err := decodeHistoryAnswers(appendHistoryAnswers(nil, answers))
		if err != nil || !reflect.DeepEqual(again, answers) {
			t.Fatalf("%+v became %+v, %v", answers, again, err)
		}
	})
}
