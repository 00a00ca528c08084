package wire_test

import (
	"bytes"
	"errors"
	"testing"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/ringkv/ringkv/cluster/wire"
)

// optional draws a pointer that is nil half of the time.
func optional[T any](t *rapid.T, gen *rapid.Generator[T], name string) *T {
	if !rapid.Bool().Draw(t, name+" set") {
		return nil
	}
	v := gen.Draw(t, name)
	return &v
}

// optionalBytes draws nil, an empty slice or some bytes: proto2 tells the first two apart.
func optionalBytes(t *rapid.T, name string) []byte {
	if !rapid.Bool().Draw(t, name+" set") {
		return nil
	}
	return rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, name)
}

func drawEntry(t *rapid.T) *raftpb.Entry {
	u := rapid.Uint64()
	return &raftpb.Entry{
		Term:  optional(t, u, "entry term"),
		Index: optional(t, u, "entry index"),
		Type:  optional(t, rapid.SampledFrom([]raftpb.EntryType{0, 1, 2}), "entry type"),
		Data:  optionalBytes(t, "entry data"),
	}
}

func drawSnapshot(t *rapid.T) *raftpb.Snapshot {
	u := rapid.Uint64()
	s := &raftpb.Snapshot{Data: optionalBytes(t, "snapshot data")}
	if !rapid.Bool().Draw(t, "metadata set") {
		return s
	}
	s.Metadata = &raftpb.SnapshotMetadata{Index: optional(t, u, "snapshot index"), Term: optional(t, u, "snapshot term")}
	if !rapid.Bool().Draw(t, "conf state set") {
		return s
	}
	ids := rapid.SliceOfN(u, 0, 5)
	s.Metadata.ConfState = &raftpb.ConfState{
		Voters:         ids.Draw(t, "voters"),
		Learners:       ids.Draw(t, "learners"),
		VotersOutgoing: ids.Draw(t, "voters outgoing"),
		LearnersNext:   ids.Draw(t, "learners next"),
		AutoLeave:      optional(t, rapid.Bool(), "auto leave"),
	}
	return s
}

func drawMessage(t *rapid.T) *raftpb.Message {
	u := rapid.Uint64()
	types := rapid.Custom(func(t *rapid.T) raftpb.MessageType {
		return raftpb.MessageType(rapid.Int32Range(0, int32(raftpb.MsgForgetLeader)).Draw(t, "type"))
	})
	m := &raftpb.Message{
		Type:       optional(t, types, "type"),
		To:         optional(t, u, "to"),
		From:       optional(t, u, "from"),
		Term:       optional(t, u, "term"),
		LogTerm:    optional(t, u, "log term"),
		Index:      optional(t, u, "index"),
		Commit:     optional(t, u, "commit"),
		Vote:       optional(t, u, "vote"),
		RejectHint: optional(t, u, "reject hint"),
		Reject:     optional(t, rapid.Bool(), "reject"),
		Context:    optionalBytes(t, "context"),
	}
	for range rapid.IntRange(0, 6).Draw(t, "entries") {
		m.Entries = append(m.Entries, drawEntry(t))
	}
	if rapid.Bool().Draw(t, "snapshot set") {
		m.Snapshot = drawSnapshot(t)
	}
	return m
}

func TestRaftRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		group := rapid.Uint16().Draw(t, "group")
		m := drawMessage(t)
		prefix := []byte("kept")
		b := wire.AppendRaft(prefix, group, m)
		if !bytes.HasPrefix(b, prefix) {
			t.Fatal("AppendRaft did not append")
		}
		b = b[len(prefix):]
		if bound := wire.RaftSize(m); len(b) > bound {
			t.Fatalf("%d bytes, over RaftSize %d", len(b), bound)
		}
		gotGroup, got, err := wire.DecodeRaft(b)
		if err != nil {
			t.Fatal(err)
		}
		if gotGroup != group || !proto.Equal(got, m) {
			t.Fatalf("group %d %v came back as group %d %v", group, m, gotGroup, got)
		}
	})
}

