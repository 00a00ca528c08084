package meta

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/ring"
)

var (
	// ErrNameTaken is returned when a node asks for the name of another member that is alive.
	ErrNameTaken = errors.New("name is taken")
	// ErrWrongCluster is returned when a node belongs to another cluster.
	ErrWrongCluster = errors.New("node belongs to another cluster")
	// ErrLeft is returned when a node that left asks for something.
	ErrLeft = errors.New("node has left the cluster")
	// ErrUnknownNode is returned when there is no such member.
	ErrUnknownNode = errors.New("no such node")
	// ErrAlive is returned when something is said of an incarnation that only holds of dead ones.
	ErrAlive = errors.New("incarnation is not known to be dead")
	// ErrNoChange is returned when the State is already as asked; nothing needs to be written.
	ErrNoChange = errors.New("nothing to change")
)

// Form is the State of a new cluster with one node. Its replicas all have epoch 1.
func Form(clusterID string, partitions, replicas int, first Node) (*State, error) {
	if _, err := ring.New(partitions); err != nil {
		return nil, err
	}
	if replicas < 1 {
		return nil, fmt.Errorf("replicas is %d, must be at least 1", replicas)
	}
	first.ID, first.State = 1, Active
	first.Meta = replica.MakeID(1, 1)
	s := &State{ClusterID: clusterID, Partitions: partitions, Replicas: replicas, LastNode: 1, Nodes: []Node{first}}
	s.Placement = make([][]replica.ID, partitions)
	return s.place()
}

// Admission is what a node says of itself when it asks to join, or when it starts again with other addresses.
type Admission struct {
	ClusterID string `json:"cluster_id,omitempty"` // "" on a first join
	UUID      string `json:"uuid"`
	Name      string `json:"name"`
	HTTP      string `json:"http"`
	Peer      string `json:"peer"`
	Gossip    string `json:"gossip"`
	Zone      string `json:"zone,omitempty"`
	Weight    uint32 `json:"weight"`
}

// Admit makes a node a member, or takes over the new addresses, zone and weight of one. A name belongs to one member:
// a second node with it is refused while the first is alive; once that is not, the new node takes its place, for a
// machine that comes back with an empty disk is a new node with an old name.
func (s *State) Admit(a Admission, alive func(ring.NodeID) bool) (*State, Node, error) {
	if a.ClusterID != "" && a.ClusterID != s.ClusterID {
		return nil, Node{}, fmt.Errorf("%w: it has cluster id %s, this one is %s; start it with an empty data directory to make it a new node",
			ErrWrongCluster, a.ClusterID, s.ClusterID)
	}
	c := s.clone()
	for i := range c.Nodes {
		n := &c.Nodes[i]
		if n.UUID == a.UUID {
			if n.State == Left {
				return nil, Node{}, fmt.Errorf("%w: node %s (%s); start it with an empty data directory to make it a new node", ErrLeft, n.Name, n.UUID)
			}
			return c.update(i, a)
		}
		if n.Name != a.Name || n.State == Left {
			continue
		}
		if alive(n.ID) {
			return nil, Node{}, fmt.Errorf("%w: node %q (%s) at %s has it and is alive; choose another --name, or stop that node first if this one replaces it",
				ErrNameTaken, n.Name, n.UUID, n.HTTP)
		}
		n.State = Left
	}
	c.LastNode++
	n := Node{ID: c.LastNode, UUID: a.UUID, Name: a.Name, HTTP: a.HTTP, Peer: a.Peer, Gossip: a.Gossip, Zone: a.Zone, Weight: a.Weight, State: Joining}
	n.Meta = replica.MakeID(n.ID, c.Epoch+1)
	c.Nodes = append(c.Nodes, n)
	next, err := c.place()
	return next, n, err
}

func (s *State) update(i int, a Admission) (*State, Node, error) {
	n := s.Nodes[i]
	was := n
	n.HTTP, n.Peer, n.Gossip, n.Zone, n.Weight = a.HTTP, a.Peer, a.Gossip, a.Zone, a.Weight
	if n == was {
		return nil, n, ErrNoChange
	}
	s.Nodes[i] = n
	if n.Zone == was.Zone && n.Weight == was.Weight {
		s.Epoch++
		return s, n, nil
	}
	next, err := s.place()
	return next, n, err
}

// Begin gives a process of a node its incarnation: the next number, which nobody has had before.
func (s *State) Begin(id ring.NodeID, run string) (*State, uint64, error) {
	var given uint64
	c, err := s.change(id, func(n *Node) bool {
		n.Incarnation++
		n.Run = run
		given = n.Incarnation
		return true
	})
	if err != nil {
		return nil, 0, err
	}
	c.Epoch++
	return c, given, nil
}

