package memfs

import (
	"bytes"
	"io"
	"math/rand/v2"
)

const sector = 512

// inode is a file: as it stands, and on disk with the changes that are not there yet.
type inode struct {
	now     []byte
	disk    []byte
	changes []change
}

// change is an unsynced write of data at off, or with nil data truncation to off.
type change struct {
	off  int64
	data []byte
}

func (n *inode) clone() *inode {
	c := &inode{now: bytes.Clone(n.now), disk: bytes.Clone(n.disk)}
	c.changes = append(c.changes, n.changes...) // their data is never written to
	return c
}

func (n *inode) sync() {
	for _, c := range n.changes {
		n.disk = c.apply(n.disk)
	}
	n.changes = nil
}

func (n *inode) crash(rng *rand.Rand) {
	for _, c := range n.changes {
		for _, part := range c.survivors(rng) {
			n.disk = part.apply(n.disk)
		}
	}
	n.changes = nil
	n.now = bytes.Clone(n.disk)
}

func (c change) apply(b []byte) []byte {
	if c.data == nil {
		return resize(b, c.off)
	}
	if end := c.off + int64(len(c.data)); end > int64(len(b)) {
		b = resize(b, end)
	}
	copy(b[c.off:], c.data)
	return b
}

// survivors returns what a power cut leaves of the change.
func (c change) survivors(rng *rand.Rand) []change {
	switch rng.IntN(4) {
	case 0:
		return nil
	case 1:
		return []change{c}
	}
	if len(c.data) == 0 {
		return []change{c}
	}
	if rng.IntN(2) == 0 {
		return []change{{c.off, c.data[:1+rng.IntN(len(c.data))]}}
	}
	return c.sectors(rng)
}

func (c change) sectors(rng *rand.Rand) []change {
	var parts []change
	for off, data := c.off, c.data; len(data) > 0; {
		n := min(int64(len(data)), sector-off%sector)
		if rng.IntN(2) == 0 {
			parts = append(parts, change{off, data[:n]})
		}
		off, data = off+n, data[n:]
	}
	return parts
}

func resize(b []byte, size int64) []byte {
	if size <= int64(len(b)) {
		return b[:size:size]
	}
	if size <= int64(cap(b)) {
		grown := b[:size]
		clear(grown[len(b):])
		return grown
	}
	return append(make([]byte, 0, size+size/4), append(b, make([]byte, size-int64(len(b)))...)...)
}

// handle is an open file.
type handle struct {
	fs    *FS
	path  string
	node  *inode
	epoch int
}

func (h *handle) use(op Op) error {
	if h.epoch != h.fs.epoch {
		return ErrCrashed
	}
	return h.fs.fail(op, h.path)
}

func (h *handle) ReadAt(b []byte, off int64) (int, error) {
	if err := h.use(OpRead); err != nil {
		return 0, err
	}
	if off >= int64(len(h.node.now)) {
		return 0, io.EOF
	}
	n := copy(b, h.node.now[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (h *handle) WriteAt(b []byte, off int64) (int, error) {
	if err := h.use(OpWrite); err != nil {
		return 0, err
	}
	if len(b) == 0 {
		return 0, nil
	}
	c := change{off, bytes.Clone(b)}
	h.node.now = c.apply(h.node.now)
	h.node.changes = append(h.node.changes, c)
	return len(b), nil
}

func (h *handle) Truncate(size int64) error {
	if err := h.use(OpTruncate); err != nil {
		return err
	}
	c := change{off: size}
	h.node.now = c.apply(h.node.now)
	h.node.changes = append(h.node.changes, c)
	return nil
}

func (h *handle) Sync() error {
	if err := h.use(OpSync); err != nil {
		return err
	}
	h.node.sync()
	return nil
}

func (h *handle) Size() (int64, error) {
	if err := h.use(OpRead); err != nil {
		return 0, err
	}
	return int64(len(h.node.now)), nil
}

func (h *handle) Close() error { return nil }
