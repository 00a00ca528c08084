package clienttest

import (
	"crypto/sha256"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/ringkv/ringkv/api"
)

// txns is what a Cluster knows of transactions. They are carried out one after another, under the cluster's mutex.
type txns struct {
	last   int                     // the number in the last id given
	states map[string]api.TxnState // by id, of those that could write
	tokens map[string]answered     // by idempotency key
}

// answered is a stored answer.
type answered struct {
	body   [sha256.Size]byte // of the request
	status int
	answer []byte
}

// serveTxn answers POST /v1/txn.
func (n *Node) serveTxn(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client has gone
	}
	t, err := api.DecodeTxn(body, 0)
	if err != nil {
		WriteProblem(w, r, err)
		return
	}
	c := n.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	key, sum := r.Header.Get(api.HeaderIdempotencyKey), sha256.Sum256(body)
	old, known := c.txns.tokens[key]
	switch {
	case known && old.body != sum:
		WriteProblem(w, r, api.ErrKeyReused)
		return
	case known:
		w.Header().Set(api.HeaderIdempotencyReplayed, "true")
		old.write(w)
		return
	}
	now := c.transact(t, key != "")
	now.body = sum
	if key != "" {
		c.txns.tokens[key] = now
	}
	now.write(w)
}

func (a answered) write(w http.ResponseWriter) {
	contentType := api.TypeProblem
	if a.status == http.StatusOK {
		contentType = api.TypeJSON
	}
	w.Header().Set(api.HeaderContentType, contentType)
	w.WriteHeader(a.status)
	_, _ = w.Write(a.answer)
}

// transact carries t out and returns its answer. c.mu is held.
func (c *Cluster) transact(t *api.Txn, token bool) answered {
	run := run{cluster: c, changed: make(map[string]item)}
	branch, ops := api.SectionThen, t.Then
	failed := run.judge(t.If)
	if failed != nil && t.Else != nil {
		branch, ops, failed = api.SectionElse, t.Else, nil
	}
	var results []api.TxnOpResult
	if failed == nil {
		results, failed = run.do(branch, ops)
	}
	c.txns.last++
	id := "fake-" + strconv.Itoa(c.txns.last)
	kept := token || writes(t.Then) || writes(t.Else)
	if kept {
		c.txns.states[id] = api.TxnAborted
	}
	if failed != nil {
		return refusal(id, failed)
	}
	run.commit(id)
	if kept {
		c.txns.states[id] = api.TxnCommitted
	}
	answer := api.TxnResult{
		Txn: id, Committed: true, Branch: branch, Results: results, Partitions: c.participants(t), Attempts: 1,
		Protocol: t.Protocol,
	}
	if len(answer.Partitions) < 2 {
		answer.Protocol = api.Protocol1PC
	}
	return answered{status: http.StatusOK, answer: answer.AppendJSON(nil)}
}

func writes(ops []api.TxnOp) bool {
	for i := range ops {
		if ops[i].Kind != api.OpGet {
			return true
		}
	}
	return false
}

func refusal(id string, failed []api.TxnFailure) answered {
	p := api.NewProblem(&api.TxnError{Txn: id, Err: &api.TxnFailedError{Failed: failed}}, true)
	text, _ := json.Marshal(p)
	return answered{status: p.Status, answer: text}
}

// participants returns the partitions of all keys and locks of t, ascending.
func (c *Cluster) participants(t *api.Txn) []api.PartitionID {
	in := make([]bool, Partitions)
	for i := range t.If {
		in[c.hash.Partition(t.If[i].Key)] = true
	}
	for _, ops := range [][]api.TxnOp{t.Then, t.Else} {
		for i := range ops {
			in[c.hash.Partition(ops[i].Key)] = true
		}
	}
	var list []api.PartitionID
	for p, takesPart := range in {
		if takesPart {
			list = append(list, api.PartitionID(p))
		}
	}
	return list
}

// run is one transaction under way. The cluster's mutex is held.
type run struct {
	cluster *Cluster
	changed map[string]item // without a version: absent
}

// get returns key as the run has made it, else as it is; without a version if it is absent.
func (r *run) get(key string) item {
	if it, ok := r.changed[key]; ok {
		return it
	}
	return r.cluster.items[key]
}

