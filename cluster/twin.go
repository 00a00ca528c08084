package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/ringkv/ringkv/cluster/meta"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// Two processes with copies of one data directory are twins: each breaks the promises that the other made. Nobody can
// see that in its own directory, so a node looks for a twin where it was last (refuseTwin, checkTwin), the others refuse
// the streams of a second process while the first one's live (onTwin), and of two that got past that the one whose number
// is lower stops (checkLife).

const (
	selfPath     = "/peer/v1/self"
	selfTimeout  = time.Second
	maxSelfBytes = 4 << 10
	// twinPatience is for how long a stream may be refused on account of our former self, whose end a peer notices
	// within three seconds.
	twinPatience = 6 * time.Second
)

// self is who answers on a peer port.
type self struct {
	UUID string `json:"uuid"`
	Run  string `json:"run"`
}

func (n *Node) handleSelf() {
	n.peers.Handle("GET "+selfPath, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(self{UUID: n.identity.Load().UUID, Run: n.life.run}) // who asks asks again
	}))
}

func (n *Node) twinError(what string) error {
	id := n.identity.Load()
	return fmt.Errorf("%w: node %s (%s): %s, while this process runs from %s; was the data directory copied? Stop one of the two for good: "+
		"for a further node start with an empty directory", ErrTwin, id.Name, id.UUID, what, n.cfg.DataDir)
}

// refuseTwin looks for a twin where this node was when it last heard of itself, before it says or promises anything.
func (n *Node) refuseTwin() error {
	if !n.identity.Load().member() {
		return nil
	}
	v := n.engine.View()
	defer v.Close()
	item, err := storage.Get(v, storage.MetaPartition, []byte(meta.Key))
	if errors.Is(err, storage.ErrNotFound) {
		return nil // it was admitted and has heard nothing since
	}
	if err != nil {
		return fmt.Errorf("read cluster state: %w", err)
	}
	s, err := meta.Decode(item.Value)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(n.ctx, selfTimeout)
	defer cancel()
	return n.checkTwin(ctx, s)
}

// checkTwin asks who is where s says that this node is. Nobody there, or another node, is fine.
func (n *Node) checkTwin(ctx context.Context, s *meta.State) error {
	id := n.identity.Load()
	me, ok := s.Member(id.UUID)
	if !ok || me.Peer == n.peerAddr() {
		return nil
	}
	if who, err := n.askSelf(ctx, me.Peer); err == nil && who.UUID == id.UUID && who.Run != n.life.run {
		return n.twinError("it runs already, at " + me.Peer)
	}
	return nil
}

func (n *Node) askSelf(ctx context.Context, peer string) (who self, err error) {
	ctx, cancel := context.WithTimeout(ctx, selfTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+peer+selfPath, nil)
	if err != nil {
		return self{}, err
	}
	resp, err := n.peers.Client().Do(req)
	if err != nil {
		return self{}, err
	}
	defer resp.Body.Close()
	return who, json.NewDecoder(io.LimitReader(resp.Body, maxSelfBytes)).Decode(&who)
}

// twins is since when peers refuse our streams because of another process with our identity.
type twins struct {
	mu    sync.Mutex
	since map[ring.NodeID]time.Time
}

// refusedFor notes a refusal and returns for how long the peer has refused.
func (t *twins) refusedFor(id ring.NodeID) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.since == nil {
		t.since = make(map[ring.NodeID]time.Time)
	}
	if _, ok := t.since[id]; !ok {
		t.since[id] = time.Now()
	}
	return time.Since(t.since[id])
}

func (t *twins) forget(id ring.NodeID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.since, id)
}

// onTwin is the transport telling that a peer has a stream of another process with our identity.
func (n *Node) onTwin(id ring.NodeID) {
	if n.twins.refusedFor(id) > twinPatience {
		n.fail(n.twinError(fmt.Sprintf("another process runs as it and is connected to node %d", id)))
	}
}
