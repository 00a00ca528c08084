package txn_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/txn"
)

// TestScripts walks the edges, and the forbidden edges, of the coordinator, the recovery and the sweep. A script's first
// line makes a core, each further line is one event; after it stand the effects.
//
//	coordinator auto p=1,4 [token=4] [else] [timeout=2s] [run=7]
//	recovery 3pc p=1,4,7 [a=2]
//	sweep p=1,4
//	start | tick 10ms | cancel | recovered 9
//	yes P [a=1] [if=false] [if-at=I] [fails=I] [else-fails=I] [token]
//	no P REASON [a=1] [sealed] [superseded] [holder=9 [own]] [answer]
//	committed P BRANCH [a=1] [no-vote] [token]
//	ack P [sealed] [too-large] | superseded P | gone P | absent P | alarm P I2
//	accepted P b=0 | promise P b=1 [value=BRANCH at=B] | nack P b=2
//	open P [T ...] | failed P [not-sent]
//
// A reply answers what the group was sent last, or with re=N what it was sent N commands before.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/scripts", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd != "run" {
				d.Fatalf(t, "unknown directive %q", d.Cmd)
			}
			s := &script{now: time.Unix(1000, 0), sent: map[storage.PartitionID][]txn.Send{}}
			var out strings.Builder
			for line := range strings.Lines(d.Input) {
				fields := strings.Fields(line)
				if err := s.line(&out, fields[0], newArgs(fields[0], fields[1:])); err != nil {
					d.Fatalf(t, "%s: %v", strings.TrimSpace(line), err)
				}
			}
			return out.String()
		})
	})
}

// core is what all three state machines have.
type core interface {
	Step(time.Time, txn.Event) *txn.Effects
}

type script struct {
	core    core
	now     time.Time
	request *txn.Request
	groups  []storage.PartitionID
	token   int // index of its group, -1
	hasElse bool
	attempt storage.Attempt
	node    ring.NodeID // that ballots are of
	sent    map[storage.PartitionID][]txn.Send
}

type args struct {
	pos  []string
	opts map[string]string
}

// newArgs takes options as key=value, flags as key alone; one or two words before them are positional.
func newArgs(verb string, fields []string) args {
	a := args{opts: map[string]string{}}
	positional := 1
	if slices.Contains([]string{"no", "committed", "alarm", "open"}, verb) {
		positional = 2
	}
	for _, f := range fields {
		if k, v, found := strings.Cut(f, "="); found {
			a.opts[k] = v
		} else if len(a.pos) < positional {
			a.pos = append(a.pos, f)
		} else {
			a.opts[f] = "true"
		}
	}
	return a
}

func (a args) has(k string) bool { return a.opts[k] != "" }

