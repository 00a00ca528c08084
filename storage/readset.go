package storage

import "encoding/binary"

// ReadItem is what a read found under a key.
type ReadItem struct {
	Version Version // 0 where the key is absent
	Value   []byte
}

// ReadSet is what one partition holds under some keys at one moment.
type ReadSet struct {
	Items  []ReadItem // of the keys, in the order asked for
	Tokens []Version  // of the locks, in the order asked for: the fencing token held, 0 where the lock is free

	// Revision is the last version given. That it is the same twice does not mean that nothing changed between: a commit
	// gives keys the version that was reserved at its vote. Compare the versions of the keys.
	Revision Version
	// LastRemoval is the version of every absent key (R10): a key that is absent in two ReadSets with the same
	// LastRemoval was absent all the time between.
	LastRemoval Version
}

// AppendReadSet appends the encoding of s to dst.
func AppendReadSet(dst []byte, s *ReadSet) []byte {
	dst = binary.AppendUvarint(dst, uint64(s.Revision))
	dst = binary.AppendUvarint(dst, uint64(s.LastRemoval))
	dst = binary.AppendUvarint(dst, uint64(len(s.Items)))
	for i := range s.Items {
		dst = binary.AppendUvarint(dst, uint64(s.Items[i].Version))
		if s.Items[i].Version != 0 {
			dst = appendBytes(dst, s.Items[i].Value)
		}
	}
	dst = binary.AppendUvarint(dst, uint64(len(s.Tokens)))
	for _, t := range s.Tokens {
		dst = binary.AppendUvarint(dst, uint64(t))
	}
	return dst
}

// DecodeReadSet decodes what AppendReadSet made; anything else is ErrMalformed. Values alias b.
func DecodeReadSet(b []byte) (ReadSet, error) {
	d := decoder{b: b}
	s := ReadSet{Revision: Version(d.uvarint()), LastRemoval: Version(d.uvarint())}
	if n := d.items(); n > 0 {
		s.Items = make([]ReadItem, n)
	}
	for i := range s.Items {
		if s.Items[i].Version = Version(d.uvarint()); s.Items[i].Version != 0 {
			s.Items[i].Value = d.bytes()
		}
	}
	if n := d.items(); n > 0 {
		s.Tokens = make([]Version, n)
	}
	for i := range s.Tokens {
		s.Tokens[i] = Version(d.uvarint())
	}
	if err := d.finish(); err != nil {
		return ReadSet{}, malformed("read set", err)
	}
	return s, nil
}

// ReadKeys reads the items of keys and the fencing tokens of locks at one moment. What it returns owns its memory.
func ReadKeys(r Reader, id PartitionID, keys, locks [][]byte) (ReadSet, error) {
	meta, err := ReadMeta(r, id)
	if err != nil {
		return ReadSet{}, err
	}
	s := ReadSet{Revision: meta.Revision, LastRemoval: meta.LastRemoval}
	see := sight{r: r, id: id, horizon: &meta.Horizon}
	for _, key := range keys {
		rec, err := see.present(key)
		if err != nil {
			return ReadSet{}, err
		}
		it := ReadItem{Version: rec.version}
		if rec.exists() {
			if it.Value, err = rec.value(r, id, key); err != nil {
				return ReadSet{}, err
			}
		}
		s.Items = append(s.Items, it)
	}
	for _, name := range locks {
		token, err := heldToken(r, id, name)
		if err != nil {
			return ReadSet{}, err
		}
		s.Tokens = append(s.Tokens, token)
	}
	return s, nil
}
