package replica

import (
	"fmt"

	"github.com/ringkv/ringkv/ring"
)

// ID names one replica of one group for ever. The upper half is the node, the lower half the metadata epoch at which
// the replica was placed there, so a replica that was removed and placed again has a new, larger ID and no message or
// vote of its former life can be taken for its own.
type ID uint64

// MakeID returns the ID of a replica placed on node at the given metadata epoch.
func MakeID(node ring.NodeID, epoch uint32) ID { return ID(uint64(node)<<32 | uint64(epoch)) }

// Node is the node that the replica lives on.
func (id ID) Node() ring.NodeID { return ring.NodeID(id >> 32) }

func (id ID) String() string { return fmt.Sprintf("%d.%d", uint32(id>>32), uint32(id)) }
