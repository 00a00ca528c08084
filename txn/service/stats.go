package service

import (
	"sync/atomic"

	"github.com/ringkv/ringkv/txn"
)

// stats counts what the service did since it began.
type stats struct {
	recoveries atomic.Uint64
	alarms     atomic.Uint64
}

// TxnCounts reads the counters.
func (s *Service) TxnCounts() txn.Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return txn.Counts{
		Running:    len(s.coords),
		Recovering: len(s.recoveries),
		Recoveries: s.stats.recoveries.Load(),
		Alarms:     s.stats.alarms.Load(),
	}
}
