package sim

import (
	"fmt"

	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/txn"
)

// Actor is who does a step of a transaction.
type Actor uint8

// The actors.
const (
	Coordinator Actor = iota + 1
	Leader            // of a participant's group
)

// Step is something that an actor does, before or after which it may die.
type Step uint8

// The steps. Before StepApply the log's fsync is done; after it comes StepReply of the leader.
const (
	StepSend    Step = iota + 1 // the coordinator hands a command out
	StepReply                   // the coordinator takes a reply, the leader gives it
	StepAnswer                  // the coordinator answers its client
	StepPropose                 // the leader proposes a command
	StepSync                    // the leader's disk syncs the log that the command is in
	StepApply                   // the leader's engine commits what the command changed
)

// Point is where in the life of a transaction something happens.
type Point struct {
	Actor Actor
	Kind  storage.Kind        // 0 with StepAnswer
	Group storage.PartitionID // that the command is for
	Step  Step
	After bool
}

// String is for tables.
func (p Point) String() string {
	actor := [...]string{"?", "coordinator", "leader"}[p.Actor]
	step := [...]string{"?", "send", "reply", "answer", "propose", "sync", "apply"}[p.Step]
	when := "before"
	if p.After {
		when = "after"
	}
	if p.Step == StepAnswer {
		return fmt.Sprintf("%s %s %s", actor, when, step)
	}
	return fmt.Sprintf("%s %s %s %s P%d", actor, when, step, kindName(p.Kind), p.Group)
}

func kindName(k storage.Kind) string {
	names := map[storage.Kind]string{
		storage.KindPrepare: "prepare", storage.KindSingle: "single", storage.KindDecide: "decide",
		storage.KindPropose: "pre-commit", storage.KindCommit: "commit", storage.KindAbort: "abort",
	}
	if s := names[k]; s != "" {
		return s
	}
	return fmt.Sprintf("kind %d", k)
}

// probe tells whoever looks that a node has come to a point, where it may lose power.
func (w *world) probe(n *node, p Point) {
	if w.onProbe != nil {
		w.onProbe(n, p)
	}
}

// tamper asks the sabotage what becomes of a command.
func (w *world) tamper(c *txn.Send) Tampering {
	if bad := w.cfg.Sabotage.Send; bad != nil {
		return bad(w.rng, c)
	}
	return Tampering{}
}

func (w *world) tamperAnswer(a *txn.Answer) *txn.Answer {
	if bad := w.cfg.Sabotage.Answer; bad != nil {
		return bad(a)
	}
	return a
}
