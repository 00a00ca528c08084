//go:build !unix

package raftlog

import (
	"errors"
	"io"
)

// Lock is refused: a log that two processes may open at once is worse than none.
func (osFS) Lock(string) (io.Closer, error) {
	return nil, errors.New("raftlog: no exclusive file lock on this operating system")
}
