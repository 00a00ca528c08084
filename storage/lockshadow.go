package storage

import (
	"hash/crc32"
	"sync/atomic"
)

// LockShadow is what others than the goroutine that applies may know of a partition's exclusive locks on items: whether
// one may be on a key. It says so of some keys that have none, about one in sixty for each lock that there is.
//
// A lock is in it from before its transaction's vote is in the engine, and until after whatever the transaction changes is.
// So who finds none on a key, and then reads the key from the engine, has not read what a decided transaction has replaced
// (I7): when it looked, no vote about the key had been told to anybody, or its outcome was there to be read.
type LockShadow struct {
	marks [shadowMarks]atomic.Int32
}

const shadowMarks = 64 // a power of two

var shadowTable = crc32.MakeTable(crc32.Castagnoli)

// shadowMark is where the locks on a key are counted. It is the same in every process, for the simulation's sake.
func shadowMark(key []byte) uint8 {
	return uint8(crc32.Checksum(key, shadowTable) % shadowMarks)
}

// Falls reports whether a transaction may hold the exclusive lock on an item's key.
func (s *LockShadow) Falls(key []byte) bool { return s.marks[shadowMark(key)].Load() > 0 }

// shade is the goroutine's end of a shadow: what is released stays in it until lift.
type shade struct {
	shadow LockShadow
	over   []uint8 // marks of locks that were released and whose effects are not in the engine yet
}

func (s *shade) cast(space LockSpace, name []byte) {
	if space == ItemSpace {
		s.shadow.marks[shadowMark(name)].Add(1)
	}
}

func (s *shade) released(space LockSpace, name []byte) {
	if space == ItemSpace {
		s.over = append(s.over, shadowMark(name))
	}
}

// lift ends the shadows of all locks that were released.
func (s *shade) lift() {
	for _, m := range s.over {
		s.shadow.marks[m].Add(-1)
	}
	s.over = s.over[:0]
}
