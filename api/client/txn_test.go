package client_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/api/client"
	"github.com/ringkv/ringkv/api/client/clienttest"
)

// bank returns a cluster of n nodes with two accounts, and a client of it.
func bank(t *testing.T, nodes int) (*clienttest.Cluster, *client.Client) {
	t.Helper()
	cluster := newCluster(t, nodes)
	c := newClient(t, client.Config{Nodes: cluster.Addrs(), Direct: true})
	for key, value := range map[string]string{"acct/1": "150", "acct/2": "-7"} {
		if _, err := c.Put(t.Context(), key, []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	return cluster, c
}

// transfer moves 100 between the accounts of bank.
func transfer(opts ...client.TxnOption) *client.Txn {
	return client.NewTxn(opts...).Add("acct/1", -100, client.AtLeast(0)).Add("acct/2", 100)
}

// balances returns what the accounts of bank hold.
func balances(t *testing.T, c *client.Client) string {
	t.Helper()
	var texts []string
	for _, key := range []string{"acct/1", "acct/2"} {
		item, err := c.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(item.Value))
	}
	return strings.Join(texts, " ")
}

func TestTransact(t *testing.T) {
	transports(t, func(t *testing.T, hc *http.Client) {
		cluster := newCluster(t, 2)
		c := newClient(t, client.Config{Nodes: cluster.Addrs(), HTTPClient: hc})
		first, err := c.Transact(t.Context(), client.NewTxn(client.Protocol(api.Protocol2PC), client.TxnTimeout(time.Second)).
			IfAbsent("a").IfVersion("a", 0).
			Put("a", []byte("\xff\x00"), client.TTL(90*time.Second)).Put("\xfe", nil).Add("n", 7, client.AtLeast(7), client.AtMost(7)).
			Get("a").Delete("gone").Get("gone"))
		if err != nil {
			t.Fatal(err)
		}
		v := first.Results[0].Version
		want := []client.OpResult{
			{Key: "a", Exists: true, Version: v}, {Key: "\xfe", Exists: true, Version: v}, {Key: "n", Exists: true, Value: []byte("7"), Version: v},
			{Key: "a", Exists: true, Value: []byte("\xff\x00"), Version: v}, {Key: "gone"}, {Key: "gone"},
		}
		if !reflect.DeepEqual(first.Results, want) || first.ID == "" || first.Branch != api.SectionThen ||
			first.Protocol != api.Protocol2PC || len(first.Partitions) < 2 || first.Attempts != 1 || first.Replayed || first.Lost {
			t.Errorf("%+v", first)
		}
		if n, err := first.Results[2].Int(); n != 7 || err != nil {
			t.Errorf("Int: %d, %v", n, err)
		}
		if state, err := c.TxnStatus(t.Context(), first.ID); state != api.TxnCommitted || err != nil {
			t.Errorf("status: %s, %v", state, err)
		}
		second, err := c.Transact(t.Context(), client.NewTxn().
			IfExists("a").IfVersion("a", v).IfValue("n", []byte("8")).Put("a", nil).
			Else().ElseGet("n").ElsePut("a", []byte("else"), client.KeepTTL()).ElseAdd("n", 1).ElseDelete("\xfe"))
		if err != nil || second.Branch != api.SectionElse || len(second.Results) != 4 || string(second.Results[2].Value) != "8" {
			t.Fatalf("%+v, %v", second, err)
		}
		if item, err := c.Get(t.Context(), "a"); string(item.Value) != "else" || item.TTL != 90*time.Second {
			t.Errorf("%+v, %v", item, err)
		}
	})
}

func TestTransactRefused(t *testing.T) {
	_, c := bank(t, 1)
	check := func(name string, txn *client.Txn, want ...api.TxnFailure) {
		t.Helper()
		_, err := c.Transact(t.Context(), txn)
		var (
			refused *client.TxnFailedError
			failed  *client.Error
		)
		if !errors.Is(err, client.ErrConditionFailed) || !errors.As(err, &refused) || !errors.As(err, &failed) {
			t.Fatalf("%s: %v", name, err)
		}
		if !reflect.DeepEqual(refused.Failed, want) || failed.Outcome != api.Aborted || failed.Txn == "" {
			t.Errorf("%s: %+v in %+v", name, refused.Failed, failed)
		}
	}
	item, _ := c.Get(t.Context(), "acct/1")
	check("conditions",
		client.NewTxn().IfExists("acct/1").IfAbsent("acct/1").IfLock("ledger", 42).IfValue("x", nil).Delete("acct/1"),
		api.TxnFailure{In: api.SectionIf, Index: 1, Key: []byte("acct/1"), Version: item.Version},
		api.TxnFailure{In: api.SectionIf, Index: 2, Lock: []byte("ledger")},
		api.TxnFailure{In: api.SectionIf, Index: 3, Key: []byte("x")})
	check("bound", client.NewTxn().Add("acct/2", 100).Add("acct/1", -200, client.AtLeast(0)),
		api.TxnFailure{In: api.SectionThen, Index: 1, Key: []byte("acct/1"), Version: item.Version, Code: api.FailedBound})
	check("bound of else", client.NewTxn().IfExists("x").Else().ElseAdd("acct/1", 1, client.AtMost(150)),
		api.TxnFailure{In: api.SectionElse, Index: 0, Key: []byte("acct/1"), Version: item.Version, Code: api.FailedBound})
	if got := balances(t, c); got != "150 -7" {
		t.Errorf("balances %s", got)
	}
}

// onTxn makes node answer its n-th transaction request, from 1, by fn where fn is in answers.
func onTxn(node *clienttest.Node, answers map[int]http.HandlerFunc) (seen func() []*http.Request) {
	var (
		mu   sync.Mutex
		list []*http.Request
	)
	node.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPost {
			return false
		}
		mu.Lock()
		list = append(list, r)
		answer := answers[len(list)]
		mu.Unlock()
		if answer == nil {
			return false
		}
		answer(w, r)
		return true
	})
	return func() []*http.Request {
		mu.Lock()
		defer mu.Unlock()
		return list
	}
}

