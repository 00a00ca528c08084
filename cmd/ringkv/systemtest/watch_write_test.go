package systemtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/api/client"
	"github.com/ringkv/ringkv/ring"
)

// scribe is a writer with keys of its own, to which it does one thing at a time.
type scribe struct {
	f      *fleet
	prefix string
	deeds  *deeds
	rng    *rand.Rand
	c      *client.Client
	hasty  bool           // gives a write up soon, and knows little of what became of it
	n      int            // writes so far: every value is another
	lost   map[string]int // of each of its places, how many keys had an unknown outcome and are left alone
	last   map[string]api.Version
	counts *writeCounts
}

// writeCounts counts what all scribes did.
type writeCounts struct {
	done, undone, unknown, expiring, txns atomic.Int64
}

func newScribe(f *fleet, id int, ds *deeds, counts *writeCounts) *scribe {
	f.t.Helper()
	var nodes []string
	for _, p := range f.nodes {
		nodes = append(nodes, p.http)
	}
	c, err := client.New(client.Config{Nodes: nodes, WriteTimeout: 6 * time.Second})
	if err != nil {
		f.t.Fatal(err)
	}
	return &scribe{
		f: f, hasty: id == 0, prefix: fmt.Sprintf("w/%d/", id), deeds: ds, rng: rand.New(rand.NewPCG(uint64(id), 3)), c: c,
		lost: make(map[string]int), last: make(map[string]api.Version), counts: counts,
	}
}

// run writes until ctx ends.
func (s *scribe) run(ctx context.Context) {
	for ctx.Err() == nil {
		switch s.rng.IntN(10) {
		case 0, 1, 2:
			s.plain(ctx)
		case 3, 4:
			s.conditional(ctx)
		case 5, 6, 7:
			s.brief(ctx)
		default:
			s.transact(ctx)
		}
		s.wait(ctx, 20*time.Millisecond)
	}
}

// wait lasts up to d.
func (s *scribe) wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(rand.N(d)):
	case <-ctx.Done():
	}
}

// key is the one at a place that is in use.
func (s *scribe) key(place string, i int) string {
	place = fmt.Sprintf("%s%s/%d", s.prefix, place, i)
	return fmt.Sprintf("%s.%d", place, s.lost[place])
}

// plain puts or deletes a key whatever it holds, sometimes a value that is too long for the history.
func (s *scribe) plain(ctx context.Context) {
	key := s.key("plain", s.rng.IntN(30))
	switch s.rng.IntN(20) {
	case 0:
		s.put(ctx, key, &deed{large: true})
	case 1, 2, 3, 4, 5:
		s.remove(ctx, key, eitherWay)
	default:
		s.put(ctx, key, &deed{})
	}
}

// conditional writes under a condition that may or may not hold.
func (s *scribe) conditional(ctx context.Context) {
	key := s.key("cond", s.rng.IntN(20))
	version := s.last[key]
	if s.rng.IntN(8) == 0 {
		version += 1000 // which it does not have
	}
	switch {
	case version == 0 || s.rng.IntN(8) == 0:
		s.put(ctx, key, &deed{found: absent}, client.IfAbsent())
	case s.rng.IntN(3) == 0:
		s.remove(ctx, key, present, client.IfMatch(version))
	default:
		s.put(ctx, key, &deed{found: present}, client.IfMatch(version))
	}
}

// brief writes a key that lives for a moment, and writes it again about when that is over.
func (s *scribe) brief(ctx context.Context) {
	i := s.rng.IntN(200)
	key := s.key("brief", i)
	ttl := time.Duration(1+s.rng.IntN(80)) * time.Millisecond
	s.put(ctx, key, &deed{ttl: true}, client.TTL(ttl))
	if s.rng.IntN(3) > 0 {
		s.wait(ctx, 3*ttl)
	}
	if key = s.key("brief", i); s.rng.IntN(3) == 0 {
		return
	}
	version := s.last[key]
	switch s.rng.IntN(7) {
	case 0:
		s.remove(ctx, key, eitherWay)
	case 1:
		s.remove(ctx, key, present, client.IfMatch(version))
	case 2:
		s.put(ctx, key, &deed{found: present, keepTTL: true}, client.IfMatch(version), client.KeepTTL())
	case 3:
		s.put(ctx, key, &deed{keepTTL: true}, client.KeepTTL())
	case 4:
		s.put(ctx, key, &deed{found: absent, ttl: true}, client.IfAbsent(), client.TTL(ttl))
	case 5:
		s.put(ctx, key, &deed{ttl: true}, client.TTL(ttl))
	default:
		s.put(ctx, key, &deed{})
	}
}

func (s *scribe) value() string {
	s.n++
	return fmt.Sprintf("%s%d", s.prefix, s.n)
}

// largePadding makes a value longer than what nodes remember of one.
var largePadding = strings.Repeat(" ", 70<<10)

