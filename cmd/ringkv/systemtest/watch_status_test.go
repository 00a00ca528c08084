package systemtest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
)

// observer counts, from what the nodes say of themselves, how often leaders changed and replicas moved.
type observer struct {
	f *fleet

	mu            sync.Mutex // guards what follows
	leaders       map[string]reign
	holders       map[holder]bool
	lives         map[string]int // of each node, how often its disk was emptied
	leaderChanges int
	moves         int
}

// reign is the newest leader of a partition that was seen.
type reign struct {
	term uint64
	node string
}

// holder is a node with a full replica of a partition.
type holder struct {
	node      string
	life      int
	partition string
}

func newObserver(f *fleet) *observer {
	return &observer{f: f, leaders: make(map[string]reign), holders: make(map[holder]bool), lives: make(map[string]int)}
}

// begin takes in how things stand. What is seen later counts.
func (o *observer) begin() {
	o.look()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.leaderChanges, o.moves = 0, 0
}

// run looks at all nodes again and again until ctx ends.
func (o *observer) run(ctx context.Context) {
	for ctx.Err() == nil {
		o.look()
		select {
		case <-time.After(250 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

func (o *observer) look() {
	for _, p := range o.f.nodes {
		o.mu.Lock()
		life := o.lives[p.name]
		o.mu.Unlock()
		roles, terms := replicasOf(p.metrics())
		o.take(p.name, life, roles, terms)
	}
}

// replicasOf reads from a node's metrics the role and the term of each of its replicas.
func replicasOf(metrics string) (roles map[string]string, terms map[string]uint64) {
	roles, terms = make(map[string]string), make(map[string]uint64)
	for line := range strings.Lines(metrics) {
		var partition, role string
		var term float64
		labels, ok := strings.CutPrefix(line, "ringkv_partition_")
		switch {
		case !ok:
		case strings.HasPrefix(labels, "role{"):
			if _, err := fmt.Sscanf(labels, "role{partition=%q,role=%q} 1", &partition, &role); err == nil {
				roles[partition] = role
			}
		case strings.HasPrefix(labels, "term{"):
			if _, err := fmt.Sscanf(labels, "term{partition=%q} %g", &partition, &term); err == nil {
				terms[partition] = uint64(term)
			}
		}
	}
	return roles, terms
}

func (o *observer) take(node string, life int, roles map[string]string, terms map[string]uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if life != o.lives[node] {
		return // from before its disk was emptied
	}
	for partition, role := range roles {
		if role == "leader" {
			o.leads(partition, reign{terms[partition], node})
		}
		if h := (holder{node, life, partition}); role != "learner" && !o.holders[h] {
			o.holders[h] = true
			o.moves++
		}
	}
}

// leads takes in who leads. Nodes that slept may say what is over.
func (o *observer) leads(partition string, now reign) {
	was := o.leaders[partition]
	if now.term <= was.term {
		return
	}
	if was.node != "" && was.node != now.node {
		o.leaderChanges++
	}
	o.leaders[partition] = now
}

// emptied tells that a node lost its disk, and is dead.
func (o *observer) emptied(node string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lives[node]++
}

func (o *observer) counts() (leaderChanges, moves int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.leaderChanges, o.moves
}
