package badgerdb

import "github.com/dgraph-io/badger/v4"

// slab is the memory of what a batch hands to Badger, which keeps all of it until the commit: some large blocks are made in
// less time than one for each write.
type slab struct {
	entries []badger.Entry
	block   []byte
}

// A slab begins small, for most batches are, and each block is twice as long as the one before.
const (
	leastEntries = 4
	mostEntries  = 256
	leastBlock   = 512
	mostBlock    = 64 << 10
)

// entry returns an empty entry.
func (s *slab) entry() *badger.Entry {
	if len(s.entries) == cap(s.entries) {
		s.entries = make([]badger.Entry, 0, min(max(leastEntries, 2*cap(s.entries)), mostEntries))
	}
	s.entries = s.entries[:len(s.entries)+1]
	return &s.entries[len(s.entries)-1]
}

// bytes returns an empty slice with room for n bytes.
func (s *slab) bytes(n int) []byte {
	if cap(s.block)-len(s.block) < n {
		s.block = make([]byte, 0, max(n, min(max(leastBlock, 2*cap(s.block)), mostBlock)))
	}
	from := len(s.block)
	s.block = s.block[:from+n]
	return s.block[from : from : from+n]
}