func (s *scribe) put(ctx context.Context, key string, d *deed, opts ...client.PutOption) {
	d.value = s.value()
	value := d.value
	if d.large {
		value += largePadding
	}
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	res, err := s.c.Put(ctx, key, []byte(value), opts...)
	if d.version = uint64(res.Version); err == nil {
		if d.found = present; res.Created {
			d.found = absent
		}
	}
	s.settle(key, d, err)
}

func (s *scribe) remove(ctx context.Context, key string, found presence, opts ...client.DeleteOption) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	s.settle(key, &deed{remove: true, found: found}, s.c.Delete(ctx, key, opts...))
}

// bounded lets a write that has begun come to its end, however slow the cluster is at the moment.
func (s *scribe) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx = context.WithoutCancel(ctx)
	if s.hasty {
		return context.WithTimeout(ctx, 150*time.Millisecond)
	}
	return ctx, func() {}
}

// settle records what became of a deed.
func (s *scribe) settle(key string, d *deed, err error) {
	d.fate = s.fate(err)
	s.last[key] = api.Version(d.version)
	if d.fate == undone && errors.Is(err, client.ErrConditionFailed) {
		s.learn(key, err)
	}
	if d.ttl || d.keepTTL {
		s.counts.expiring.Add(1)
	}
	s.deeds.add(key, d)
	if d.fate == unknown {
		place, _, _ := strings.Cut(key, ".")
		s.lost[place]++
	}
}

// learn takes in what a refusal says of the key.
func (s *scribe) learn(key string, err error) {
	var failed *api.ConditionError
	if errors.As(err, &failed) {
		s.last[key] = failed.Version
	}
}

func (s *scribe) fate(err error) fate {
	var failed *client.Error
	switch {
	case err == nil:
		s.counts.done.Add(1)
		return done
	case errors.As(err, &failed) && failed.Outcome == api.Aborted:
		s.counts.undone.Add(1)
		return undone
	case !errors.Is(err, client.ErrUnknownOutcome):
		s.f.t.Errorf("a write that neither succeeds nor says what became of it: %v", err)
	}
	s.counts.unknown.Add(1)
	return unknown
}

// transact changes some keys in one transaction, in one partition or in many.
func (s *scribe) transact(ctx context.Context) {
	protocols := []api.TxnProtocol{api.ProtocolAuto, api.ProtocolAuto, api.Protocol2PC, api.Protocol3PC}
	opts := []client.TxnOption{client.Protocol(protocols[s.rng.IntN(len(protocols))])}
	if s.rng.IntN(3) == 0 {
		opts = append(opts, client.ExactlyOnce())
	}
	tx, t := client.NewTxn(opts...), &transaction{}
	place := "txn"
	if s.rng.IntN(2) == 0 {
		place = "txn{" + s.prefix + "}"
	}
	var keys []string
	var ds []*deed
	for _, i := range s.rng.Perm(24)[:1+s.rng.IntN(5)] {
		key := s.key(place, i)
		d := &deed{txn: t, remove: s.rng.IntN(4) == 0, ttl: s.rng.IntN(4) == 0}
		keys, ds = append(keys, key), append(ds, d)
		s.operation(tx, key, d)
	}
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	res, err := s.c.Transact(ctx, tx)
	if err == nil {
		s.counts.txns.Add(1)
		t.id = res.ID
	}
	for i, d := range ds {
		if err == nil && i < len(res.Results) {
			d.version = uint64(res.Results[i].Version)
		}
		s.settle(keys[i], d, err)
	}
}

func (s *scribe) operation(tx *client.Txn, key string, d *deed) {
	if d.remove {
		d.ttl = false
		tx.Delete(key)
		return
	}
	d.value = s.value()
	d.txn.puts = append(d.txn.puts, key)
	if d.ttl {
		tx.Put(key, []byte(d.value), client.TTL(time.Duration(1+s.rng.IntN(300))*time.Millisecond))
		return
	}
	tx.Put(key, []byte(d.value))
}

// sign writes a key into every partition, behind everything that this scribe did before. Where the cluster does not manage
// that in time it is another key's turn: a busy machine may stand still for longer than a client waits.
func (s *scribe) sign(ctx context.Context, r *ring.Ring) error {
	s.hasty = false
	begun := time.Now()
	signed := make(map[ring.PartitionID]bool)
	for i := 0; len(signed) < r.Partitions(); i++ {
		key := fmt.Sprintf("%send/%d", s.prefix, i)
		p := r.Partition([]byte(key))
		if signed[p] {
			continue
		}
		d := &deed{}
		s.put(ctx, key, d)
		if signed[p] = d.fate == done; !signed[p] && time.Since(begun) > patience {
			return fmt.Errorf("the last write to partition %d: %v", p, d)
		}
	}
	return nil
}