// doneThen lets node carry out the request, and spoils the answer by spoil.
func doneThen(node *clienttest.Node, spoil http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		node.Answer(httptest.NewRecorder(), r)
		spoil(w, r)
	}
}

func unknown(id string) http.HandlerFunc {
	return problem(&api.TxnError{Txn: id, Err: api.ErrUnknownOutcome})
}

// TestWhatIsRepeatedOfTransactions has a node spoil the first answers in every way there is.
func TestWhatIsRepeatedOfTransactions(t *testing.T) {
	const done, undone = "140 3", "150 -7"
	small := func(opts ...client.TxnOption) *client.Txn {
		return client.NewTxn(opts...).Add("acct/1", -10).Add("acct/2", 10)
	}
	for _, test := range []struct {
		name     string
		first    func(node *clienttest.Node) http.HandlerFunc
		bare     error // what the call ends with, without a key
		once     error // the same with ExactlyOnce
		bareDone bool
	}{
		{"conflict", func(*clienttest.Node) http.HandlerFunc { return problem(api.ErrConflict) }, nil, nil, true},
		{"overloaded", func(*clienttest.Node) http.HandlerFunc { return problem(api.ErrOverloaded) }, nil, nil, true},
		{"disk full", func(*clienttest.Node) http.HandlerFunc { return problem(api.ErrDiskFull) }, api.ErrDiskFull, api.ErrDiskFull, false},
		{"key reused", func(*clienttest.Node) http.HandlerFunc { return problem(api.ErrKeyReused) }, api.ErrKeyReused, api.ErrKeyReused, false},
		{"in flight", func(*clienttest.Node) http.HandlerFunc { return problem(api.ErrInFlight) }, client.ErrUnknownOutcome, nil, false},
		{"cut before", func(*clienttest.Node) http.HandlerFunc { return hangUp }, client.ErrUnknownOutcome, nil, false},
		{"cut after", func(n *clienttest.Node) http.HandlerFunc { return doneThen(n, hangUp) }, client.ErrUnknownOutcome, nil, true},
		{"internal, after", func(n *clienttest.Node) http.HandlerFunc { return doneThen(n, problem(api.ErrInternal)) }, client.ErrUnknownOutcome, nil, true},
		{"unknown, done", func(n *clienttest.Node) http.HandlerFunc { return doneThen(n, unknown("fake-1")) }, nil, nil, true},
		{"unknown, not done", func(n *clienttest.Node) http.HandlerFunc { return unknown("fake-1") }, client.ErrUnknownOutcome, nil, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			transports(t, func(t *testing.T, hc *http.Client) {
				for _, once := range []bool{false, true} {
					cluster, reader := bank(t, 1)
					c := newClient(t, client.Config{Nodes: cluster.Addrs(), Direct: true, HTTPClient: hc})
					node := cluster.Nodes[0]
					seen := onTxn(node, map[int]http.HandlerFunc{1: test.first(node)})
					txn, want, wantDone := small(), test.bare, test.bareDone
					if once {
						txn, want, wantDone = small(client.ExactlyOnce()), test.once, test.once == nil
					}
					_, err := c.Transact(t.Context(), txn)
					if !errors.Is(err, want) || errors.Is(err, client.ErrUnknownOutcome) != (want == client.ErrUnknownOutcome) {
						t.Errorf("once %v: %v, want %v", once, err, want)
					}
					key := seen()[0].Header.Get(api.HeaderIdempotencyKey)
					if (key != "") != once || key != seen()[len(seen())-1].Header.Get(api.HeaderIdempotencyKey) {
						t.Errorf("once %v: %d requests, keys %q and others", once, len(seen()), key)
					}
					node.Intercept(nil)
					if got := balances(t, reader); (got == done) != wantDone || (got == undone) == wantDone {
						t.Errorf("once %v: balances %s", once, got)
					}
				}
			})
		})
	}
}

