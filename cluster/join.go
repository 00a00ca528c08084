package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/ringkv/ringkv/cluster/gossip"
	"github.com/ringkv/ringkv/cluster/meta"
	"github.com/ringkv/ringkv/cluster/worker"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

const (
	joinPath    = "/peer/v1/join"
	joinTimeout = 5 * time.Second
	joinPause   = 500 * time.Millisecond
	joinQuiet   = 3 * time.Second  // before it is worth a word
	joinRepeat  = 15 * time.Second // between two words
	// joinPatience is for how long a refusal is asked about again: a machine that comes back with an empty disk
	// is refused its old name until the others have noticed that its former self is gone.
	joinPatience = 30 * time.Second
	maxJoinBytes = 1 << 20
)

// joinAnswer is what a node that was admitted needs to begin.
type joinAnswer struct {
	ClusterID string      `json:"cluster_id"`
	Node      ring.NodeID `json:"node"`
	State     *meta.State `json:"state"`
}

func newClusterID() string { return uuid.NewString() }

// openGossip begins to look for other nodes and to be seen by them.
func (n *Node) openGossip() error {
	g, err := gossip.Start(gossip.Config{
		Bind:       n.cfg.Gossip,
		Advertise:  n.cfg.Advertise,
		Join:       n.cfg.Join,
		KnownAddrs: n.knownAddrs,
		Meta:       n.gossipMeta,
		Logger:     n.logger,
	})
	if err != nil {
		return fmt.Errorf("listen for gossip (--gossip): %w", err)
	}
	n.gossip = g
	return nil
}

// knownAddrs are the gossip addresses of all members, for finding them again after everybody was away.
func (n *Node) knownAddrs() []string {
	s := n.routes.state.Load()
	if s == nil {
		return nil
	}
	var out []string
	for _, m := range s.Present() {
		if m.ID != n.self() {
			out = append(out, m.Gossip)
		}
	}
	return out
}

func (n *Node) gossipMeta() gossip.Meta {
	id := n.identity.Load()
	m := gossip.Meta{Node: id.Node, Crowded: n.disk.space() > worker.Roomy, HTTP: n.cfg.reachableHTTP(), Peer: n.peerAddr(), Name: id.Name}
	m.UUID = parseUUID(id.UUID)
	if id.ClusterID != "" {
		m.Cluster = parseUUID(id.ClusterID)
	}
	if s := n.routes.state.Load(); s != nil {
		m.Epoch = uint64(s.Epoch)
	}
	return m
}

func parseUUID(s string) [16]byte {
	id, err := uuid.Parse(s)
	if err != nil {
		return [16]byte{} // written by us; a damaged one matches no cluster
	}
	return id
}

func (n *Node) peerAddr() string { return n.cfg.reachable(n.peers.Addr().String()) }

func (n *Node) admission() meta.Admission {
	id := n.identity.Load()
	return meta.Admission{
		ClusterID: id.ClusterID, UUID: id.UUID, Name: id.Name,
		HTTP: n.cfg.reachableHTTP(), Peer: n.peerAddr(), Gossip: n.gossip.Addr(),
		Zone: n.cfg.Zone, Weight: n.cfg.Weight,
	}
}

// join asks any member to be admitted until one says yes. A refusal that lasts is final.
func (n *Node) join(ctx context.Context) error {
	var refusedSince, said time.Time
	begun := time.Now()
	for {
		var refused *refusal
		answer, err := n.askAll(ctx)
		switch {
		case err == nil:
			return n.become(answer)
		case ctx.Err() != nil:
			return nil //nolint:nilerr // the node stops; that is no failure to join
		case !errors.As(err, &refused):
			refusedSince = time.Time{}
		case refusedSince.IsZero():
			refusedSince = time.Now()
		case time.Since(refusedSince) > joinPatience:
			return fmt.Errorf("join cluster: %w", err)
		}
		if time.Since(begun) > joinQuiet && time.Since(said) > joinRepeat {
			n.logger.Warn("still not admitted: --join must name the gossip address (port 7946 by default) of any running member",
				"join", n.cfg.Join, "reason", err)
			said = time.Now()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(joinPause):
		}
	}
}

// refusal is a member's final no.
type refusal struct{ reason string }

func (e *refusal) Error() string { return "refused: " + e.reason }

func (n *Node) askAll(ctx context.Context) (joinAnswer, error) {
	err := errors.New("no member of a cluster found by gossip")
	for _, m := range n.gossip.Members() {
		if !m.Alive || m.Node == 0 || m.Peer == "" || m.Peer == n.peerAddr() { // our own address: our former self's
			continue
		}
		var answer joinAnswer
		if answer, err = n.askJoin(ctx, m.Peer); err == nil {
			return answer, nil
		}
	}
	return joinAnswer{}, err
}

