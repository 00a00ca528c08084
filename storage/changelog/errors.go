package changelog

import "errors"

var (
	// ErrGone is returned when some of the changes that are asked for are no longer kept.
	ErrGone = errors.New("changelog: changes are no longer kept")
	// ErrNoReplica is returned for a partition of which nothing is known here.
	ErrNoReplica = errors.New("changelog: no replica here")
	// errTorn is returned for a record that is cut, or not what was written.
	errTorn = errors.New("changelog: torn record")
)