// SetSwept says that all incarnations of a node below first are forgotten. A member's present one can not be among them;
// of a node that left all can.
func (s *State) SetSwept(id ring.NodeID, first uint64) (*State, error) {
	c := s.clone()
	i := slices.IndexFunc(c.Nodes, func(n Node) bool { return n.ID == id })
	if i < 0 {
		return nil, fmt.Errorf("%w: %d", ErrUnknownNode, id)
	}
	n := &c.Nodes[i]
	alive := n.Incarnation
	if n.State == Left {
		alive++
	}
	switch {
	case first > alive:
		return nil, fmt.Errorf("%w: node %s, %d", ErrAlive, n.Name, first-1)
	case first <= n.Swept:
		return nil, ErrNoChange
	}
	n.Swept = first
	c.Epoch++
	return c, nil
}

// Activate says that a joining node holds everything that it was given.
func (s *State) Activate(id ring.NodeID) (*State, error) {
	c, err := s.change(id, func(n *Node) bool {
		ok := n.State == Joining
		if ok {
			n.State = Active
		}
		return ok
	})
	if err != nil {
		return nil, err
	}
	c.Epoch++
	return c, nil
}

// SetDown says that a node is gone for so long that its replicas are to be placed elsewhere, or that it is back.
func (s *State) SetDown(id ring.NodeID, down bool) (*State, error) {
	c, err := s.change(id, func(n *Node) bool {
		ok := n.Down != down
		n.Down = down
		return ok
	})
	if err != nil {
		return nil, err
	}
	return c.place()
}

// change is a copy of s in which fn has changed one member; the caller sees to the epoch.
func (s *State) change(id ring.NodeID, fn func(*Node) bool) (*State, error) {
	c := s.clone()
	i := slices.IndexFunc(c.Nodes, func(n Node) bool { return n.ID == id })
	switch {
	case i < 0:
		return nil, fmt.Errorf("%w: %d", ErrUnknownNode, id)
	case c.Nodes[i].State == Left:
		return nil, fmt.Errorf("%w: node %s", ErrLeft, c.Nodes[i].Name)
	case !fn(&c.Nodes[i]):
		return nil, ErrNoChange
	}
	return c, nil
}

// place gives every partition its replicas anew, moving as little as the members allow. Replicas that stay keep their
// IDs; those that are added get the new epoch.
func (s *State) place() (*State, error) {
	s.Epoch++
	prev := ring.Placement{Replicas: make([][]ring.NodeID, s.Partitions)}
	for p, ids := range s.Placement {
		for _, id := range ids {
			prev.Replicas[p] = append(prev.Replicas[p], id.Node())
		}
	}
	next, err := ring.Place(s.Partitions, s.Replicas, s.ringMembers(), prev)
	if err != nil {
		return nil, fmt.Errorf("place replicas: %w", err)
	}
	for p, nodes := range next.Replicas {
		ids := make([]replica.ID, len(nodes))
		for i, n := range nodes {
			ids[i] = s.keepID(p, n)
		}
		s.Placement[p] = ids
	}
	s.placeMeta()
	return s, nil
}

func (s *State) keepID(p int, n ring.NodeID) replica.ID {
	for _, id := range s.Placement[p] {
		if id.Node() == n {
			return id
		}
	}
	return replica.MakeID(n, s.Epoch)
}

// ringMembers are those who may hold replicas. Nodes that are down keep their places while too few others are left to
// hold N replicas: taking a copy off the record helps nobody.
func (s *State) ringMembers() []ring.Member {
	up := 0
	for _, n := range s.Nodes {
		if n.State != Left && n.State != Draining && !n.Down {
			up++
		}
	}
	var out []ring.Member
	for _, n := range s.Nodes {
		if n.State == Left {
			continue
		}
		m := ring.Member{ID: n.ID, Zone: n.Zone, Weight: n.Weight}
		if n.State == Draining || n.Down && up >= s.Replicas {
			m.Weight = 0
		}
		out = append(out, m)
	}
	return out
}

// placeMeta keeps the metadata group's voters where they are while they can serve, and fills up with the oldest nodes.
func (s *State) placeMeta() {
	usable := func(n Node) bool { return n.State == Active || n.State == Joining }
	var up, down []replica.ID
	for _, n := range s.Nodes {
		switch {
		case !usable(n):
		case n.Down:
			down = append(down, n.Meta)
		default:
			up = append(up, n.Meta)
		}
	}
	rank := func(id replica.ID) int {
		switch {
		case slices.Contains(up, id) && slices.Contains(s.MetaVoters, id):
			return 0
		case slices.Contains(up, id):
			return 1
		}
		return 2
	}
	all := slices.Concat(up, down)
	slices.SortStableFunc(all, func(a, b replica.ID) int { return rank(a) - rank(b) })
	s.MetaVoters = all[:min(len(all), s.Replicas)]
}
