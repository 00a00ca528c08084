package storage_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/ringkv/ringkv/storage"
)

// TestTxnScripts runs the scenarios of testdata/txn, on partition 1 of 2: the keys a, c, f, i, k, l, m, p, t, v, y, num,
// big and mutex are its own, b and d are not; so are the tokens a, c, f, i and k. Every line is followed by Verify, and by
// a look at what a restarted replica would hold.
//
//	prepare|single t=NODE.INC.SEQ [a=ATTEMPT] [proto=auto|2pc|3pc] [in=(1,9)] [q=2] [mark=L] [token=K body=B] [deny=REASON] …
//	if KEY exists|absent|version=V|value=V|token=N
//	then|else get KEY | put KEY VALUE [ttl=MS] [keepttl] | delete KEY | add KEY N [min=N] [max=N]
//
//	refuse|decide|propose|inquire|commit|abort t=… [a=…] [home=P] [branch=then|else|nothing|abort] [ballot=R.NODE.NONCE]
//	[answer=A] [final]; mark|close|forget n=NODE.INC [below=L]; sweep; status t=…; open; locks; cells; sweepable; alarms;
//	reopen; move (to another replica, by a snapshot), and the commands of TestScripts.
func TestTxnScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/txn", func(t *testing.T, path string) {
		r := newReplica(t, 1)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			r.t = t
			out := runTxnLine(t, r, d)
			r.verify()
			r.checkReopened()
			return out
		})
	})
}

func runTxnLine(t *testing.T, r *replica, d *datadriven.TestData) string {
	switch d.Cmd {
	case "status":
		v := r.e.View()
		defer v.Close()
		s, err := storage.ReadTxn(v, r.id, parseTxnID(t, arg(d, "t")))
		r.must(err)
		return renderStatus(s)
	case "open":
		return renderOpen(r.p.Open())
	case "locks":
		return renderLocks(r.p.Locks())
	case "cells":
		return r.cells()
	case "sweepable":
		if at, ok := r.p.Sweepable(); ok {
			return fmt.Sprintln(at)
		}
		return "never\n"
	case "alarms":
		return fmt.Sprintln(r.p.Alarms())
	}
	if c := parseTxnCommand(t, d); c != nil {
		return renderTxnResult(r.apply(c))
	}
	return runLine(t, r, d)
}

func parseTxnID(t *testing.T, s string) (id storage.TxnID) {
	t.Helper()
	if _, err := fmt.Sscanf(s, "%d.%d.%d", &id.Node, &id.Incarnation, &id.Seq); err != nil {
		t.Fatalf("transaction %q: %v", s, err)
	}
	return id
}

var txnKinds = map[string]storage.Kind{
	"prepare": storage.KindPrepare, "single": storage.KindSingle, "refuse": storage.KindRefuse, "decide": storage.KindDecide,
	"propose": storage.KindPropose, "inquire": storage.KindInquire, "commit": storage.KindCommit, "abort": storage.KindAbort,
	"mark": storage.KindMark, "close": storage.KindClose, "forget": storage.KindForget, "sweep": storage.KindSweep,
}

var decisions = map[string]storage.Decision{
	"": storage.Undecided, "then": storage.DecideThen, "else": storage.DecideElse, "nothing": storage.DecideNothing,
	"abort": storage.DecideAbort,
}

// parseTxnCommand returns nil where the line is no transaction command.
func parseTxnCommand(t *testing.T, d *datadriven.TestData) *storage.Command {
	kind, ok := txnKinds[d.Cmd]
	if !ok {
		return nil
	}
	c := &storage.Command{Kind: kind, Clock: storage.Millis(number(t, d, "clock")), Limit: uint32(number(t, d, "limit"))}
	switch kind {
	case storage.KindSweep:
		if !d.HasArg("limit") {
			c.Limit = storage.MaxSweep
		}
		return c
	case storage.KindMark, storage.KindClose, storage.KindForget:
		c.Txn = &storage.TxnCommand{ID: parseTxnID(t, arg(d, "n")+".0"), Mark: uint64(number(t, d, "below"))}
		return c
	}
	c.Txn = &storage.TxnCommand{
		ID: parseTxnID(t, arg(d, "t")), Attempt: 1, Home: 1, Mark: uint64(number(t, d, "mark")),
		Decision: decisions[arg(d, "branch")], Final: d.HasArg("final"), Answer: []byte(arg(d, "answer")),
	}
	if d.HasArg("a") {
		c.Txn.Attempt = storage.Attempt(number(t, d, "a"))
	}
	if d.HasArg("home") {
		c.Txn.Home = storage.PartitionID(number(t, d, "home"))
	}
	if b := arg(d, "ballot"); b != "" {
		if _, err := fmt.Sscanf(b, "%d.%d.%d", &c.Txn.Ballot.Round, &c.Txn.Ballot.Node, &c.Txn.Ballot.Nonce); err != nil {
			t.Fatalf("ballot %q: %v", b, err)
		}
	}
	if n := number(t, d, "answer-bytes"); n > 0 {
		c.Txn.Answer = slices.Repeat([]byte("a"), n)
	}
	if kind == storage.KindPrepare || kind == storage.KindSingle {
		c.Txn.Prepare = parsePrepare(t, d)
		c.Txn.Home = c.Txn.Prepare.Participants[0]
	}
	return c
}

