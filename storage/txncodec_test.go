package storage_test

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// txnCommands has one command of every kind at least, for round trips and as seeds.
func txnCommands() []storage.Command {
	id := storage.TxnID{Node: 1, Incarnation: 2, Seq: 3}
	part := &storage.Prepare{
		Protocol: storage.Auto, Participants: []storage.PartitionID{1, 9}, Partitions: 16, Age: 77, Ordered: true, HasElse: true,
		If: []storage.TxnCondition{
			{Index: 0, Test: storage.TestVersion, Key: []byte("k"), Want: 7},
			{Index: 1, Test: storage.TestAbsent, Key: []byte("none")},
			{Index: 3, Test: storage.TestValue, Key: []byte("k"), Value: []byte("v")},
			{Index: 4, Test: storage.TestToken, Key: []byte("lock"), Want: 42},
			{Index: 5, Test: storage.TestExists, Key: []byte("k")},
		},
		Then: []storage.TxnOp{
			{Index: 0, Kind: storage.OpAdd, Key: []byte("n"), By: -5, Min: new(int64), Max: new(int64(-1 << 63))},
			{Index: 2, Kind: storage.OpPut, Key: []byte("k"), Value: []byte("w"), TTL: 1000},
			{Index: 3, Kind: storage.OpPut, Key: []byte("k"), Value: []byte{}, KeepTTL: true},
			{Index: 4, Kind: storage.OpDelete, Key: []byte("k")},
		},
		Else:  []storage.TxnOp{{Index: 1, Kind: storage.OpGet, Key: []byte("g")}},
		Token: &storage.Token{Key: [16]byte{1}, Body: [32]byte{2}},
	}
	single := &storage.Prepare{
		Protocol: storage.OnePhase, Participants: []storage.PartitionID{1}, Partitions: 1,
		Then: []storage.TxnOp{{Kind: storage.OpAdd, Key: []byte("k"), By: 1}},
	}
	cmd := func(k storage.Kind, t storage.TxnCommand) storage.Command {
		t.ID, t.Attempt, t.Home, t.Mark = id, 1, 1, 2
		return storage.Command{Kind: k, Clock: 5, Txn: &t}
	}
	ballot := storage.Ballot{Round: 1, Node: 2, Nonce: 3}
	incarnation := storage.TxnID{Node: 1, Incarnation: 2}
	return []storage.Command{
		cmd(storage.KindPrepare, storage.TxnCommand{Prepare: part}),
		cmd(storage.KindSingle, storage.TxnCommand{Prepare: single}),
		cmd(storage.KindRefuse, storage.TxnCommand{}),
		cmd(storage.KindDecide, storage.TxnCommand{Decision: storage.DecideElse}),
		cmd(storage.KindPropose, storage.TxnCommand{Ballot: ballot, Decision: storage.DecideAbort}),
		cmd(storage.KindInquire, storage.TxnCommand{Ballot: ballot}),
		cmd(storage.KindCommit, storage.TxnCommand{Decision: storage.DecideThen}),
		cmd(storage.KindCommit, storage.TxnCommand{Decision: storage.DecideThen, Answer: []byte("answer")}),
		cmd(storage.KindAbort, storage.TxnCommand{Final: true}),
		{Kind: storage.KindMark, Txn: &storage.TxnCommand{ID: incarnation, Mark: 9}},
		{Kind: storage.KindClose, Txn: &storage.TxnCommand{ID: incarnation}},
		{Kind: storage.KindForget, Txn: &storage.TxnCommand{ID: incarnation}},
		{Kind: storage.KindSweep, Clock: 7, Limit: 100},
	}
}