func (a args) num(k string, otherwise uint64) uint64 {
	if !a.has(k) {
		return otherwise
	}
	n, err := strconv.ParseUint(a.opts[k], 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

func (a args) duration(k string, otherwise time.Duration) time.Duration {
	if !a.has(k) {
		return otherwise
	}
	d, err := time.ParseDuration(a.opts[k])
	if err != nil {
		panic(err)
	}
	return d
}

func groupsOf(s string) []storage.PartitionID {
	var ids []storage.PartitionID
	for f := range strings.SplitSeq(s, ",") {
		n, err := strconv.ParseUint(f, 10, 16)
		if err != nil {
			panic(err)
		}
		ids = append(ids, storage.PartitionID(n))
	}
	return ids
}

func (s *script) line(out *strings.Builder, verb string, a args) error {
	switch verb {
	case "coordinator":
		return s.coordinator(a)
	case "recovery":
		return s.recovery(a)
	case "sweep":
		s.groups = groupsOf(a.opts["p"])
		s.core = txn.NewSweep(2, 7, s.groups)
		return nil
	}
	ev, err := s.event(verb, a)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, strings.Join(append([]string{verb}, a.shown()...), " "))
	s.print(out, s.core.Step(s.now, ev))
	return nil
}

func (a args) shown() []string {
	shown := slices.Clone(a.pos)
	var opts []string
	for k, v := range a.opts {
		if v == "true" {
			opts = append(opts, k)
		} else {
			opts = append(opts, k+"="+v)
		}
	}
	slices.Sort(opts)
	return append(shown, opts...)
}

func protocolOf(name string) storage.Protocol {
	return map[string]storage.Protocol{
		"1pc": storage.OnePhase, "auto": storage.Auto, "2pc": storage.TwoPhase, "3pc": storage.ThreePhase,
	}[name]
}

const scriptTxn = 5 // the seq of the transaction that scripts are about

// coordinator makes a request with one condition and one operation of each branch in every group.
func (s *script) coordinator(a args) error {
	rg, err := ring.New(64)
	if err != nil {
		return err
	}
	s.groups = groupsOf(a.opts["p"])
	r := &txn.Request{Protocol: protocolOf(a.pos[0]), HasElse: a.has("else")}
	for _, p := range s.groups {
		key := keyIn(rg, p)
		r.If = append(r.If, storage.TxnCondition{Test: storage.TestAbsent, Key: key})
		r.Then = append(r.Then, storage.TxnOp{Kind: storage.OpPut, Key: key, Value: []byte("v")})
		if r.HasElse {
			r.Else = append(r.Else, storage.TxnOp{Kind: storage.OpGet, Key: key})
		}
	}
	s.token = -1
	if a.has("token") {
		p := storage.PartitionID(a.num("token", 0))
		s.token = slices.Index(s.groups, p)
		r.Token = tokenIn(rg, p)
	}
	plan, err := txn.NewPlan(rg, r)
	if err != nil {
		return err
	}
	if !slices.Equal(plan.Participants(), s.groups) {
		return fmt.Errorf("participants are %v", plan.Participants())
	}
	s.request, s.hasElse, s.attempt, s.node = r, r.HasElse, 1, 2
	s.core = txn.NewCoordinator(txn.Config{
		ID:       storage.TxnID{Node: 2, Incarnation: 6, Seq: scriptTxn},
		Name:     "T",
		Plan:     plan,
		Deadline: s.now.Add(a.duration("timeout", 5*time.Second)),
		Age:      77,
		Run:      int(a.num("run", 0)),
		Nonce:    1,
	})
	return nil
}

func keyIn(rg *ring.Ring, p storage.PartitionID) []byte {
	for i := 0; ; i++ {
		if key := strconv.AppendInt([]byte("k"), int64(i), 10); rg.Partition(key) == p {
			return key
		}
	}
}

func tokenIn(rg *ring.Ring, p storage.PartitionID) *storage.Token {
	for i := uint64(0); ; i++ {
		t := &storage.Token{}
		t.Key[0], t.Key[1] = byte(i), byte(i>>8)
		if rg.Partition(t.Key[:]) == p {
			return t
		}
	}
}

func (s *script) recovery(a args) error {
	s.groups, s.token, s.node = groupsOf(a.opts["p"]), -1, 3
	s.attempt = storage.Attempt(a.num("a", 1))
	s.core = txn.NewRecovery(txn.RecoveryConfig{
		Open: storage.OpenTxn{
			ID:           storage.TxnID{Node: 2, Incarnation: 6, Seq: scriptTxn},
			Attempt:      s.attempt,
			Protocol:     protocolOf(a.pos[0]),
			Home:         s.groups[0],
			Participants: s.groups,
		},
		Name: "T",
		Node: storage.Ballot{Node: 3, Nonce: 1},
	})
	return nil
}

// event makes the event that a line stands for.
func (s *script) event(verb string, a args) (txn.Event, error) {
	switch verb {
	case "start":
		return txn.Start{}, nil
	case "cancel":
		return txn.Cancel{}, nil
	case "tick":
		d, err := time.ParseDuration(a.pos[0])
		s.now = s.now.Add(d)
		return txn.Tick{}, err
	case "recovered":
		n, err := strconv.ParseUint(a.pos[0], 10, 64)
		return txn.Recovered{ID: storage.TxnID{Node: 2, Incarnation: 6, Seq: n}, Attempt: 1}, err
	}
	from := groupsOf(a.pos[0])[0]
	ref := s.lastRef(from, int(a.num("re", 0)))
	if verb == "failed" {
		return txn.Failed{From: from, Ref: ref, NotSent: a.has("not-sent")}, nil
	}
	r, err := s.reply(verb, from, a)
	return &txn.Reply{From: from, Ref: ref, Reply: r}, err
}

func (s *script) lastRef(p storage.PartitionID, back int) txn.Ref {
	if n := len(s.sent[p]); n > back {
		return s.sent[p][n-1-back].Ref
	}
	return txn.Ref{}
}

func decisionOf(name string) storage.Decision {
	return map[string]storage.Decision{
		"then": storage.DecideThen, "else": storage.DecideElse, "nothing": storage.DecideNothing, "abort": storage.DecideAbort,
	}[name]
}

func reasonOf(name string) storage.Reason {
	return map[string]storage.Reason{
		"conflict": storage.Conflict, "wrong-partition": storage.WrongPartition, "token-reused": storage.TokenReused,
		"token-answered": storage.TokenAnswered, "token-busy": storage.TokenBusy, "refused": storage.Refused,
		"closed": storage.Closed, "too-large": storage.TooLarge, "disk-full": storage.DiskFull,
	}[name]
}

func (s *script) reply(verb string, from storage.PartitionID, a args) (*storage.TxnReply, error) {
	r := &storage.TxnReply{Attempt: storage.Attempt(a.num("a", uint64(s.attempt))), Sealed: a.has("sealed")}
	if a.has("too-large") {
		r.Reason = storage.TooLarge
	}
	b := storage.Ballot{Round: a.num("b", 0)}
	if b.Round > 0 {
		b.Node, b.Nonce = s.node, a.num("by", 1)
	}
	switch verb {
	case "yes":
		r.Kind, r.Vote = storage.ReplyYes, s.vote(from, a)
	case "no":
		r.Kind, r.Reason, r.Superseded = storage.ReplyNo, reasonOf(a.pos[1]), a.has("superseded")
		if a.has("holder") {
			r.Holder = &storage.OpenTxn{ID: storage.TxnID{Node: 4, Incarnation: 1, Seq: a.num("holder", 0)}}
			if a.has("own") {
				r.Holder.ID.Node, r.Holder.ID.Incarnation = 2, 6
			}
		}
		if a.has("answer") {
			r.Answer = txn.AppendOutcome(nil, &txn.Outcome{ID: "old", Decision: storage.DecideThen, Protocol: storage.Auto, Attempts: 1})
		}
	case "committed":
		r.Kind, r.Decision = storage.ReplyCommitted, decisionOf(a.pos[1])
		if !a.has("no-vote") {
			r.Vote = s.vote(from, a)
		}
	case "gone":
		r.Kind = storage.ReplyGone
	case "ack":
		r.Kind = storage.ReplyAck
	case "superseded":
		r.Kind = storage.ReplySuperseded
	case "absent":
		r.Kind = storage.ReplyAbsent
	case "alarm":
		r.Kind, r.Alarm = storage.ReplyAlarm, a.pos[1]
	case "accepted":
		r.Kind, r.Ballot = storage.ReplyAccepted, b
	case "nack":
		r.Kind, r.Ballot = storage.ReplyNack, b
	case "promise":
		r.Kind, r.Ballot, r.Accepted = storage.ReplyPromise, b, decisionOf(a.opts["value"])
		r.AcceptedAt = storage.Ballot{Round: a.num("at", 0)}
		if a.has("vote") {
			r.Vote = s.vote(from, a)
		}
	case "open":
		r.Kind = storage.ReplyOpen
		for _, n := range a.pos[1:] {
			for _, p := range groupsOf(n) {
				id := storage.TxnID{Node: 2, Incarnation: 6, Seq: uint64(p)}
				r.Open = append(r.Open, &storage.OpenTxn{ID: id, Attempt: 1})
			}
		}
	default:
		return nil, fmt.Errorf("unknown event %q", verb)
	}
	return r, nil
}

// vote is that of the group's part as coordinator made it.
func (s *script) vote(from storage.PartitionID, a args) *storage.Vote {
	i := uint32(slices.Index(s.groups, from))
	v := &storage.Vote{
		If:      []storage.Seen{{Index: i, Holds: a.opts["if"] != "false", Version: storage.Version(a.num("at", 0))}},
		HasElse: s.hasElse || a.has("else"),
		Token:   s.token == int(i) || a.has("token"),
	}
	v.Then.Results = []storage.OpResult{{Index: i, Kind: storage.OpPut, Exists: true, Version: storage.Version(10 + i)}}
	if a.has("fails") {
		v.Then.Failed = &storage.FailedOp{Index: i, Failure: storage.OpBound, Version: 3}
	}
	if v.HasElse {
		v.Else.Results = []storage.OpResult{{Index: i, Kind: storage.OpGet}}
		if a.has("else-fails") {
			v.Else.Failed = &storage.FailedOp{Index: i, Failure: storage.OpNoNumber, Version: 4}
		}
	}
	return v
}
