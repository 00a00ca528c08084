package waitline

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/ringkv/ringkv/storage"
)

// held is a lock table as the tests need one.
type held struct {
	txns  []*storage.OpenTxn
	locks map[storage.TxnID][]Lock
}

func newHeld() *held { return &held{locks: make(map[storage.TxnID][]Lock)} }

func (h *held) hold(r *Request) {
	h.free(r.Txn)
	h.txns = append(h.txns, &storage.OpenTxn{ID: r.Txn, Attempt: r.Attempt, Age: r.Age, Ordered: r.Ordered})
	h.locks[r.Txn] = r.Locks
}

func (h *held) free(t storage.TxnID) {
	h.txns = slices.DeleteFunc(h.txns, func(o *storage.OpenTxn) bool { return o.ID == t })
	delete(h.locks, t)
}

func (h *held) Holders(space storage.LockSpace, key []byte, exclusive bool, visit func(*storage.OpenTxn) bool) {
	for _, o := range h.txns {
		for _, l := range h.locks[o.ID] {
			if l.Space == space && string(l.Key) == string(key) && (exclusive || l.Exclusive) && !visit(o) {
				return
			}
		}
	}
}

// script is one line of requests and its holders.
type script struct {
	line *Line
	held *held
	reqs map[string]*Request
}

// TestRules walks one line through testdata/rules.txt. The commands, one a line:
//
//	limits requests=N bytes=N     begin anew with these limits
//	prepare T1 [a=N] [age=N] [ordered] [until=N] [bytes=N] x s:y t!:z   X on x, S on y, X on token z
//	plain p1 … / read r1 …        the same for the others
//	hold T1 … / free T1           a holder comes (a surprise if it says so) or goes
//	leaving T1 / left T1          its commit is proposed, or will never be applied
//	apply T1 / drop T1            a granted prepare becomes a holder, or nothing
//	withdraw T1 a=N, expire N, clear, serve, of T1, waitedfor, state
func TestRules(t *testing.T) {
	datadriven.RunTest(t, "testdata/rules.txt", func(t *testing.T, d *datadriven.TestData) string {
		s := script{line: New(Limits{}), held: newHeld(), reqs: make(map[string]*Request)}
		var out strings.Builder
		for text := range strings.Lines(d.Input) {
			f := strings.Fields(text)
			if len(f) == 0 {
				continue
			}
			if res := s.run(t, f); res != "" {
				fmt.Fprintf(&out, "%s: %s\n", strings.Join(f, " "), res)
			}
		}
		return out.String()
	})
}

func (s *script) run(t *testing.T, f []string) string {
	switch f[0] {
	case "limits":
		r := parse(t, f)
		s.line = New(Limits{Requests: int(r.Attempt), Bytes: r.Bytes})
		return ""
	case "prepare", "plain", "read":
		return s.submitted(parse(t, f))
	case "hold":
		s.held.hold(parse(t, f))
		if slices.Contains(f, "surprise") {
			s.line.Surprise()
		}
		return ""
	case "free":
		s.held.free(id(t, f[1]))
		return s.serve()
	}
	return s.more(t, f)
}

func (s *script) more(t *testing.T, f []string) string {
	switch f[0] {
	case "apply":
		s.held.hold(s.reqs[f[1]])
		s.line.Release(s.reqs[f[1]])
		return s.serve()
	case "leaving":
		s.line.Leaving(id(t, f[1]))
		return s.serve()
	case "left":
		s.line.Left(id(t, f[1]))
		return ""
	case "drop":
		s.line.Release(s.reqs[f[1]])
		return s.serve()
	case "withdraw":
		return show(s.line.Withdraw(id(t, f[1]), parse(t, f).Attempt, nil)) + s.serve()
	case "expire":
		return show(s.line.Expire(time.Duration(number(t, f[1])), nil)) + s.serve()
	case "serve":
		return s.serve()
	case "clear":
		var names []string
		for _, r := range s.line.Clear(nil) {
			names = append(names, fmt.Sprint(r.Owner))
		}
		return fmt.Sprintf("%v idle=%v", names, s.line.Idle())
	case "of":
		if r := s.line.Of(id(t, f[1])); r != nil {
			return fmt.Sprintf("%v attempt %d", r.Owner, r.Attempt)
		}
		return "nobody"
	case "waitedfor":
		var ids []string
		s.line.WaitedFor(s.held, func(o *storage.OpenTxn) { ids = append(ids, o.ID.String()) })
		return strings.Join(ids, " ")
	case "idle":
		return fmt.Sprintf("%v, %d wait, %d names", s.line.Idle(), s.line.Waiting(), len(s.line.queues))
	}
	t.Fatalf("unknown command %q", f[0])
	return ""
}

func (s *script) submitted(r *Request) string {
	v := s.line.Submit(r, s.held)
	if v == Grant || v == Wait {
		s.reqs[fmt.Sprint(r.Owner)] = r
	}
	out := verdicts[v]
	if r.Holds != 0 && v == Wait {
		out += fmt.Sprintf(", holds attempt %d", r.Holds)
	}
	return out
}

func (s *script) serve() string { return show(s.line.Serve(s.held, nil)) }

var verdicts = map[Verdict]string{Grant: "grant", Wait: "wait", Deny: "deny", Pass: "pass"}

func show(ds []Decision) string {
	var out strings.Builder
	for _, d := range ds {
		fmt.Fprintf(&out, "%s %v; ", verdicts[d.Verdict], d.Request.Owner)
	}
	return out.String()
}

func parse(t *testing.T, f []string) *Request {
	r := &Request{Owner: f[1], Attempt: 1}
	switch f[0] {
	case "plain":
		r.Kind = Plain
	case "read":
		r.Kind = Read
	default:
		r.Kind = Prepare
	}
	if strings.HasPrefix(f[1], "T") {
		r.Txn = id(t, f[1])
	}
	for _, word := range f[1:] {
		if k, v, ok := strings.Cut(word, "="); ok {
			option(r, k, number(t, v))
		} else if word == "ordered" {
			r.Ordered = true
		} else if word != f[1] && word != "surprise" {
			r.Locks = append(r.Locks, lockOf(word))
		}
	}
	if r.Kind == Read {
		for i := range r.Locks {
			r.Locks[i].Exclusive = false
		}
	}
	r.Locks = Merge(r.Locks)
	return r
}

func option(r *Request, name string, n int) {
	switch name {
	case "a", "requests":
		r.Attempt = storage.Attempt(n)
	case "age":
		r.Age = storage.Millis(n)
	case "until":
		r.Deadline = time.Duration(n)
	case "bytes":
		r.Bytes = n
	}
}

func lockOf(word string) Lock {
	if key, ok := strings.CutPrefix(word, "s:"); ok {
		return Lock{Key: []byte(key)}
	}
	if key, ok := strings.CutPrefix(word, "t!:"); ok {
		return Lock{Space: 2, Key: []byte(key), Exclusive: true, Judged: true}
	}
	return Lock{Key: []byte(word), Exclusive: true}
}

func id(t *testing.T, s string) storage.TxnID {
	return storage.TxnID{Node: 1, Incarnation: 1, Seq: uint64(number(t, strings.TrimPrefix(s, "T")))}
}

func number(t *testing.T, s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