// A field added to the protobuf messages must not be lost in silence: this codec has to learn it first.
func TestRaftCodecKnowsEveryField(t *testing.T) {
	for _, tc := range []struct {
		m      proto.Message
		fields int
	}{
		{&raftpb.Message{}, 14}, // Responses, which is local, is the one left out
		{&raftpb.Entry{}, 4},
		{&raftpb.Snapshot{}, 2},
		{&raftpb.SnapshotMetadata{}, 3},
		{&raftpb.ConfState{}, 5},
	} {
		if n := tc.m.ProtoReflect().Descriptor().Fields().Len(); n != tc.fields {
			t.Errorf("%T has %d fields, the codec knows %d", tc.m, n, tc.fields)
		}
	}
	if n := raftpb.MsgForgetLeader.Descriptor().Values().Len(); n != int(raftpb.MsgForgetLeader)+1 {
		t.Errorf("%d types of messages, the codec knows %d", n, raftpb.MsgForgetLeader+1)
	}
	if n := raftpb.EntryConfChangeV2.Descriptor().Values().Len(); n != int(raftpb.EntryConfChangeV2)+1 {
		t.Errorf("%d types of entries, the codec knows %d", n, raftpb.EntryConfChangeV2+1)
	}
}

// Every proper prefix and every encoding with something behind it is refused.
func TestDecodeRaftWantsExactlyOneMessage(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := wire.AppendRaft(nil, 7, drawMessage(t))
		cut := rapid.IntRange(0, len(b)-1).Draw(t, "cut")
		if _, m, err := wire.DecodeRaft(b[:cut]); !errors.Is(err, wire.ErrMalformed) {
			t.Fatalf("%d of %d bytes: got %v, %v", cut, len(b), m, err)
		}
		if _, m, err := wire.DecodeRaft(append(b, 0)); !errors.Is(err, wire.ErrMalformed) {
			t.Fatalf("a byte too many: got %v, %v", m, err)
		}
	})
}

func TestDecodeRaftRefuses(t *testing.T) {
	for name, b := range map[string][]byte{
		"reserved mask bit":          {1, 0, 0x00, 0x40},
		"true without reject":        {1, 0, 0x00, 0x02},
		"unknown type":               {1, 0, 0x01, 0x00, 24},
		"long form of a number":      {1, 0, 0x02, 0x00, 0x81, 0x00},
		"number over 64 bits":        {1, 0, 0x02, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
		"entries bit, no entries":    {1, 0, 0x00, 0x10, 0},
		"more entries than bytes":    {1, 0, 0x00, 0x10, 9, 0, 0},
		"entry with reserved bit":    {1, 0, 0x00, 0x10, 1, 0x40},
		"entry type without its bit": {1, 0, 0x00, 0x10, 1, 0x10},
		"unknown entry type":         {1, 0, 0x00, 0x10, 1, 0x34},
		"data longer than the input": {1, 0, 0x00, 0x10, 1, 0x08, 5, 'a'},
		"snapshot's reserved bit":    {1, 0, 0x00, 0x20, 0x80},
		"index without metadata":     {1, 0, 0x00, 0x20, 0x04, 1},
		"auto leave without conf":    {1, 0, 0x00, 0x20, 0x22},
		"auto leave not set but on":  {1, 0, 0x00, 0x20, 0x52, 0, 0, 0, 0},
		"more voters than bytes":     {1, 0, 0x00, 0x20, 0x12, 200, 1, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if _, m, err := wire.DecodeRaft(b); !errors.Is(err, wire.ErrMalformed) {
				t.Fatalf("got %v, %v", m, err)
			}
		})
	}
}

