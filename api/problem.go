package api

import (
	"errors"
	"fmt"
)

// problemTypeBase is what a code is appended to, to make a problem's type URI.
const problemTypeBase = "https://github.com/ringkv/ringkv/blob/main/api/PROBLEMS.md#"

// Problem is the body of every error: RFC 9457 problem details with members of our own. It is an error itself that
// matches the sentinel of its code, and *ConditionError, *LimitError and *InvalidError where it carries their data.
type Problem struct {
	Type      string  `json:"type"`
	Title     string  `json:"title"`
	Status    int     `json:"status"`
	Detail    string  `json:"detail,omitempty"`
	Code      Code    `json:"code"`
	Retryable bool    `json:"retryable"`         // the same request may safely be sent again and may succeed
	Outcome   Outcome `json:"outcome,omitempty"` // on errors of PUT, DELETE and POST; empty on others

	Where   string   `json:"where,omitempty"`   // what is malformed or too large: "query parameter limit"
	Limit   int64    `json:"limit,omitempty"`   // the limit that was passed, bytes
	Actual  int64    `json:"actual,omitempty"`  // the size that passed it, bytes, where known
	Version *Version `json:"version,omitempty"` // of a failed condition: the key's present version, 0 if absent
}

// NewProblem describes err for the wire. With write it says the outcome, and a request whose outcome is unknown is
// never called retryable. An error that matches no sentinel becomes CodeInternal, and its text is not shown.
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
		limit     *LimitError
		invalid   *InvalidError
	)
	switch {
	case errors.As(err, &condition):
		v := condition.Version
		p.Version = &v
	case errors.As(err, &limit):
		p.Where, p.Limit, p.Actual = limit.What, limit.Limit, limit.Actual
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

// Unwrap returns the sentinel of p's code, the typed error that p carries data of, and ErrUnknownOutcome if the
// outcome is unknown whatever the code is.
func (p *Problem) Unwrap() []error {
	var errs []error
	switch {
	case p.Code == CodeConditionFailed && p.Version != nil:
		errs = append(errs, &ConditionError{Version: *p.Version})
	case p.Code == CodeTooLarge && p.Limit > 0:
		errs = append(errs, &LimitError{What: p.Where, Limit: p.Limit, Actual: p.Actual})
	case p.Code == CodeInvalid && p.Where != "":
		errs = append(errs, &InvalidError{Where: p.Where, Detail: p.Detail})
	default:
		if err := p.Code.Sentinel(); err != nil {
			errs = append(errs, err)
		}
	}
	if p.Outcome == Unknown && p.Code != CodeUnknownOutcome {
		errs = append(errs, ErrUnknownOutcome)
	}
	return errs
}
