package service

import (
	"context"
	"sync"

	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/txn"
)

// mail is the groups' replies on their way to their tasks. They are told by goroutines that must not be held up: a node's
// worker, the reader of a stream. One goroutine takes them all, mostly many at a time. There are no more than commands
// under way, which Config.MaxRunning bounds.
type mail struct {
	wake chan struct{} // holds a token while there is some

	mu      sync.Mutex // guards letters
	letters []letter
}

type letter struct {
	to    *task
	sent  *txn.Send
	reply *storage.TxnReply
}

// arrived takes in the reply to what t has sent.
func (s *Service) arrived(t *task, sent *txn.Send, r *storage.TxnReply) {
	m := &s.mail
	m.mu.Lock()
	m.letters = append(m.letters, letter{t, sent, r})
	m.mu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// deliver brings the replies to their tasks until the service stops.
func (s *Service) deliver(ctx context.Context) {
	var letters []letter
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.mail.wake:
		}
		s.mail.mu.Lock()
		letters, s.mail.letters = s.mail.letters, letters[:0]
		s.mail.mu.Unlock()
		for i := range letters {
			l := &letters[i]
			s.marked(l.sent.Txn.ID, l.sent.To, l.sent.Txn.Mark)
			l.to.step(txn.Reply{From: l.sent.To, Ref: l.sent.Ref, Reply: l.reply})
		}
		clear(letters)
	}
}
