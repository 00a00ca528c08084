package txn_test

import (
	"fmt"
	"slices"

	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/txn"
	"github.com/ringkv/ringkv/txn/serial"
)

// judge knows everything and checks the invariants of section 11.
type judge struct {
	w       *world
	verdict string // the first violation; empty as long as there is none
	clock   serial.Time
	history []*serial.Txn
	truth   map[storage.TxnID]*truth
	effects map[[16]byte]map[storage.TxnID]bool // of an idempotency token
	answers map[[16]byte]string
	seen    map[string]int // how often what has happened
}

// truth is what the groups have done with a transaction, and what was said of it.
type truth struct {
	participants []storage.PartitionID
	token        *storage.Token
	committed    map[storage.Attempt]map[storage.PartitionID]storage.Decision
	refused      map[storage.Attempt]bool
	told         map[storage.Decision]string // by whom
}

func newJudge(w *world) *judge {
	return &judge{
		w:       w,
		truth:   map[storage.TxnID]*truth{},
		effects: map[[16]byte]map[storage.TxnID]bool{},
		answers: map[[16]byte]string{},
		seen:    map[string]int{},
	}
}

func (j *judge) convict(what string) {
	if j.verdict == "" {
		j.verdict = what
		j.w.logf("VIOLATION %s", what)
	}
}

func (j *judge) tick() serial.Time {
	j.clock++
	return j.clock
}

func (j *judge) begin(ops []serial.Op) *serial.Txn {
	e := &serial.Txn{ID: serial.TxnID(len(j.history)), Invoked: j.tick(), Returned: serial.Never, Outcome: serial.Unknown, Ops: ops}
	j.history = append(j.history, e)
	return e
}

func (j *judge) end(e *serial.Txn, o serial.Outcome, ops []serial.Op) {
	e.Outcome, e.Returned, e.Ops = o, j.tick(), ops
}

func (j *judge) transaction(t storage.TxnID, participants []storage.PartitionID, token *storage.Token) {
	j.truth[t] = &truth{
		participants: participants,
		token:        token,
		committed:    map[storage.Attempt]map[storage.PartitionID]storage.Decision{},
		refused:      map[storage.Attempt]bool{},
		told:         map[storage.Decision]string{},
	}
}

// saw is told of every final state that a group takes. I1: at most one attempt commits, the same branch everywhere, and
// none that some group has refused.
func (j *judge) saw(g storage.PartitionID, t storage.TxnID, a storage.Attempt, s storage.TxnState, d storage.Decision) {
	tr := j.truth[t]
	switch s {
	case storage.TxnNo:
		tr.refused[a] = true
	case storage.TxnCommitted:
		if tr.committed[a] == nil {
			tr.committed[a] = map[storage.PartitionID]storage.Decision{}
		}
		for other, od := range tr.committed[a] {
			if od != d {
				j.convict(fmt.Sprintf("I1: %v commits %s in %d and %s in %d", t, decisionString(d), g, decisionString(od), other))
			}
		}
		tr.committed[a][g] = d
		j.oneEffect(t, tr, d)
	}
	if len(tr.committed) > 1 || len(tr.committed[a]) > 0 && tr.refused[a] {
		j.convict(fmt.Sprintf("I1: %v attempt %d", t, a))
	}
	j.consistent(t, tr)
}

// oneEffect is the first half of I5.
func (j *judge) oneEffect(t storage.TxnID, tr *truth, d storage.Decision) {
	if tr.token == nil || d == storage.DecideNothing {
		return
	}
	done := j.effects[tr.token.Key]
	if done == nil {
		done = map[storage.TxnID]bool{}
		j.effects[tr.token.Key] = done
	}
	if done[t] = true; len(done) > 1 {
		j.convict(fmt.Sprintf("I5: %d effects of one token, the last %v", len(done), t))
	}
}

// replayed is the second half of I5: every answer under a token is the same.
func (j *judge) replayed(o *operation, out *txn.Outcome) {
	if o.request.Token == nil {
		return
	}
	same := *out
	same.Replayed = false
	text := outcomeString(&same)
	if old := j.answers[o.request.Token.Key]; old != "" && old != text {
		j.convict(fmt.Sprintf("I5: answers %q and %q", old, text))
	}
	j.answers[o.request.Token.Key] = text
}

// told notes what somebody was told of a transaction.
func (j *judge) told(by string, t storage.TxnID, d storage.Decision) {
	j.w.logf("%s tells that %v is %s", by, t, decisionString(d))
	tr := j.truth[t]
	tr.told[d] = by
	j.consistent(t, tr)
}

// consistent: nobody is told otherwise than it is (I4, the safe half of I3).
func (j *judge) consistent(t storage.TxnID, tr *truth) {
	if len(tr.told) > 1 {
		j.convict(fmt.Sprintf("I4: %v is told to be %v", t, tr.told))
	}
	for d, by := range tr.told {
		for _, groups := range tr.committed {
			for g, really := range groups {
				harmless := d == storage.DecideAbort && really == storage.DecideNothing
				if really != d && !harmless {
					j.convict(fmt.Sprintf("I4: %s tells that %v is %s, group %d has committed %s", by, t, decisionString(d), g, decisionString(really)))
				}
			}
		}
	}
}

// atRest is checked when recovery has done all it can: I3, I8, I12, I13, I6.
func (j *judge) atRest() {
	for t, tr := range j.truth {
		told := ""
		for d, by := range tr.told {
			if d.Commits() {
				told = by
			}
		}
		for _, groups := range tr.committed {
			told = "somebody"
			if len(groups) != len(tr.participants) {
				j.convict(fmt.Sprintf("I1: %v committed in %v of %v only", t, groups, tr.participants))
			}
		}
		if told != "" && len(tr.committed) == 0 {
			j.convict(fmt.Sprintf("I3: %s was told that %v is committed", told, t))
		}
	}
	for _, g := range j.w.groups {
		for t, r := range g.recs {
			if r.state == storage.TxnYes {
				j.convict(fmt.Sprintf("I8: %v still holds locks in %d", t, g.id))
			}
		}
		if j.w.shadow != nil {
			if err := j.w.shadow.check(g); err != nil {
				j.convict(err.Error())
			}
		}
	}
	j.serial()
}

// serial is I6 and I7: the history, with the final state, is strictly serializable.
func (j *judge) serial() {
	if j.verdict != "" {
		return
	}
	final := map[serial.Key][]serial.Value{}
	for _, key := range j.w.keys {
		final[serial.Key(key)] = listOf(j.w.keyGroup(key).items[key].value)
	}
	history := make([]serial.Txn, len(j.history))
	for i, e := range j.history {
		history[i] = *e
	}
	report, err := serial.CheckFinal(history, final)
	if err != nil {
		j.convict("history: " + err.Error())
		return
	}
	if len(report.Findings) > 0 {
		j.convict("I6: " + report.String())
	}
}

// forgotten is checked after all incarnations were swept: nothing is left of any transaction (I13).
func (j *judge) forgotten() {
	for _, g := range j.w.groups {
		if len(g.recs) > 0 {
			j.convict(fmt.Sprintf("I13: %d records left in %d", len(g.recs), g.id))
		}
		keys := make([]string, 0, len(g.tokens))
		for _, token := range g.tokens {
			if token.answer == nil {
				keys = append(keys, token.by.String())
			}
		}
		slices.Sort(keys)
		if len(keys) > 0 {
			j.convict(fmt.Sprintf("I5: tokens of %v have no answer in %d", keys, g.id))
		}
	}
}
