package api

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// TxnResult is the body of a 200 to POST /v1/txn.
type TxnResult struct {
	Txn        string        `json:"txn"`        // the transaction's id
	Committed  bool          `json:"committed"`  // always true
	Branch     TxnSection    `json:"branch"`     // SectionThen or SectionElse
	Results    []TxnOpResult `json:"results"`    // one for each operation of the branch, in order
	Protocol   TxnProtocol   `json:"protocol"`   // Protocol1PC whenever one partition took part, else the one used
	Partitions []PartitionID `json:"partitions"` // all that took part, ascending
	Attempts   int           `json:"attempts"`   // how many it took

	// Of a stored answer: the results were more than is kept with an idempotency key (2 MiB), and are left out. The
	// transaction was done; what it read must be read again.
	ResultsTruncated bool `json:"results_truncated,omitempty"`
}

// TxnSection is a part of a transaction.
type TxnSection string

// The sections.
const (
	SectionIf   TxnSection = "if"
	SectionThen TxnSection = "then"
	SectionElse TxnSection = "else"
)

// TxnOpResult is what one operation found or did. As JSON: key or key_b64; then for a get and an add value or value_b64
// and version, for a put version, for a delete and the get of an absent key "exists":false.
type TxnOpResult struct {
	Key     []byte
	Exists  bool    // the key is there after the operation
	Value   []byte  // get, add: non-nil if it is there; nil for a put
	Version Version // 0 if it is not there
}

// AppendJSON appends it as one JSON object.
func (r *TxnOpResult) AppendJSON(dst []byte) []byte {
	dst = appendText(append(dst, '{'), "key", r.Key)
	if !r.Exists {
		return append(dst, `,"exists":false}`...)
	}
	if r.Value != nil {
		dst = appendText(append(dst, ','), "value", r.Value)
	}
	dst = strconv.AppendUint(append(dst, `,"version":`...), uint64(r.Version), 10)
	return append(dst, '}')
}

// MarshalJSON implements json.Marshaler.
func (r TxnOpResult) MarshalJSON() ([]byte, error) { return r.AppendJSON(nil), nil }

// UnmarshalJSON implements json.Unmarshaler. Members that it does not know are skipped.
func (r *TxnOpResult) UnmarshalJSON(b []byte) error {
	var w struct {
		Key      *string `json:"key"`
		KeyB64   *string `json:"key_b64"`
		Exists   *bool   `json:"exists"`
		Value    *string `json:"value"`
		ValueB64 *string `json:"value_b64"`
		Version  Version `json:"version"`
	}
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	key, err := text("key", w.Key, w.KeyB64)
	if err != nil {
		return err
	}
	value, err := text("value", w.Value, w.ValueB64)
	if err != nil {
		return err
	}
	*r = TxnOpResult{Key: key, Exists: w.Exists == nil || *w.Exists, Value: value, Version: w.Version}
	return nil
}

// AppendJSON appends it as one JSON object.
func (r *TxnResult) AppendJSON(dst []byte) []byte {
	dst = appendString(append(dst, `{"txn":`...), r.Txn)
	dst = strconv.AppendBool(append(dst, `,"committed":`...), r.Committed)
	dst = appendString(append(dst, `,"branch":`...), string(r.Branch))
	dst = append(dst, `,"results":[`...)
	for i := range r.Results {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = r.Results[i].AppendJSON(dst)
	}
	dst = appendString(append(dst, `],"protocol":`...), string(r.Protocol))
	dst = append(dst, `,"partitions":[`...)
	for i, p := range r.Partitions {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendUint(dst, uint64(p), 10)
	}
	dst = strconv.AppendInt(append(dst, `],"attempts":`...), int64(r.Attempts), 10)
	if r.ResultsTruncated {
		dst = append(dst, `,"results_truncated":true`...)
	}
	return append(dst, '}')
}

// TxnFailure is why a transaction did nothing: a condition that was false, or an operation that could not be done. As
// JSON: in, index; key or key_b64 and version, or lock or lock_b64 and token; code for an operation.
type TxnFailure struct {
	In      TxnSection
	Index   int            // its place in that section, from 0
	Key     []byte         // of the item; nil for a lock
	Version Version        // that the key has, 0 if it is absent; of an operation: as the operation found it
	Lock    []byte         // non-nil: the condition was about the lock of that name
	Token   FencingToken   // that the lock is held with, 0 if it is free
	Code    TxnFailureCode // of an operation; "" for a condition
}