// TestSettledByStatus holds that a 504 is cleared up by asking, as long as it takes.
func TestSettledByStatus(t *testing.T) {
	cluster, c := bank(t, 1)
	node := cluster.Nodes[0]
	states := []api.TxnState{api.TxnPending, api.TxnPending, api.TxnAborted, api.TxnCommitted}
	asked := 0
	node.Intercept(withStatus(func(id string) (api.TxnState, error) {
		asked++
		if want := "t/" + string(rune('0'+min(2, 1+(asked-1)/3))); id != want {
			t.Errorf("asked for %q, want %q", id, want)
		}
		return states[min(asked, len(states))-1], nil
	}, map[int]http.HandlerFunc{1: unknown("t/1"), 2: unknown("t/2")}))
	r, err := c.Transact(t.Context(), transfer())
	if err != nil || !r.Lost || r.ID != "t/2" || r.Branch != api.SectionThen || asked != 4 {
		t.Errorf("%+v, %v after %d questions", r, err, asked)
	}
}

// withStatus answers the n-th transaction, from 1, by answers, and questions for the states of transactions by state.
func withStatus(
	state func(id string) (api.TxnState, error), answers map[int]http.HandlerFunc,
) func(w http.ResponseWriter, r *http.Request) bool {
	posts := 0
	return func(w http.ResponseWriter, r *http.Request) bool {
		if id, ok := strings.CutPrefix(r.URL.Path, api.PathTxn+"/"); ok {
			s, err := state(id)
			if err != nil {
				clienttest.WriteProblem(w, r, err)
			} else {
				_, _ = w.Write([]byte(`{"txn":"` + id + `","status":"` + string(s) + `"}`))
			}
			return true
		}
		posts++
		if answer := answers[posts]; answer != nil {
			answer(w, r)
			return true
		}
		return false
	}
}