func parsePrepare(t *testing.T, d *datadriven.TestData) *storage.Prepare {
	p := &storage.Prepare{Protocol: storage.Auto, Participants: []storage.PartitionID{1, 9}, Partitions: 2, Ordered: d.HasArg("ordered")}
	if d.Cmd == "single" {
		p.Protocol, p.Participants = storage.OnePhase, []storage.PartitionID{1}
	}
	p.Protocol = map[string]storage.Protocol{"": p.Protocol, "2pc": storage.TwoPhase, "3pc": storage.ThreePhase}[arg(d, "proto")]
	if d.HasArg("q") {
		p.Partitions = uint32(number(t, d, "q"))
	}
	p.Age = storage.Millis(number(t, d, "age"))
	if d.HasArg("deny") {
		p.Deny = storage.Reason(number(t, d, "deny"))
	}
	if in := arg(d, "in"); in != "" {
		p.Participants = nil
		for s := range strings.SplitSeq(in, ",") {
			n, err := strconv.ParseUint(s, 10, 16)
			if err != nil {
				t.Fatal(err)
			}
			p.Participants = append(p.Participants, storage.PartitionID(n))
		}
	}
	if d.HasArg("token") {
		p.Token = new(storage.Token)
		copy(p.Token.Key[:], arg(d, "token"))
		copy(p.Token.Body[:], arg(d, "body"))
	}
	for line := range strings.Lines(d.Input) {
		parseItem(t, p, strings.Fields(line))
	}
	return p
}

func parseItem(t *testing.T, p *storage.Prepare, f []string) {
	switch f[0] {
	case "if":
		p.If = append(p.If, parseTest(t, f[1:], len(p.If)))
	case "then":
		p.Then = append(p.Then, parseOp(t, f[1:], len(p.Then)))
	case "else":
		p.HasElse = true
		if len(f) > 1 {
			p.Else = append(p.Else, parseOp(t, f[1:], len(p.Else)))
		}
	default:
		t.Fatalf("unknown item %q", f)
	}
}

func parseTest(t *testing.T, f []string, index int) storage.TxnCondition {
	c := storage.TxnCondition{Index: uint32(index), Key: []byte(f[0])}
	name, value, _ := strings.Cut(f[1], "=")
	c.Test = map[string]storage.Test{
		"exists": storage.TestExists, "absent": storage.TestAbsent, "version": storage.TestVersion, "value": storage.TestValue, "token": storage.TestToken,
	}[name]
	switch c.Test {
	case storage.TestValue:
		c.Value = []byte(value)
	case storage.TestVersion, storage.TestToken:
		c.Want = storage.Version(mustInt(t, value))
	}
	return c
}

func parseOp(t *testing.T, f []string, index int) storage.TxnOp {
	op := storage.TxnOp{Index: uint32(index), Key: []byte(f[1])}
	op.Kind = map[string]storage.OpKind{"get": storage.OpGet, "put": storage.OpPut, "delete": storage.OpDelete, "add": storage.OpAdd}[f[0]]
	switch op.Kind {
	case storage.OpPut:
		op.Value = []byte(f[2])
		if v, ok := strings.CutPrefix(f[2], "bytes="); ok {
			op.Value = slices.Repeat([]byte("x"), int(mustInt(t, v)))
		}
	case storage.OpAdd:
		op.By = mustInt(t, f[2])
	}
	for _, o := range f[min(3, len(f)):] {
		name, value, _ := strings.Cut(o, "=")
		switch name {
		case "ttl":
			op.TTL = storage.Millis(mustInt(t, value))
		case "keepttl":
			op.KeepTTL = true
		case "min":
			op.Min = new(mustInt(t, value))
		case "max":
			op.Max = new(mustInt(t, value))
		}
	}
	return op
}

func mustInt(t *testing.T, s string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// cells counts the engine's cells by what they are about.
func (r *replica) cells() string {
	v := r.e.View()
	defer v.Close()
	names := map[byte]string{0x30: "txn", 0x31: "body", 0x34: "marks", 0x38: "token", 0x39: "answer", 0x3a: "due"}
	count := map[string]int{}
	start := binary.BigEndian.AppendUint16(nil, uint16(r.id))
	r.must(v.Scan(append(start, 0x30), append(slices.Clone(start), 0x40), true, func(k, _ []byte) (bool, error) {
		count[names[k[2]]]++
		return true, nil
	}))
	var out []string
	for _, name := range []string{"txn", "body", "marks", "token", "answer", "due"} {
		if count[name] > 0 {
			out = append(out, fmt.Sprintf("%s=%d", name, count[name]))
		}
	}
	return strings.Join(out, " ") + "\n"
}

// checkReopened compares what the replica holds in memory with what a restart would find (I12).
func (r *replica) checkReopened() {
	v := r.e.View()
	defer v.Close()
	again, err := storage.OpenPartition(v, r.id)
	r.must(err)
	if got, want := renderLocks(r.p.Locks()), renderLocks(again.Locks()); got != want {
		r.t.Fatalf("locks\n%s, after a restart\n%s", got, want)
	}
	if got, want := renderOpen(r.p.Open()), renderOpen(again.Open()); got != want {
		r.t.Fatalf("open\n%s, after a restart\n%s", got, want)
	}
	keys, oldest := r.p.Purgeable()
	if keys2, oldest2 := again.Purgeable(); keys != keys2 || oldest > oldest2 {
		r.t.Fatalf("%d purgeable from %d, after a restart %d from %d", keys, oldest, keys2, oldest2)
	}
	next, some := r.p.NextDeadline()
	if next2, some2 := again.NextDeadline(); some2 && !some || next > next2 {
		r.t.Fatalf("next deadline at %d, after a restart %d", next, next2)
	}
	at, ok := r.p.Sweepable()
	if at2, ok2 := again.Sweepable(); ok != ok2 || ok && at > at2 {
		r.t.Fatalf("sweepable at %d %v, after a restart %d %v", at, ok, at2, ok2)
	}
}
