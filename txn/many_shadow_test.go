package txn_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/storage/memdb"
)

// shadow is real participants in lockstep with the model: each gets the same commands and must give the same replies,
// through its codecs, also after it was opened anew.
type shadow struct {
	engine storage.Engine
	groups map[storage.PartitionID]*storage.Partition
	index  map[storage.PartitionID]uint64
}

func newShadow(groups []*modelGroup) (*shadow, error) {
	s := &shadow{
		engine: memdb.New(),
		groups: map[storage.PartitionID]*storage.Partition{},
		index:  map[storage.PartitionID]uint64{},
	}
	for _, g := range groups {
		if err := s.restart(g.id); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *shadow) restart(g storage.PartitionID) error {
	v := s.engine.View()
	defer v.Close()
	p, err := storage.OpenPartition(v, g)
	s.groups[g] = p
	return err
}

// do applies one command.
func (s *shadow) do(g storage.PartitionID, c *storage.Command) (storage.Result, error) {
	b := s.engine.Batch()
	defer b.Discard()
	data := storage.AppendCommand(nil, c)
	cost := s.groups[g].ApplyCost(data)
	s.index[g]++
	res, err := s.groups[g].Apply(b, s.index[g], 1, data)
	res = res.Clone()
	if err != nil {
		return res, err
	}
	if b.Size() > cost {
		return res, fmt.Errorf("cost is %d, not %d", b.Size(), cost)
	}
	if err := s.groups[g].Flush(b); err != nil {
		return res, err
	}
	if err := b.Commit(); err != nil {
		return res, err
	}
	return storage.DecodeResult(storage.AppendResult(nil, res))
}

func (s *shadow) apply(g storage.PartitionID, c *storage.Command, want *storage.TxnReply) error {
	res, err := s.do(g, c)
	if err != nil {
		return err
	}
	if res.Txn == nil {
		return fmt.Errorf("group %d: %s has status %v", g, kindString(c.Kind), res.Status)
	}
	if is, should := essence(res.Txn), essence(want); is != should {
		return fmt.Errorf("group %d answers %s of %v with\n%s, the model with\n%s", g, kindString(c.Kind), c.Txn.ID, is, should)
	}
	return nil
}

func (s *shadow) put(g storage.PartitionID, key, value string, want storage.Version, held bool, version storage.Version) error {
	c := &storage.Command{Kind: storage.KindPut, Key: []byte(key), Value: []byte(value)}
	if c.Cond.IfMatch = []storage.Version{want}; want == 0 {
		c.Cond = storage.Condition{IfNoneMatchAny: true}
	}
	res, err := s.do(g, c)
	if err == nil && (held != (res.Status == storage.StatusBlocked) || res.Version != version) {
		err = fmt.Errorf("group %d answers PUT %s with %v@%d, the model with held=%t@%d", g, key, res.Status, res.Version, held, version)
	}
	return err
}

// check compares what is left: who is in doubt, and every item.
func (s *shadow) check(g *modelGroup) error {
	var open, want []string
	for _, o := range s.groups[g.id].Open() {
		open = append(open, o.ID.String())
	}
	for t, r := range g.recs {
		if r.state == storage.TxnYes {
			want = append(want, t.String())
		}
	}
	slices.Sort(open)
	slices.Sort(want)
	if !slices.Equal(open, want) {
		return fmt.Errorf("group %d: %v are open, in the model %v", g.id, open, want)
	}
	v := s.engine.View()
	defer v.Close()
	keys := slices.Sorted(maps.Keys(g.items))
	for _, key := range keys {
		it, err := storage.Get(v, g.id, []byte(key))
		if err != nil {
			return err
		}
		if string(it.Value) != g.items[key].value || it.Version != g.items[key].version {
			return fmt.Errorf("group %d: %s is %q@%d, in the model %v", g.id, key, it.Value, it.Version, g.items[key])
		}
	}
	return storage.Verify(v, g.id)
}

// essence is what must be the same in two replies.
func essence(r *storage.TxnReply) string {
	var b strings.Builder
	b.WriteString(replyString(r))
	fmt.Fprintf(&b, " superseded=%t ballot=%v accepted=%v", r.Superseded, r.Ballot, r.AcceptedAt)
	if r.Holder != nil && r.Reason == storage.TokenBusy {
		fmt.Fprintf(&b, " holder=%v", r.Holder.ID)
	}
	if r.Answer != nil {
		fmt.Fprintf(&b, " answer=%x", r.Answer)
	}
	for _, o := range r.Open {
		fmt.Fprintf(&b, " open=%v(%d,%d of %v,%s)", o.ID, o.Attempt, o.Home, o.Participants, decisionString(o.Decision))
	}
	if v := r.Vote; v != nil {
		fmt.Fprintf(&b, " if=%v else=%t token=%t", v.If, v.HasElse, v.Token)
		if r.Kind != storage.ReplyCommitted || r.Decision == storage.DecideThen {
			b.WriteString(resultsString("then", v.Then.Results))
		}
		if r.Kind != storage.ReplyCommitted || r.Decision == storage.DecideElse {
			b.WriteString(resultsString("else", v.Else.Results))
		}
	}
	return b.String()
}

func resultsString(branch string, results []storage.OpResult) string {
	var b strings.Builder
	fmt.Fprintf(&b, " %s=", branch)
	for _, r := range results {
		fmt.Fprintf(&b, "[%d %d %t %q@%d]", r.Index, r.Kind, r.Exists, r.Value, r.Version)
	}
	return b.String()
}
