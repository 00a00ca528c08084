package readindex

import (
	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/ring"
)

// Witness knows the terms of a node's own replicas. It is not safe for concurrent use.
//
// What makes its answers worth something: it is told of a term before anything that a replica sends in it leaves the node,
// a vote above all.
type Witness struct {
	moment Moment
	seats  map[ring.PartitionID]seat
}

type seat struct {
	replica replica.ID
	term    uint64
}

// NewWitness makes a witness without replicas. No two processes of a node may have the same run.
func NewWitness(run uint64) *Witness {
	return &Witness{moment: Moment{Run: run}, seats: make(map[ring.PartitionID]seat)}
}

// Stand tells the term of a replica.
func (w *Witness) Stand(p ring.PartitionID, id replica.ID, term uint64) {
	if s := (seat{id, term}); w.seats[p] != s {
		w.seats[p] = s
		w.moment.Moves++
	}
}

// Leave tells that a group's replica is gone.
func (w *Witness) Leave(p ring.PartitionID) {
	delete(w.seats, p)
	w.moment.Moves++
}

// Answer says what holds now. A replica that does not even know the term is not among those who made its leader one.
func (w *Witness) Answer(q *Question) Answer {
	a := Answer{Number: q.Number, Moment: w.moment}
	for i, c := range q.Claims {
		if w.seats[c.Group] != (seat{c.Replica, c.Term}) {
			a.Denied = append(a.Denied, i)
		}
	}
	return a
}