func TestDoubtStaysUntilAnAnswerSpeaksForAll(t *testing.T) {
	cluster, c := bank(t, 1)
	node := cluster.Nodes[0]
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var copies atomic.Int32
	node.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		switch copies.Add(1) {
		case 1:
			panic(http.ErrAbortHandler)
		case 4:
			cancel()
		}
		clienttest.WriteProblem(w, r, api.ErrUnavailable) // of this copy it is known that nothing was done
		return true
	})
	_, err := c.Transact(ctx, transfer(client.ExactlyOnce()))
	var failed *client.Error
	if !errors.Is(err, client.ErrUnknownOutcome) || !errors.As(err, &failed) || failed.Attempts < 3 {
		t.Errorf("no answer ever spoke for the first copy: %v", err)
	}

	node.Intercept(nil)
	onTxn(node, map[int]http.HandlerFunc{1: doneThen(node, hangUp)})
	_, err = c.Transact(t.Context(), client.NewTxn(client.ExactlyOnce()).IfAbsent("acct/1").Delete("acct/2"))
	if !errors.Is(err, client.ErrConditionFailed) || errors.Is(err, client.ErrUnknownOutcome) {
		t.Errorf("the stored refusal speaks for the first copy: %v", err)
	}
}

func TestIdempotencyKey(t *testing.T) {
	cluster, c := bank(t, 2)
	other := newClient(t, client.Config{Nodes: cluster.Addrs()[1:], Direct: true})
	first, err := c.Transact(t.Context(), transfer().IdempotencyKey("rent of May"))
	if err != nil || first.Replayed {
		t.Fatalf("%+v, %v", first, err)
	}
	again, err := other.Transact(t.Context(), transfer().IdempotencyKey("rent of May"))
	if err != nil || !again.Replayed || again.ID != first.ID || !reflect.DeepEqual(again.Results, first.Results) {
		t.Errorf("%+v, %v; first %+v", again, err, first)
	}
	_, err = other.Transact(t.Context(), client.NewTxn().Delete("acct/1").IdempotencyKey("rent of May"))
	if !errors.Is(err, api.ErrKeyReused) || errors.Is(err, client.ErrUnknownOutcome) {
		t.Errorf("reused: %v", err)
	}
	_, err = c.Transact(t.Context(), transfer().IdempotencyKey("a\r\nb"))
	if !errors.Is(err, api.ErrInvalid) || errors.Is(err, client.ErrUnknownOutcome) {
		t.Errorf("header smuggle: %v", err)
	}
	if got := balances(t, c); got != "50 93" {
		t.Errorf("balances %s", got)
	}
}

func TestAnswersThatAreNotWhole(t *testing.T) {
	cluster, c := bank(t, 1)
	answers := map[int]http.HandlerFunc{}
	for i, text := range []string{
		`{"txn":"t","committed":true,"branch":"then","results":[],"protocol":"auto","partitions":[1],"attempts":1,"results_truncated":true}`,
		`{"txn":"t","comm`,
	} {
		answers[i+1] = func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) }
	}
	onTxn(cluster.Nodes[0], answers)
	r, err := c.Transact(t.Context(), transfer().IdempotencyKey("k"))
	if err != nil || !r.Truncated || r.ID != "t" || len(r.Results) != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	_, err = c.Transact(t.Context(), transfer())
	var failed *client.Error
	if !errors.As(err, &failed) || failed.Outcome != api.Committed || errors.Is(err, client.ErrUnknownOutcome) {
		t.Errorf("it was done, that much is certain: %v", err)
	}
}