// TxnFailureCode is why an operation could not be done.
type TxnFailureCode string

// The codes of failed operations.
const (
	FailedBound      TxnFailureCode = "bound"        // the sum is below min or above max
	FailedOverflow   TxnFailureCode = "overflow"     // the sum does not fit 64 bits
	FailedNotANumber TxnFailureCode = "not_a_number" // the value is no decimal number in 64 bits
)

// AppendJSON appends it as one JSON object.
func (f *TxnFailure) AppendJSON(dst []byte) []byte {
	dst = appendString(append(dst, `{"in":`...), string(f.In))
	dst = strconv.AppendInt(append(dst, `,"index":`...), int64(f.Index), 10)
	if f.Lock != nil {
		dst = appendText(append(dst, ','), "lock", f.Lock)
		dst = strconv.AppendUint(append(dst, `,"token":`...), uint64(f.Token), 10)
		return append(dst, '}')
	}
	dst = appendText(append(dst, ','), "key", f.Key)
	dst = strconv.AppendUint(append(dst, `,"version":`...), uint64(f.Version), 10)
	if f.Code != "" {
		dst = appendString(append(dst, `,"code":`...), string(f.Code))
	}
	return append(dst, '}')
}

// MarshalJSON implements json.Marshaler.
func (f TxnFailure) MarshalJSON() ([]byte, error) { return f.AppendJSON(nil), nil }

// UnmarshalJSON implements json.Unmarshaler. Members that it does not know are skipped.
func (f *TxnFailure) UnmarshalJSON(b []byte) error {
	var w struct {
		In      TxnSection     `json:"in"`
		Index   int            `json:"index"`
		Key     *string        `json:"key"`
		KeyB64  *string        `json:"key_b64"`
		Version Version        `json:"version"`
		Lock    *string        `json:"lock"`
		LockB64 *string        `json:"lock_b64"`
		Token   FencingToken   `json:"token"`
		Code    TxnFailureCode `json:"code"`
	}
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	key, err := text("key", w.Key, w.KeyB64)
	if err != nil {
		return err
	}
	lock, err := text("lock", w.Lock, w.LockB64)
	if err != nil {
		return err
	}
	*f = TxnFailure{In: w.In, Index: w.Index, Key: key, Version: w.Version, Lock: lock, Token: w.Token, Code: w.Code}
	return nil
}

// String says what was found, for people.
func (f *TxnFailure) String() string {
	place := fmt.Sprintf("/%s/%d", f.In, f.Index)
	switch {
	case f.Lock != nil && f.Token == 0:
		return fmt.Sprintf("%s: lock %s is free", place, shorten(f.Lock))
	case f.Lock != nil:
		return fmt.Sprintf("%s: lock %s is held with token %d", place, shorten(f.Lock), f.Token)
	case f.Code == FailedBound:
		return fmt.Sprintf("%s: key %s would pass its bound", place, shorten(f.Key))
	case f.Code == FailedOverflow:
		return fmt.Sprintf("%s: key %s would pass 64 bits", place, shorten(f.Key))
	case f.Code != "":
		return fmt.Sprintf("%s: key %s holds no number", place, shorten(f.Key))
	case f.Version == 0:
		return fmt.Sprintf("%s: key %s is absent", place, shorten(f.Key))
	default:
		return fmt.Sprintf("%s: key %s is at version %d", place, shorten(f.Key), f.Version)
	}
}

// shorten quotes name for an error text, cut to a readable length.
func shorten(name []byte) string {
	const most = 64
	if len(name) > most {
		return strconv.Quote(string(name[:most])) + "…"
	}
	return strconv.Quote(string(name))
}

// TxnState is what became of a transaction.
type TxnState string

// The states.
const (
	TxnPending   TxnState = "pending" // not decided yet, or not known here yet: ask again
	TxnCommitted TxnState = "committed"
	TxnAborted   TxnState = "aborted" // nothing happened, and nothing will
)

// TxnStatus is the body of GET /v1/txn/{id}.
type TxnStatus struct {
	Txn    string   `json:"txn"`
	Status TxnState `json:"status"`
}
