package txn

import (
	"time"

	"github.com/ringkv/ringkv/storage"
)

// Request is one transaction as a client asked for it. Conditions and operations stand in the client's order; their
// Index fields are set by NewPlan.
type Request struct {
	If       []storage.TxnCondition
	Then     []storage.TxnOp
	Else     []storage.TxnOp
	HasElse  bool             // there is an else branch, be it empty
	Protocol storage.Protocol // Auto, TwoPhase or ThreePhase; zero means Auto
	Timeout  time.Duration    // for preparing and all attempts; zero means 5 s
	Token    *storage.Token   // idempotency; nil without
}

// ReadOnly reports whether r can change nothing: only conditions and gets, and no token. Such a transaction needs no log
// entry.
func (r *Request) ReadOnly() bool {
	return r.Token == nil && onlyGets(r.Then) && onlyGets(r.Else)
}

func onlyGets(ops []storage.TxnOp) bool {
	for i := range ops {
		if ops[i].Kind != storage.OpGet {
			return false
		}
	}
	return true
}
