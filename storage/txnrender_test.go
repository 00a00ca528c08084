package storage_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ringkv/ringkv/storage"
)

func reasonName(r storage.Reason) string {
	return [...]string{"", "conflict", "wrong-partition", "token-reused", "token-answered", "token-busy", "refused", "closed", "too-large", "disk-full"}[r]
}

func decisionName(d storage.Decision) string {
	return [...]string{"undecided", "then", "else", "nothing", "abort"}[d]
}

func renderTxnResult(res storage.Result) string {
	if res.Txn == nil {
		return renderResult(res)
	}
	return renderReply(res.Txn) + "\n"
}

func renderReply(r *storage.TxnReply) string {
	kind := [...]string{"none", "yes", "no", "committed", "gone", "ack", "accepted", "promise", "nack", "superseded", "open", "alarm", "blocked", "absent"}[r.Kind]
	out := []string{kind}
	if r.Attempt != 0 {
		out = append(out, fmt.Sprintf("a=%d", r.Attempt))
	}
	add := func(some bool, format string, args ...any) {
		if some {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	add(r.Sealed, "sealed")
	add(r.Superseded, "superseded")
	add(r.Reason != 0, "%s", reasonName(r.Reason))
	add(r.Decision != 0, "%s", decisionName(r.Decision))
	add(r.Ballot != storage.Ballot{} || r.Kind == storage.ReplyAccepted || r.Kind == storage.ReplyPromise, "ballot=%s", renderBallot(r.Ballot))
	add(r.Accepted != 0, "accepted=%s@%s", decisionName(r.Accepted), renderBallot(r.AcceptedAt))
	add(r.Answer != nil, "answer=%.20s", r.Answer)
	if r.Holder != nil {
		out = append(out, "holder="+renderOne(r.Holder))
	}
	if r.Vote != nil {
		out = append(out, renderVote(r.Vote)...)
	}
	for _, o := range r.Open {
		out = append(out, "["+renderOne(o)+"]")
	}
	add(r.Alarm != "", "ALARM %s", r.Alarm)
	return strings.Join(out, " ")
}

func renderBallot(b storage.Ballot) string { return fmt.Sprintf("%d.%d.%d", b.Round, b.Node, b.Nonce) }

func renderVote(v *storage.Vote) (out []string) {
	for _, s := range v.If {
		out = append(out, fmt.Sprintf("if%d:%v@%d", s.Index, s.Holds, s.Version))
	}
	out = append(out, renderBranch("then", &v.Then)...)
	out = append(out, renderBranch("else", &v.Else)...)
	if v.HasElse {
		out = append(out, "+else")
	}
	if v.Token {
		out = append(out, "+token")
	}
	return out
}

func renderBranch(name string, b *storage.BranchVote) (out []string) {
	for _, r := range b.Results {
		kind := [...]string{"?", "get", "put", "delete", "add"}[r.Kind]
		value := ""
		if r.Exists {
			value = fmt.Sprintf("=%.20s@%d", r.Value, r.Version)
		}
		out = append(out, fmt.Sprintf("%s%d:%s %s%s", name, r.Index, kind, r.Key, value))
	}
	if f := b.Failed; f != nil {
		out = append(out, fmt.Sprintf("%s%d:FAILED %s %s@%d", name, f.Index, [...]string{"", "bound", "overflow", "not-a-number"}[f.Failure], f.Key, f.Version))
	}
	return out
}

func renderOne(o *storage.OpenTxn) string {
	s := fmt.Sprintf("%v a=%d %s home=%d in=%v", o.ID, o.Attempt, [...]string{"?", "1pc", "auto", "2pc", "3pc"}[o.Protocol], o.Home, o.Participants)
	if o.Age != 0 {
		s += fmt.Sprintf(" age=%d", o.Age)
	}
	if o.Ordered {
		s += " ordered"
	}
	if o.Token {
		s += " token"
	}
	if o.Decision != storage.Undecided {
		s += " unanswered " + decisionName(o.Decision)
	}
	return s
}

func renderOpen(open []*storage.OpenTxn) string {
	var out strings.Builder
	for _, o := range open {
		fmt.Fprintln(&out, renderOne(o))
	}
	return out.String()
}

// lockNames are those that tests lock, beside items.
func lockNames() map[storage.LockSpace][]string {
	var tokens []string
	for c := 'a'; c <= 'z'; c++ {
		var key [16]byte
		key[0] = byte(c)
		tokens = append(tokens, string(key[:]))
	}
	return map[storage.LockSpace][]string{storage.NameSpace: {"mutex", "m"}, storage.TokenSpace: tokens}
}

// renderLocks finds out by questions what the table holds.
func renderLocks(l *storage.LockTable) string {
	var out strings.Builder
	names := lockNames()
	for c := 'a'; c <= 'z'; c++ {
		names[storage.ItemSpace] = append(names[storage.ItemSpace], string(c))
	}
	names[storage.ItemSpace] = append(names[storage.ItemSpace], "num", "big")
	found := 0
	for _, space := range []storage.LockSpace{storage.ItemSpace, storage.NameSpace, storage.TokenSpace} {
		for _, name := range names[space] {
			line := renderLock(l, space, name)
			if line != "" {
				found++
			}
			out.WriteString(line)
		}
	}
	fmt.Fprintf(&out, "%d locked, X %q\n", l.Len(), l.XLockedIn(nil, nil))
	if found != l.Len() {
		fmt.Fprintf(&out, "BUT %d found\n", found)
	}
	return out.String()
}

func renderLock(l *storage.LockTable, space storage.LockSpace, name string) string {
	mode := "S"
	if _, x := l.Holder(space, []byte(name), false, storage.TxnID{}); x {
		mode = "X"
	}
	var ids []string
	l.Holders(space, []byte(name), true, func(o *storage.OpenTxn) bool {
		ids = append(ids, o.ID.String())
		return true
	})
	slices.Sort(ids)
	if len(ids) == 0 {
		return ""
	}
	return fmt.Sprintf("%s %s %s by %s\n", [...]string{"item", "lock", "token"}[space], strings.TrimRight(name, "\x00"), mode, strings.Join(ids, ", "))
}

func renderStatus(s storage.TxnStatus) string {
	out := [...]string{"absent", "yes", "no", "committed", "gone"}[s.State]
	if s.Attempt == storage.Sealed {
		out += " sealed"
	} else if s.Attempt != 0 {
		out += fmt.Sprintf(" a=%d", s.Attempt)
	}
	if s.Reason != 0 {
		out += " " + reasonName(s.Reason)
	}
	if s.Decision != storage.Undecided {
		out += " " + decisionName(s.Decision)
	}
	if s.Open != nil {
		out += " " + renderOne(s.Open)
	}
	return out + "\n"
}