// judge returns the conditions that do not hold; nil if all do.
func (r *run) judge(conditions []api.TxnCondition) []api.TxnFailure {
	var failed []api.TxnFailure
	for i, c := range conditions {
		it := r.get(string(c.Key))
		holds := false
		switch c.Test {
		case api.TestVersion:
			holds = it.version == c.Version
		case api.TestExists:
			holds = it.version != 0
		case api.TestAbsent:
			holds = it.version == 0
		case api.TestValue:
			holds = it.version != 0 && string(it.value) == string(c.Value)
		case api.TestToken:
			if held := r.cluster.locks.held[string(c.Key)].Token; held != c.Token || held == 0 {
				failed = append(failed, api.TxnFailure{In: api.SectionIf, Index: i, Lock: c.Key, Token: held})
			}
			continue
		}
		if !holds {
			failed = append(failed, api.TxnFailure{In: api.SectionIf, Index: i, Key: c.Key, Version: it.version})
		}
	}
	return failed
}

// do carries out ops and returns their results, or the one that failed.
func (r *run) do(in api.TxnSection, ops []api.TxnOp) ([]api.TxnOpResult, []api.TxnFailure) {
	results := make([]api.TxnOpResult, 0, len(ops))
	for i := range ops {
		result, code := r.step(&ops[i])
		if code != "" {
			version := r.cluster.items[string(ops[i].Key)].version
			return nil, []api.TxnFailure{{In: in, Index: i, Key: ops[i].Key, Version: version, Code: code}}
		}
		results = append(results, result)
	}
	return results, nil
}

// step carries out op.
func (r *run) step(op *api.TxnOp) (api.TxnOpResult, api.TxnFailureCode) {
	key := string(op.Key)
	old := r.get(key)
	next := r.cluster.revision + 1
	switch op.Kind {
	case api.OpPut:
		ttl := op.TTL
		if op.KeepTTL {
			ttl = old.ttl
		}
		r.changed[key] = item{value: op.Value, contentType: api.TypeOctetStream, version: next, ttl: ttl}
		return api.TxnOpResult{Key: op.Key, Exists: true, Version: next}, ""
	case api.OpDelete:
		r.changed[key] = item{}
		return api.TxnOpResult{Key: op.Key}, ""
	case api.OpAdd:
		value, code := total(old, op)
		if code != "" {
			return api.TxnOpResult{}, code
		}
		r.changed[key] = item{value: value, contentType: api.TypeOctetStream, version: next, ttl: old.ttl}
		return api.TxnOpResult{Key: op.Key, Exists: true, Value: value, Version: next}, ""
	default:
		if old.version == 0 {
			return api.TxnOpResult{Key: op.Key}, ""
		}
		return api.TxnOpResult{Key: op.Key, Exists: true, Value: append([]byte{}, old.value...), Version: old.version}, ""
	}
}

// total is what op makes of old.
func total(old item, op *api.TxnOp) ([]byte, api.TxnFailureCode) {
	n, ok := int64(0), true
	if old.version != 0 {
		n, ok = number(string(old.value))
	}
	sum := n + op.By
	switch {
	case !ok:
		return nil, api.FailedNotANumber
	case op.By > 0 && sum < n, op.By < 0 && sum > n:
		return nil, api.FailedOverflow
	case op.Min != nil && sum < *op.Min, op.Max != nil && sum > *op.Max:
		return nil, api.FailedBound
	}
	return strconv.AppendInt(nil, sum, 10), ""
}

// number reads -?(0|[1-9][0-9]*) in 64 bits.
func number(s string) (int64, bool) {
	digits := strings.TrimPrefix(s, "-")
	if digits == "" || digits[0] < '0' || digits[0] > '9' || digits[0] == '0' && len(digits) > 1 {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

// commit makes what the run has changed the state of the cluster.
func (r *run) commit(id string) {
	c := r.cluster
	if len(r.changed) > 0 {
		c.revision++
	}
	for _, key := range slices.Sorted(maps.Keys(r.changed)) {
		it := r.changed[key]
		_, existed := c.items[key]
		switch {
		case it.version != 0:
			c.items[key] = it
			c.tell(api.EventPut, key, it.value, it.version, id)
		case existed:
			delete(c.items, key)
			c.tell(api.EventDelete, key, nil, c.revision, id)
		}
	}
}

// serveTxnStatus answers GET /v1/txn/{id}.
func (n *Node) serveTxnStatus(w http.ResponseWriter, r *http.Request, id string) {
	c := n.cluster
	c.mu.Lock()
	state, ok := c.txns.states[id]
	c.mu.Unlock()
	if !ok {
		WriteProblem(w, r, api.ErrTxnNotFound)
		return
	}
	w.Header().Set(api.HeaderContentType, api.TypeJSON)
	_ = json.NewEncoder(w).Encode(api.TxnStatus{Txn: id, Status: state})
}