// TestNodesAreToldToGiveUpInTime holds that a node hears of the caller's deadline, where the bytes sent may depend on it.
func TestNodesAreToldToGiveUpInTime(t *testing.T) {
	cluster, c := bank(t, 1)
	soon, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	later, cancelLater := context.WithTimeout(t.Context(), time.Hour)
	defer cancelLater()
	for _, test := range []struct {
		name string
		ctx  context.Context
		txn  *client.Txn
		told func(d time.Duration) bool
	}{
		{"no deadline", t.Context(), transfer(), func(d time.Duration) bool { return d == api.DefaultTxnTimeout }},
		{"late", later, transfer(), func(d time.Duration) bool { return d == api.DefaultTxnTimeout }},
		{"soon", soon, transfer(client.ExactlyOnce()), func(d time.Duration) bool { return d < 3500*time.Millisecond }},
		{"asked for", soon, transfer(client.TxnTimeout(4 * time.Second)), func(d time.Duration) bool { return d == 4*time.Second }},
		{"key", soon, transfer().IdempotencyKey("k"), func(d time.Duration) bool { return d == api.DefaultTxnTimeout }},
	} {
		var told time.Duration
		cluster.Nodes[0].Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			body, err := io.ReadAll(r.Body)
			txn, err2 := api.DecodeTxn(body, 0)
			if err := errors.Join(err, err2); err != nil {
				t.Errorf("%s: %v", test.name, err)
			} else {
				told = txn.Timeout
			}
			clienttest.WriteProblem(w, r, api.ErrDiskFull)
			return true
		})
		if _, err := c.Transact(test.ctx, test.txn); !errors.Is(err, api.ErrDiskFull) || !test.told(told) {
			t.Errorf("%s: told %v, %v", test.name, told, err)
		}
	}
}

func TestTxnFromJSON(t *testing.T) {
	_, c := bank(t, 1)
	r, err := c.Transact(t.Context(), client.TxnFromJSON([]byte(`{"then":[{"op":"get","key":"acct/1"}]}`)))
	if err != nil || string(r.Results[0].Value) != "150" {
		t.Errorf("%+v, %v", r, err)
	}
	_, err = c.Transact(t.Context(), client.TxnFromJSON([]byte(`{"then":7}`)))
	if !errors.Is(err, api.ErrInvalid) {
		t.Errorf("malformed: %v", err)
	}
}

// TestReadOnlyTransactionsAreRepeated holds that what can change nothing is repeated like a read.
func TestReadOnlyTransactionsAreRepeated(t *testing.T) {
	cluster, c := bank(t, 1)
	onTxn(cluster.Nodes[0], map[int]http.HandlerFunc{1: hangUp, 2: plain(500)})
	r, err := c.Transact(t.Context(), client.NewTxn().IfExists("acct/1").Get("acct/2"))
	if err != nil || string(r.Results[0].Value) != "-7" {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestTransactGoesToALeaderOfItsKeys(t *testing.T) {
	cluster := newCluster(t, 3)
	c := newClient(t, client.Config{Nodes: cluster.Addrs()[:1]})
	learned(t, c, cluster)
	for _, key := range []string{"a", "b", "c", "d", "e", "f"} {
		forget(cluster)
		for _, txn := range []*client.Txn{client.NewTxn().Add(key, 1), client.NewTxn().IfVersion(key, 0).Else()} {
			if _, err := c.Transact(t.Context(), txn); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(cluster.Leader(key).Requests()); n < 2 {
			t.Errorf("the leader of %s saw %d requests", key, n)
		}
	}
}

func TestTxnStatus(t *testing.T) {
	_, c := bank(t, 1)
	if _, err := c.TxnStatus(t.Context(), "never-given"); !errors.Is(err, api.ErrTxnNotFound) {
		t.Errorf("unknown id: %v", err)
	}
	if _, err := c.TxnStatus(t.Context(), ""); !errors.Is(err, api.ErrInvalid) {
		t.Errorf("no id: %v", err)
	}
}