func (n *Node) askJoin(ctx context.Context, peer string) (joinAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	body, err := json.Marshal(n.admission())
	if err != nil {
		return joinAnswer{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+peer+joinPath, bytes.NewReader(body))
	if err != nil {
		return joinAnswer{}, err
	}
	resp, err := n.peers.Client().Do(req)
	if err != nil {
		return joinAnswer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxJoinBytes))
	if err != nil {
		return joinAnswer{}, err
	}
	switch resp.StatusCode {
	case http.StatusOK:
		var a joinAnswer
		if err := json.Unmarshal(b, &a); err != nil || a.Node == 0 || a.State == nil {
			return joinAnswer{}, fmt.Errorf("%s: unreadable answer (%v)", peer, err)
		}
		return a, nil
	case http.StatusConflict:
		return joinAnswer{}, &refusal{string(bytes.TrimSpace(b))}
	}
	return joinAnswer{}, fmt.Errorf("%s: %s: %s", peer, resp.Status, bytes.TrimSpace(b))
}

// become makes this node the member that it was admitted as.
func (n *Node) become(a joinAnswer) error {
	id := *n.identity.Load()
	id.ClusterID, id.Node = a.ClusterID, a.Node
	if err := id.save(n.cfg.DataDir); err != nil {
		return err
	}
	n.identity.Store(&id)
	n.logger.Info("joined cluster", "cluster", id.ClusterID, "node", id.Node)
	if err := n.gossip.UpdateMeta(); err != nil {
		return err
	}
	n.onState(a.State)
	return n.serve()
}

// findMembers takes the members' addresses from gossip, for a node that stopped after it was admitted and before it
// had the cluster's description.
func (n *Node) findMembers() {
	addrs := make(map[ring.NodeID]string)
	for _, m := range n.gossip.Members() {
		if m.Node != 0 && m.Peer != "" {
			addrs[m.Node] = m.Peer
		}
	}
	n.peers.SetPeers(addrs)
}

// handleJoin admits nodes that ask on the peer port.
func (n *Node) handleJoin() {
	n.peers.Handle("POST "+joinPath, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var a meta.Admission
		d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxJoinBytes))
		d.DisallowUnknownFields()
		if err := d.Decode(&a); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), joinTimeout)
		defer cancel()
		answer, err := n.admit(ctx, a)
		switch {
		case errors.Is(err, meta.ErrNameTaken), errors.Is(err, meta.ErrWrongCluster), errors.Is(err, meta.ErrLeft):
			http.Error(w, err.Error(), http.StatusConflict)
		case err != nil:
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		default:
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(answer) // the node asks again if this is lost
		}
	}))
}

func (n *Node) admit(ctx context.Context, a meta.Admission) (joinAnswer, error) {
	var node meta.Node
	s, err := n.changeState(ctx, func(s *meta.State) (next *meta.State, err error) {
		next, node, err = s.Admit(a, n.alive)
		return next, err
	})
	if err != nil {
		return joinAnswer{}, err
	}
	return joinAnswer{ClusterID: s.ClusterID, Node: node.ID, State: s}, nil
}

// silence is for how long there must be no stream to a node before it counts as gone although gossip has not noticed.
const silence = 3 * time.Second

// alive reports whether a member seems alive: gossip believes so, and it can be reached or has only just been lost.
func (n *Node) alive(id ring.NodeID) bool {
	if id == n.self() {
		return true
	}
	for _, p := range n.peers.Peers() {
		if p.ID == id && !p.Connected && time.Since(p.Since) > silence {
			return false
		}
	}
	for _, m := range n.gossip.Members() {
		if m.Node == id && m.Alive {
			return true
		}
	}
	return false
}

// changeState changes the cluster's description by compare-and-set, from any node. It returns the State in force
// afterwards; fn may run several times, and meta.ErrNoChange of it counts as success.
func (n *Node) changeState(ctx context.Context, fn func(*meta.State) (*meta.State, error)) (*meta.State, error) {
	for {
		s, version, err := n.readState(ctx)
		if err != nil {
			return nil, err
		}
		next, err := fn(s)
		if errors.Is(err, meta.ErrNoChange) {
			return s, nil
		}
		if err != nil {
			return nil, err
		}
		b, err := next.Encode()
		if err != nil {
			return nil, err
		}
		put := Write{Key: []byte(meta.Key), Value: b, Cond: storage.Condition{IfMatch: []storage.Version{version}}}
		res, err := n.write(ctx, storage.MetaPartition, &put)
		switch {
		case err != nil:
			return nil, fmt.Errorf("change cluster state: %w", err)
		case res.Status == storage.StatusReplaced:
			return next, nil
		case res.Status != storage.StatusConditionFailed:
			return nil, fmt.Errorf("change cluster state: unexpected result %v", res.Status)
		}
	}
}

// readState reads the cluster's description as it is now, not as this node has last heard.
func (n *Node) readState(ctx context.Context) (*meta.State, storage.Version, error) {
	it, err := n.getFrom(ctx, storage.MetaPartition, []byte(meta.Key), false)
	if err != nil {
		return nil, 0, fmt.Errorf("read cluster state: %w", err)
	}
	s, err := meta.Decode(it.Value)
	return s, it.Version, err
}
