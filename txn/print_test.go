package txn_test

import (
	"fmt"
	"strings"

	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/txn"
)

func (s *script) print(out *strings.Builder, e *txn.Effects) {
	for _, c := range e.Send {
		s.sent[c.To] = append(s.sent[c.To], c)
		fmt.Fprintf(out, "  -> %d %s\n", c.To, commandString(&c))
	}
	for _, o := range e.Suspect {
		fmt.Fprintf(out, "  suspect %v\n", o.ID)
	}
	for _, o := range e.Recover {
		fmt.Fprintf(out, "  recover %v\n", o.ID)
	}
	if e.Answer != nil {
		fmt.Fprintf(out, "  answer %s\n", answerString(e.Answer))
	}
	if e.Restart {
		fmt.Fprintf(out, "  restart\n")
	}
	if e.Conclusion != txn.Inconclusive {
		fmt.Fprintf(out, "  conclude %v\n", e.Conclusion)
	}
	if e.Outcome != nil {
		fmt.Fprintf(out, "  outcome %s\n", outcomeString(e.Outcome))
	}
	if e.Alarm != "" {
		fmt.Fprintf(out, "  alarm %s\n", e.Alarm)
	}
	if e.Finished {
		fmt.Fprintf(out, "  finished\n")
	}
	s.printState(out, e)
}

func (s *script) printState(out *strings.Builder, e *txn.Effects) {
	wake := "-"
	if !e.Wake.IsZero() {
		wake = e.Wake.Sub(s.now).String()
	}
	switch c := s.core.(type) {
	case *txn.Coordinator:
		s.attempt = max(c.Attempt(), 1)
		fmt.Fprintf(out, "  [%v a=%d wake %s]\n", c.Phase(), c.Attempt(), wake)
	case *txn.Recovery:
		fmt.Fprintf(out, "  [%v wake %s]\n", c.Phase(), wake)
	case *txn.Sweep:
		fmt.Fprintf(out, "  [wake %s]\n", wake)
	}
}

func kindString(k storage.Kind) string {
	return [...]string{
		storage.KindPrepare: "prepare", storage.KindSingle: "single", storage.KindRefuse: "refuse",
		storage.KindDecide: "decide", storage.KindPropose: "propose", storage.KindInquire: "inquire",
		storage.KindCommit: "commit", storage.KindAbort: "abort", storage.KindClose: "close", storage.KindForget: "forget",
	}[k]
}

func decisionString(d storage.Decision) string {
	return [...]string{"undecided", "then", "else", "nothing", "abort"}[d]
}

func commandString(c *txn.Send) string {
	var b strings.Builder
	b.WriteString(kindString(c.Kind))
	if c.Txn.Attempt > 0 {
		fmt.Fprintf(&b, "(%d)", c.Txn.Attempt)
	}
	if p := c.Txn.Prepare; p != nil && p.Ordered {
		b.WriteString(" ordered")
	}
	if c.Kind == storage.KindInquire || c.Kind == storage.KindPropose {
		fmt.Fprintf(&b, " b=%d", c.Txn.Ballot.Round)
	}
	if c.Txn.Decision != storage.Undecided {
		fmt.Fprintf(&b, " %s", decisionString(c.Txn.Decision))
	}
	if c.Txn.Final {
		b.WriteString(" final")
	}
	if c.Txn.Answer != nil {
		b.WriteString(" +answer")
	}
	return b.String()
}

func answerString(a *txn.Answer) string {
	if a.Err != nil {
		return "error: " + a.Err.Error()
	}
	return outcomeString(a.Outcome)
}

func outcomeString(o *txn.Outcome) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s attempts=%d", o.ID, decisionString(o.Decision), o.Attempts)
	for _, r := range o.Results {
		fmt.Fprintf(&b, " %d:%s@%d", r.Index, r.Key, r.Version)
	}
	for _, f := range o.Failed {
		fmt.Fprintf(&b, " failed(%s/%d %s@%d", [...]string{"", "if", "then", "else"}[f.In], f.Index, f.Key, f.Version)
		if f.Op != 0 {
			fmt.Fprintf(&b, " op=%d", f.Op)
		}
		b.WriteString(")")
	}
	if o.Replayed {
		b.WriteString(" replayed")
	}
	return b.String()
}
