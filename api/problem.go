package api

import (
	"cmp"
	"errors"
	"fmt"
)

// problemTypeBase is what a code is appended to, to make a problem's type URI.
const problemTypeBase = "https://github.com/ringkv/ringkv/blob/main/api/PROBLEMS.md#"

// Problem is the body of every error: RFC 9457 problem details with members of our own. It is an error itself that
// matches the sentinel of its code, and *ConditionError, *TxnFailedError, *TxnError, *LockHeldError, *LimitError,
// *QuotaError and *InvalidError where it carries their data.
type Problem struct {
	Type      string  `json:"type"`
	Title     string  `json:"title"`
	Status    int     `json:"status"`
	Detail    string  `json:"detail,omitempty"`
	Code      Code    `json:"code"`
	Retryable bool    `json:"retryable"`         // the same request may safely be sent again and may succeed
	Outcome   Outcome `json:"outcome,omitempty"` // on errors of PUT, DELETE and POST; empty on others

	Where   string   `json:"where,omitempty"`   // what is malformed or too large: "query parameter limit"
	Limit   int64    `json:"limit,omitempty"`   // the limit that was passed
	Actual  int64    `json:"actual,omitempty"`  // the size that passed it, where known
	Unit    string   `json:"unit,omitempty"`    // of both; "" means bytes
	Version *Version `json:"version,omitempty"` // of a failed header condition: the key's present version, 0 if absent

	Txn       string       `json:"txn,omitempty"`        // the transaction's id, once it has begun
	StatusURL string       `json:"status_url,omitempty"` // where to ask what became of it: a path on any node
	Failed    []TxnFailure `json:"failed,omitempty"`     // of a transaction: every false condition, or the operation, in order

	Holder *LockHolder `json:"holder,omitempty"` // who holds the lock
}

// NewProblem describes err for the wire. With write it says the outcome. A request whose outcome is unknown is never
// called retryable, but for one that is still running under the same idempotency key: the key makes it safe. An error
// that matches no sentinel becomes CodeInternal, and its text is not shown.
func NewProblem(err error, write bool) *Problem {
	k := kindOf(CodeOf(err))
	p := &Problem{
		Type:      problemTypeBase + string(k.code),
		Title:     k.title,
		Status:    k.status,
		Detail:    err.Error(),
		Code:      k.code,
		Retryable: k.retryable,
	}
	if k.code == CodeInternal {
		p.Detail = "the node met a fault of its own; its log has the details"
	}
	if write {
		p.Outcome = k.outcome
	}
	p.fill(err)
	return p
}

// fill copies the data of the typed errors into p's members.
func (p *Problem) fill(err error) {
	var (
		condition *ConditionError
		failed    *TxnFailedError
		limit     *LimitError
		invalid   *InvalidError
		txn       *TxnError
		held      *LockHeldError
		quota     *QuotaError
	)
	if errors.As(err, &txn) {
		p.Txn, p.StatusURL = txn.Txn, PathTxn+"/"+txn.Txn
		if p.Code != CodeInternal {
			p.Detail = txn.Err.Error()
		}
	}
	switch {
	case errors.As(err, &condition):
		v := condition.Version
		p.Version = &v
	case errors.As(err, &held):
		holder := held.Holder
		p.Holder = &holder
	case errors.As(err, &failed):
		p.Failed = failed.Failed
	case errors.As(err, &limit):
		p.Where, p.Limit, p.Actual, p.Unit = limit.What, limit.Limit, limit.Actual, limit.Unit
	case errors.As(err, &quota):
		p.Limit, p.Unit = quota.Limit, quota.What
	case errors.As(err, &invalid):
		p.Where, p.Detail = invalid.Where, invalid.Detail
	}
}

func (p *Problem) Error() string {
	text := p.Detail
	if text == "" {
		text = p.Title
	}
	if p.Where != "" && p.Code == CodeInvalid {
		text = p.Where + ": " + text
	}
	return fmt.Sprintf("%s (%d): %s", p.Code, p.Status, text)
}

// Unwrap returns the sentinel of p's code or the typed error that p carries data of, inside a *TxnError if p names a
// transaction, and ErrUnknownOutcome if the outcome is unknown whatever the code is.
func (p *Problem) Unwrap() []error {
	var errs []error
	cause := p.cause()
	switch {
	case p.Txn != "":
		errs = append(errs, &TxnError{Txn: p.Txn, Err: cmp.Or(cause, errors.New(string(p.Code)))})
	case cause != nil:
		errs = append(errs, cause)
	}
	if p.Outcome == Unknown && p.Code != CodeUnknownOutcome {
		errs = append(errs, ErrUnknownOutcome)
	}
	return errs
}

// cause returns the typed error that p carries data of, else the sentinel of its code; nil for a code from a newer node.
func (p *Problem) cause() error {
	switch {
	case p.Code == CodeConditionFailed && p.Version != nil:
		return &ConditionError{Version: *p.Version}
	case p.Code == CodeConditionFailed && p.Failed != nil:
		return &TxnFailedError{Failed: p.Failed}
	case p.Code == CodeLockHeld && p.Holder != nil:
		return &LockHeldError{Holder: *p.Holder}
	case p.Code == CodeTooLarge && p.Limit > 0:
		return &LimitError{What: p.Where, Limit: p.Limit, Actual: p.Actual, Unit: p.Unit}
	case p.Code == CodeTooManyRequests && p.Limit > 0:
		return &QuotaError{What: p.Unit, Limit: p.Limit}
	case p.Code == CodeInvalid && p.Where != "":
		return &InvalidError{Where: p.Where, Detail: p.Detail}
	default:
		return p.Code.Sentinel()
	}
}
