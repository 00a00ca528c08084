package gossip

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/hashicorp/memberlist"

	"github.com/ringkv/ringkv/ring"
)

// Meta is what a node tells the others about itself. Its encoding fits 512 bytes, of which 51 are fixed.
type Meta struct {
	Cluster [16]byte    // zero: belongs to none yet
	UUID    [16]byte    // the node's identity; never zero
	Node    ring.NodeID // 0: has no number yet
	Epoch   uint64      // of the metadata that the node has applied
	HTTP    string      // host:port of its API
	Peer    string      // host:port of its peer port
	Name    string
	Crowded bool // its disk is nearly full: it should lead nothing that others can lead
}

// metaVersion is the first byte of the encoding.
const metaVersion = 1

var errMalformed = errors.New("gossip: malformed metadata")

// name is what memberlist calls the node.
func (m Meta) name() string {
	return hex.EncodeToString(m.UUID[:])
}

// append appends the encoding (DESIGN.md). The error is ErrMetaTooLarge.
func (m Meta) append(dst []byte) ([]byte, error) {
	start := len(dst)
	dst = append(dst, metaVersion)
	dst = append(dst, m.Cluster[:]...)
	dst = append(dst, m.UUID[:]...)
	dst = binary.AppendUvarint(dst, uint64(m.Node))
	dst = binary.AppendUvarint(dst, m.Epoch)
	for _, s := range []string{m.HTTP, m.Peer, m.Name} {
		dst = binary.AppendUvarint(dst, uint64(len(s)))
		dst = append(dst, s...)
	}
	dst = append(dst, flags(m))
	if n := len(dst) - start; n > memberlist.MetaMaxSize {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrMetaTooLarge, n, memberlist.MetaMaxSize)
	}
	return dst, nil
}

// decodeMeta decodes what append wrote; what a later version appended is passed over.
func decodeMeta(b []byte) (Meta, error) {
	var m Meta
	const fixed = 1 + len(m.Cluster) + len(m.UUID)
	if len(b) < fixed || b[0] != metaVersion {
		return Meta{}, errMalformed
	}
	b = b[1:]
	b = b[copy(m.Cluster[:], b):]
	b = b[copy(m.UUID[:], b):]
	node, b, ok := cutUvarint(b)
	if !ok || node > 1<<32-1 {
		return Meta{}, errMalformed
	}
	m.Node = ring.NodeID(node)
	if m.Epoch, b, ok = cutUvarint(b); !ok {
		return Meta{}, errMalformed
	}
	for _, s := range []*string{&m.HTTP, &m.Peer, &m.Name} {
		if *s, b, ok = cutString(b); !ok {
			return Meta{}, errMalformed
		}
	}
	if len(b) == 0 {
		return Meta{}, errMalformed
	}
	m.Crowded = b[0]&flagCrowded != 0 // the other bits are a later version's
	return m, nil
}

const flagCrowded = 1

func flags(m Meta) byte {
	if m.Crowded {
		return flagCrowded
	}
	return 0
}

func cutUvarint(b []byte) (v uint64, rest []byte, ok bool) {
	v, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, nil, false
	}
	return v, b[n:], true
}

func cutString(b []byte) (s string, rest []byte, ok bool) {
	n, b, ok := cutUvarint(b)
	if !ok || n > uint64(len(b)) {
		return "", nil, false
	}
	return string(b[:n]), b[n:], true
}
