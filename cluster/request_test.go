package cluster

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/cluster/transport"
	"github.com/ringkv/ringkv/storage"
)

type closedView struct {
	storage.View
	closed int
}

func (v *closedView) Close() { v.closed++ }

// A view that nobody waits for any more is closed by the answer.
func TestGivenUpRequestsLeaveNoView(t *testing.T) {
	for _, c := range []struct {
		stage  uint32
		closed int
	}{{underWay, 0}, {givenUp, 1}} {
		r, ok := newRequest().(*request)
		if !ok {
			t.Fatal("no request")
		}
		v := &closedView{}
		r.loop = &loop{}
		r.stage.Store(c.stage)
		r.Op.View = v
		r.Op.Done(&r.Op)
		if v.closed != c.closed || len(r.ended) != 1-c.closed {
			t.Errorf("stage %d: closed %d times, %d answers", c.stage, v.closed, len(r.ended))
		}
	}
}

// What travels between nodes says whether a command may have had an effect, on both sides alike.
func TestErrorsOfAttempts(t *testing.T) {
	for _, c := range []struct {
		err      error
		harmless bool
	}{
		{&replica.NotLeaderError{Partition: 3, Leader: replica.MakeID(7, 0)}, true},
		{replica.ErrDropped, true},
		{ErrOverloaded, true},
		{ErrDiskFull, true},
		{ErrLocked, true},
		{replica.ErrOutcomeUnknown, false},
		{context.DeadlineExceeded, false},
		{errors.New("anything else"), false},
	} {
		if got := harmless(c.err); got != c.harmless {
			t.Errorf("%v: harmless %v", c.err, got)
		}
		status, body := encodeError(c.err)
		back := decodeError(3, &transport.StatusError{Status: status, Body: body})
		if got := harmless(back); got != c.harmless {
			t.Errorf("%v became %v: harmless %v", c.err, back, got)
		}
	}
	for err, want := range map[error]bool{
		transport.ErrUnreachable: true, transport.ErrConnLost: false, fmt.Errorf("%w: %w", transport.ErrExpired, context.Canceled): true,
	} {
		if got := harmless(err); got != want {
			t.Errorf("%v: harmless %v", err, got)
		}
	}
}