// The data of an entry is a piece of the input with nothing to grow into: appending to it must not touch what follows.
func TestDecodedBytesAliasTheInput(t *testing.T) {
	data := []byte("value")
	b := wire.AppendRaft(nil, 1, &raftpb.Message{Context: []byte("c"), Entries: []*raftpb.Entry{{Data: data}, {Data: data}}})
	want := bytes.Clone(b)
	_, m, err := wire.DecodeRaft(b)
	if err != nil {
		t.Fatal(err)
	}
	_ = append(m.Entries[0].Data, "overrun"...)
	_ = append(m.Context, "overrun"...)
	if !bytes.Equal(b, want) {
		t.Fatal("appending to decoded bytes changed the input")
	}
	b[bytes.Index(b, data)] = 'V'
	if string(m.Entries[0].Data) != "Value" {
		t.Fatalf("entry data is a copy: %q", m.Entries[0].Data)
	}
}

func TestDecodeRaftAllocatesLittle(t *testing.T) {
	for name, tc := range map[string]struct {
		m    *raftpb.Message
		most float64
	}{
		"heartbeat": {heartbeat(), 1},
		"append":    {appendOf(64), 3}, // the message, its entries, the slice of pointers
	} {
		t.Run(name, func(t *testing.T) {
			b := wire.AppendRaft(nil, 1, tc.m)
			n := testing.AllocsPerRun(100, func() {
				if _, _, err := wire.DecodeRaft(b); err != nil {
					t.Fatal(err)
				}
			})
			if n > tc.most {
				t.Fatalf("%v allocations, at most %v wanted", n, tc.most)
			}
		})
	}
}

func heartbeat() *raftpb.Message {
	return &raftpb.Message{
		Type: raftpb.MsgHeartbeat.Enum(), To: new(uint64(2)), From: new(uint64(1)), Term: new(uint64(17)),
		Commit: new(uint64(123456)), Context: []byte("01234567"),
	}
}

func appendOf(entries int) *raftpb.Message {
	m := &raftpb.Message{
		Type: raftpb.MsgApp.Enum(), To: new(uint64(2)), From: new(uint64(1)), Term: new(uint64(17)),
		LogTerm: new(uint64(17)), Index: new(uint64(123456)), Commit: new(uint64(123450)),
	}
	for i := range entries {
		m.Entries = append(m.Entries, &raftpb.Entry{
			Term: new(uint64(17)), Index: new(uint64(123457 + i)), Type: raftpb.EntryNormal.Enum(), Data: make([]byte, 300),
		})
	}
	return m
}

func FuzzDecodeRaft(f *testing.F) {
	f.Add(wire.AppendRaft(nil, 3, heartbeat()))
	f.Add(wire.AppendRaft(nil, 3, appendOf(2)))
	f.Fuzz(func(t *testing.T, b []byte) {
		group, m, err := wire.DecodeRaft(b)
		if err != nil {
			return
		}
		if again := wire.AppendRaft(nil, group, m); !bytes.Equal(again, b) {
			t.Fatalf("two encodings of one message:\n%x\n%x", b, again)
		}
	})
}

func BenchmarkRaft(b *testing.B) {
	for name, m := range map[string]*raftpb.Message{"heartbeat": heartbeat(), "append1": appendOf(1), "append64": appendOf(64)} {
		encoded := wire.AppendRaft(nil, 1, m)
		plain, err := proto.Marshal(m)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name+"/encode/wire", func(b *testing.B) {
			buf := make([]byte, 0, 2*len(encoded))
			b.ReportAllocs()
			for b.Loop() {
				buf = wire.AppendRaft(buf[:0], 1, m)
			}
		})
		b.Run(name+"/encode/proto", func(b *testing.B) {
			buf := make([]byte, 0, 2*len(plain))
			b.ReportAllocs()
			for b.Loop() {
				buf, _ = proto.MarshalOptions{}.MarshalAppend(buf[:0], m)
			}
		})
		b.Run(name+"/decode/wire", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _, _ = wire.DecodeRaft(encoded)
			}
		})
		b.Run(name+"/decode/proto", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = proto.Unmarshal(plain, &raftpb.Message{})
			}
		})
	}
}
