package service

import (
	"context"
	"sync"
)

// mail is the groups' replies on their way to their tasks. They are told by goroutines that must not be held up: a node's
// worker, the reader of a stream. One goroutine takes them all, mostly many at a time. There are no more than commands
// under way, which Config.MaxRunning bounds.
type mail struct {
	wake chan struct{} // holds a token while there is some

	mu       sync.Mutex // guards answered
	answered []*errand
}

// post takes in an errand that was answered.
func (m *mail) post(e *errand) {
	m.mu.Lock()
	m.answered = append(m.answered, e)
	m.mu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// deliver brings the replies to their tasks until the service stops.
func (s *Service) deliver(ctx context.Context) {
	var answered []*errand
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.mail.wake:
		}
		s.mail.mu.Lock()
		answered, s.mail.answered = s.mail.answered, answered[:0]
		s.mail.mu.Unlock()
		for _, e := range answered {
			s.marked(e.send.Txn.ID, e.send.To, e.send.Txn.Mark)
			e.task.step(&e.reply)
		}
		clear(answered)
	}
}