// txnReplies fills every field of a reply at least once.
func txnReplies() []storage.TxnReply {
	holder := &storage.OpenTxn{
		ID: storage.TxnID{Node: 1, Incarnation: 2, Seq: 1 << 60}, Attempt: 3, Protocol: storage.ThreePhase, Home: 4,
		Participants: []storage.PartitionID{4, 5, 65000}, Token: true, Decision: storage.DecideElse, Age: 99, Ordered: true,
	}
	vote := &storage.Vote{
		HasElse: true, Token: true,
		If: []storage.Seen{{Index: 1, Holds: true, Version: 7}, {Index: 9}},
		Then: storage.BranchVote{
			Failed: &storage.FailedOp{Index: 3, Key: []byte("k"), Failure: storage.OpBound, Version: 8},
		},
		Else: storage.BranchVote{Results: []storage.OpResult{
			{Index: 1, Kind: storage.OpGet, Key: []byte("g"), Exists: true, Value: []byte("v"), Version: 1 << 52},
			{Index: 2, Kind: storage.OpGet, Key: []byte("none")},
			{Index: 3, Kind: storage.OpPut, Key: []byte("p"), Exists: true, Version: 4},
		}},
	}
	ballot := storage.Ballot{Round: 1, Node: 2, Nonce: 3}
	return []storage.TxnReply{
		{Kind: storage.ReplyYes, Attempt: 1, Vote: vote},
		{Kind: storage.ReplyNo, Attempt: storage.Sealed, Sealed: true, Superseded: true, Reason: storage.Conflict, Holder: holder},
		{Kind: storage.ReplyCommitted, Decision: storage.DecideNothing, Vote: &storage.Vote{}},
		{Kind: storage.ReplyNo, Reason: storage.TokenAnswered, Answer: []byte("answer")},
		{Kind: storage.ReplyPromise, Ballot: ballot, Accepted: storage.DecideThen, AcceptedAt: ballot},
		{Kind: storage.ReplyAccepted, Attempt: 1},
		{Kind: storage.ReplyOpen, Open: []*storage.OpenTxn{holder, {}}},
		{Kind: storage.ReplyAlarm, Alarm: "I2"},
		{Kind: storage.ReplyAbsent},
	}
}

func TestTxnCommandRoundTrip(t *testing.T) {
	for _, c := range txnCommands() {
		got, err := storage.DecodeCommand(storage.AppendCommand(nil, &c))
		if err != nil {
			t.Fatalf("%+v: %v", c, err)
		}
		if !reflect.DeepEqual(got, c) {
			t.Errorf("got %+v, want %+v", got.Txn, c.Txn)
		}
	}
}

func TestTxnReplyRoundTrip(t *testing.T) {
	for _, r := range txnReplies() {
		for _, status := range []storage.Status{storage.StatusTxn, storage.StatusBlocked} {
			want := storage.Result{Status: status, Version: 3, Txn: &r}
			got, err := storage.DecodeResult(storage.AppendResult(nil, want))
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, %v, want %+v", got.Txn, err, want.Txn)
			}
		}
	}
}

func TestReadSetRoundTrip(t *testing.T) {
	want := storage.ReadSet{
		Items:    []storage.ReadItem{{}, {Version: 3, Value: []byte("v")}, {Version: 4, Value: []byte{}}},
		Tokens:   []storage.Version{0, 42},
		Revision: 9, LastRemoval: 8,
	}
	b := storage.AppendReadSet(nil, &want)
	if got, err := storage.DecodeReadSet(b); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	for n := range b {
		if _, err := storage.DecodeReadSet(b[:n]); !errors.Is(err, storage.ErrMalformed) {
			t.Errorf("cut to %d bytes: %v, want ErrMalformed", n, err)
		}
	}
}

// TestTxnDecodeRefuses cuts every command and every reply at every byte, and lengthens it.
func TestTxnDecodeRefuses(t *testing.T) {
	for _, c := range txnCommands() {
		b := storage.AppendCommand(nil, &c)
		for n := range b {
			if _, err := storage.DecodeCommand(b[:n]); !errors.Is(err, storage.ErrMalformed) {
				t.Errorf("kind %d cut to %d bytes: %v, want ErrMalformed", c.Kind, n, err)
			}
		}
		if _, err := storage.DecodeCommand(append(b, 0)); !errors.Is(err, storage.ErrMalformed) {
			t.Errorf("kind %d with a byte more: %v, want ErrMalformed", c.Kind, err)
		}
	}
	for _, r := range txnReplies() {
		b := storage.AppendResult(nil, storage.Result{Status: storage.StatusTxn, Txn: &r})
		for n := range b {
			if _, err := storage.DecodeResult(b[:n]); !errors.Is(err, storage.ErrMalformed) {
				t.Errorf("reply %d cut to %d bytes: %v, want ErrMalformed", r.Kind, n, err)
			}
		}
	}
}

