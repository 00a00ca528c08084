package api

import "github.com/ringkv/ringkv/ring"

// NodeState is where a node stands in its life in the cluster.
type NodeState string

// The states of a node.
const (
	NodeJoining  NodeState = "joining"
	NodeActive   NodeState = "active"
	NodeDraining NodeState = "draining"
	NodeLeft     NodeState = "left"
)

// Cluster is the body of GET /v1/cluster.
type Cluster struct {
	ClusterID   string `json:"cluster_id"`
	Epoch       uint64 `json:"epoch"`       // of the metadata that this node knows
	Partitions  int    `json:"partitions"`  // how many there are
	Replication int    `json:"replication"` // replicas wanted of each
	Nodes       []Node `json:"nodes"`       // in order of name
}

// Node is one member of the cluster.
type Node struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	State    NodeState `json:"state"`
	Alive    bool      `json:"alive"` // as gossip hears it
	HTTP     string    `json:"http"`  // host:port of its client API
	Zone     string    `json:"zone"`
	Weight   int       `json:"weight"`
	Replicas int       `json:"replicas"` // that it holds
	Leaders  int       `json:"leaders"`  // of those, that it leads
}

// HashXXH64 is the only value of Ring.Hash so far.
const HashXXH64 = "xxh64"

// Ring is the body of GET /v1/ring. Nodes stand in it by name.
type Ring struct {
	Epoch      uint64      `json:"epoch"`
	Hash       string      `json:"hash"`
	Partitions []Partition `json:"partitions"` // in order of id
}

// Partition is where one partition lives.
type Partition struct {
	ID       PartitionID `json:"id"`
	Replicas []string    `json:"replicas"`
	Leader   string      `json:"leader"` // "" while none is known
}

// PartitionID names a partition: 0 to the number of partitions less one.
type PartitionID = ring.PartitionID

// Location is the body of GET /v1/ring/locate.
type Location struct {
	Key       []byte // as key or key_b64
	Partition PartitionID
	Replicas  []string
	Leader    string // "" while none is known
}
