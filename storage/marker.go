package storage

import (
	"errors"
	"fmt"
)

// A marker says, durably, that a partition's state is being replaced and must not be read.
type markerKind uint8

// The kinds of markers. The numbers are on disk: append only.
const (
	markerNone    markerKind = 0
	markerInstall markerKind = 1
	markerDrop    markerKind = 2
)

type marker struct {
	kind  markerKind
	spool string // install: the spool file's name, the caller's
}

func readMarker(r Reader, id PartitionID) (marker, error) {
	b, err := r.Get(metaKey(id, metaMarker))
	switch {
	case errors.Is(err, ErrNotFound):
		return marker{}, nil
	case err != nil:
		return marker{}, err
	}
	if len(b) == 0 || markerKind(b[0]) == markerNone || markerKind(b[0]) > markerDrop {
		return marker{}, corruptf("partition %d: marker %x", id, b)
	}
	return marker{kind: markerKind(b[0]), spool: string(b[1:])}, nil
}

func (m marker) encode() []byte { return append([]byte{byte(m.kind)}, m.spool...) }

// PendingInstall returns the name that an unfinished install of id was given for its spool. It must be redone, or the
// partition dropped, before the partition can be opened.
func PendingInstall(r Reader, id PartitionID) (spoolName string, ok bool, err error) {
	m, err := readMarker(r, id)
	if err != nil {
		return "", false, fmt.Errorf("pending install: %w", err)
	}
	return m.spool, m.kind == markerInstall, nil
}

// PendingDrop tells whether a drop of id is unfinished. It must be redone before the partition can be opened.
func PendingDrop(r Reader, id PartitionID) (bool, error) {
	m, err := readMarker(r, id)
	if err != nil {
		return false, fmt.Errorf("pending drop: %w", err)
	}
	return m.kind == markerDrop, nil
}