// visitKeys renders what CommandKeys visits.
func visitKeys(b []byte) ([]string, storage.CommandHeader, error) {
	var keys []string
	h, err := storage.CommandKeys(b, func(space storage.LockSpace, key []byte, exclusive bool) {
		keys = append(keys, fmt.Sprintf("%d %q %v", space, key, exclusive))
	})
	return keys, h, err
}

// wantKeys is what CommandKeys has to visit, from the decoded command.
func wantKeys(c *storage.Command) (keys []string) {
	add := func(space storage.LockSpace, key []byte, exclusive bool) {
		keys = append(keys, fmt.Sprintf("%d %q %v", space, key, exclusive))
	}
	switch c.Kind {
	case storage.KindPut, storage.KindDelete:
		add(storage.ItemSpace, c.Key, true)
	case storage.KindAcquire, storage.KindCancel, storage.KindRelease:
		add(storage.NameSpace, c.Lease.Name, true)
	case storage.KindPrepare, storage.KindSingle:
		p := c.Txn.Prepare
		if p.Token != nil {
			add(storage.TokenSpace, p.Token.Key[:], true)
		}
		for _, cond := range p.If {
			space := storage.ItemSpace
			if cond.Test == storage.TestToken {
				space = storage.NameSpace
			}
			add(space, cond.Key, false)
		}
		for _, op := range append(append([]storage.TxnOp{}, p.Then...), p.Else...) {
			add(storage.ItemSpace, op.Key, op.Kind != storage.OpGet)
		}
	}
	return keys
}

func checkKeys(t tb, c *storage.Command, b []byte) {
	t.Helper()
	got, h, err := visitKeys(b)
	if want := wantKeys(c); err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("kind %d: got %v, %v, want %v", c.Kind, got, err, want)
	}
	want := storage.CommandHeader{Kind: c.Kind}
	if x := c.Txn; x != nil {
		want.ID, want.Attempt, want.Home, want.Mark = x.ID, x.Attempt, x.Home, x.Mark
		if p := x.Prepare; p != nil {
			want.Protocol, want.Age, want.Ordered, want.Deny = p.Protocol, p.Age, p.Ordered, p.Deny
		}
	}
	if h != want {
		t.Fatalf("header %+v, want %+v", h, want)
	}
	if again, err := storage.CommandKeys(b, nil); err != nil || again != want {
		t.Fatalf("header alone %+v, %v, want %+v", again, err, want)
	}
}

func TestCommandKeys(t *testing.T) {
	for _, c := range slices.Concat(commands(), txnCommands(), leaseCommands()) {
		checkKeys(t, &c, storage.AppendCommand(nil, &c))
	}
	if _, err := storage.CommandKeys([]byte("nothing of ours"), nil); !errors.Is(err, storage.ErrMalformed) {
		t.Errorf("got %v, want ErrMalformed", err)
	}
}

func TestCommandKeysAllocatesNothing(t *testing.T) {
	put := storage.AppendCommand(nil, &commands()[0])
	prepare := storage.AppendCommand(nil, &txnCommands()[1])
	n := 0
	visit := func(storage.LockSpace, []byte, bool) { n++ }
	for name, b := range map[string][]byte{"put": put, "single": prepare} {
		if got := testing.AllocsPerRun(100, func() {
			if _, err := storage.CommandKeys(b, visit); err != nil {
				t.Fatal(err)
			}
		}); got != 0 {
			t.Errorf("%s: %v allocations", name, got)
		}
	}
}

func TestDenyCommand(t *testing.T) {
	for _, c := range append(commands(), txnCommands()...) {
		before := storage.AppendCommand(nil, &c)
		b := bytes.Clone(before)
		storage.DenyCommand(b, storage.DiskFull)
		if c.Txn == nil || c.Txn.Prepare == nil {
			if !bytes.Equal(b, before) {
				t.Errorf("kind %d was changed", c.Kind)
			}
			continue
		}
		c.Txn.Prepare.Deny = storage.DiskFull
		if want := storage.AppendCommand(nil, &c); !bytes.Equal(b, want) {
			t.Errorf("kind %d: got %x, want %x", c.Kind, b, want)
		}
		if !storage.NeedsSpace(before) || storage.NeedsSpace(b) {
			t.Errorf("kind %d needs space: %v, denied %v", c.Kind, storage.NeedsSpace(before), storage.NeedsSpace(b))
		}
	}
	storage.DenyCommand(nil, storage.Conflict)
	storage.DenyCommand([]byte{1, byte(storage.KindPrepare)}, storage.Conflict)
}

// drawPrepare draws a part that is well-formed but may break every limit.
func drawPrepare(t *rapid.T) *storage.Prepare {
	key := rapid.SliceOfN(rapid.Byte(), 0, 5)
	value := rapid.SliceOfN(rapid.Byte(), 0, 5)
	op := rapid.Custom(func(t *rapid.T) storage.TxnOp {
		op := storage.TxnOp{Index: rapid.Uint32().Draw(t, "index"), Kind: storage.OpKind(rapid.IntRange(1, 4).Draw(t, "op")), Key: key.Draw(t, "key")}
		switch op.Kind {
		case storage.OpPut:
			op.Value, op.KeepTTL = value.Draw(t, "value"), rapid.Bool().Draw(t, "keep")
			op.TTL = storage.Millis(rapid.Uint64().Draw(t, "ttl"))
		case storage.OpAdd:
			op.By = rapid.Int64().Draw(t, "by")
			op.Min = rapid.Ptr(rapid.Int64(), true).Draw(t, "min")
			op.Max = rapid.Ptr(rapid.Int64(), true).Draw(t, "max")
		}
		return op
	})
	cond := rapid.Custom(func(t *rapid.T) storage.TxnCondition {
		c := storage.TxnCondition{Index: rapid.Uint32().Draw(t, "index"), Test: storage.Test(rapid.IntRange(1, 5).Draw(t, "test")), Key: key.Draw(t, "key")}
		switch c.Test {
		case storage.TestVersion, storage.TestToken:
			c.Want = storage.Version(rapid.Uint64().Draw(t, "want"))
		case storage.TestValue:
			c.Value = value.Draw(t, "value")
		}
		return c
	})
	p := &storage.Prepare{
		Protocol: storage.Protocol(rapid.IntRange(0, 4).Draw(t, "protocol")), Partitions: rapid.Uint32().Draw(t, "Q"),
		Age: storage.Millis(rapid.Uint64().Draw(t, "age")), Ordered: rapid.Bool().Draw(t, "ordered"),
		Deny: storage.Reason(rapid.IntRange(0, 9).Draw(t, "deny")), HasElse: rapid.Bool().Draw(t, "has else"),
	}
	for _, id := range rapid.SliceOfN(rapid.Uint16(), 0, 4).Draw(t, "participants") {
		p.Participants = append(p.Participants, storage.PartitionID(id))
	}
	none := func(n int) bool { return n == 0 }
	if p.If = rapid.SliceOfN(cond, 0, 3).Draw(t, "if"); none(len(p.If)) {
		p.If = nil
	}
	if p.Then = rapid.SliceOfN(op, 0, 3).Draw(t, "then"); none(len(p.Then)) {
		p.Then = nil
	}
	if p.Else = rapid.SliceOfN(op, 0, 3).Draw(t, "else"); !p.HasElse || none(len(p.Else)) {
		p.Else = nil
	}
	if rapid.Bool().Draw(t, "token") {
		p.Token = &storage.Token{}
		copy(p.Token.Key[:], key.Draw(t, "token key"))
		copy(p.Token.Body[:], key.Draw(t, "token body"))
	}
	return p
}

func TestPrepareRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := storage.Command{
			Kind: storage.KindPrepare, Clock: storage.Millis(rapid.Uint64().Draw(t, "clock")),
			Txn: &storage.TxnCommand{
				ID: storage.TxnID{
					Node: ring.NodeID(rapid.Uint32().Draw(t, "node")), Incarnation: rapid.Uint32().Draw(t, "inc"), Seq: rapid.Uint64().Draw(t, "seq"),
				},
				Attempt: storage.Attempt(rapid.Uint32().Draw(t, "attempt")), Home: storage.PartitionID(rapid.Uint16().Draw(t, "home")),
				Mark: rapid.Uint64().Draw(t, "mark"), Prepare: drawPrepare(t),
			},
		}
		b := storage.AppendCommand(nil, &want)
		got, err := storage.DecodeCommand(b)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v, %v, want %+v", got.Txn, err, want.Txn)
		}
		checkKeys(t, &want, b)
	})
}
