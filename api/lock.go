package api

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/ringkv/ringkv/api/internal/strictjson"
)

// Lock is a lock that somebody holds.
type Lock struct {
	Name    []byte
	Owner   string
	Token   FencingToken
	TTL     time.Duration // after an acquire or a renewal: until it ends; after a get: what is left. At least 1 ms
	Waiters *int          // who wait for it; of a get only
}

// LockRequest is the body of POST /v1/locks/{name}.
type LockRequest struct {
	Owner string
	TTL   time.Duration
	Wait  time.Duration // 0: not at all
}

// LockHolder is who holds a lock that was not to be had.
type LockHolder struct {
	Owner string `json:"owner"`
	TTLMs int64  `json:"ttl_ms"` // left to it, unless it renews
}

// wireLock is Lock as encoding/json sees it.
type wireLock struct {
	Name    *string      `json:"name,omitempty"`
	NameB64 *string      `json:"name_b64,omitempty"`
	Owner   string       `json:"owner"`
	Token   FencingToken `json:"token"`
	TTLMs   int64        `json:"ttl_ms"`
	Waiters *int         `json:"waiters,omitempty"`
}

// MarshalJSON implements json.Marshaler.
func (l Lock) MarshalJSON() ([]byte, error) {
	w := wireLock{Owner: l.Owner, Token: l.Token, TTLMs: l.TTL.Milliseconds(), Waiters: l.Waiters}
	if utf8.Valid(l.Name) {
		name := string(l.Name)
		w.Name = &name
	} else {
		name := base64.StdEncoding.EncodeToString(l.Name)
		w.NameB64 = &name
	}
	return json.Marshal(&w)
}

// UnmarshalJSON implements json.Unmarshaler.
func (l *Lock) UnmarshalJSON(b []byte) error {
	var w wireLock
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	name, err := text("name", w.Name, w.NameB64)
	if err != nil {
		return err
	}
	*l = Lock{Name: name, Owner: w.Owner, Token: w.Token, TTL: time.Duration(w.TTLMs) * time.Millisecond, Waiters: w.Waiters}
	return nil
}

// MarshalJSON implements json.Marshaler.
func (r LockRequest) MarshalJSON() ([]byte, error) {
	w := struct {
		Owner string `json:"owner"`
		TTL   string `json:"ttl,omitempty"`
		Wait  string `json:"wait,omitempty"`
	}{Owner: r.Owner}
	if r.TTL != 0 {
		w.TTL = r.TTL.String()
	}
	if r.Wait != 0 {
		w.Wait = r.Wait.String()
	}
	return json.Marshal(&w)
}

// lockDecoder reads the body of a request about a lock.
type lockDecoder struct {
	*strictjson.Scanner
	req LockRequest
}

// The members of a lock's request; a renewal has the first alone.
const (
	lockTTL = iota
	lockOwner
	lockWait
)

var lockMembers = [...]string{lockTTL: "ttl", lockOwner: "owner", lockWait: "wait"}

// DecodeLockRequest reads the body of POST /v1/locks/{name}, as strictly as DecodeTxn, and fills in the defaults. Times
// are in whole milliseconds, rounded up. Errors: *InvalidError, which names the place as a JSON pointer.
func DecodeLockRequest(body []byte) (LockRequest, error) {
	d := lockDecoder{Scanner: strictjson.New(body), req: LockRequest{TTL: DefaultLockTTL}}
	seen, err := d.read(len(lockMembers))
	if err == nil && !seen.Has(lockOwner) {
		err = d.ErrorAt("is missing", "owner")
	}
	if err != nil {
		return LockRequest{}, refusal(err)
	}
	return d.req, nil
}

// DecodeLockRenewal reads the body of PUT /v1/locks/{name}: the new TTL, 0 if it is to stay as it was. The body may be
// empty. Errors: as DecodeLockRequest.
func DecodeLockRenewal(body []byte) (time.Duration, error) {
	if len(body) == 0 {
		return 0, nil
	}
	d := lockDecoder{Scanner: strictjson.New(body)}
	if _, err := d.read(lockTTL + 1); err != nil {
		return 0, refusal(err)
	}
	return d.req.TTL, nil
}

// read reads an object with the first members.
func (d *lockDecoder) read(members int) (strictjson.Members, error) {
	seen, err := d.Object(lockMembers[:members], d.member)
	if err == nil {
		err = d.End()
	}
	return seen, err
}

func (d *lockDecoder) member(place int) (err error) {
	switch place {
	case lockOwner:
		d.req.Owner, err = d.owner()
	case lockTTL:
		d.req.TTL, err = duration(d.Scanner, MinLockTTL, MaxLockTTL, "is not a duration from 100ms to 24h, such as 30s")
	case lockWait:
		d.req.Wait, err = duration(d.Scanner, 0, MaxLockWait, "is not a duration from 0s to 10m, such as 10s")
	}
	return err
}

func (d *lockDecoder) owner() (string, error) {
	owner, err := d.String()
	if err == nil && (len(owner) == 0 || len(owner) > MaxLockOwnerBytes) {
		return "", d.ErrorAt("has not 1 to 256 bytes")
	}
	return string(owner), err
}

// LockHeldError is ErrLockHeld with the holder.
type LockHeldError struct {
	Holder LockHolder
}

func (e *LockHeldError) Error() string {
	return fmt.Sprintf("the lock is held by %q, for another %d ms unless it is renewed", e.Holder.Owner, e.Holder.TTLMs)
}

// Is makes errors.Is(err, ErrLockHeld) hold.
func (e *LockHeldError) Is(target error) bool { return target == ErrLockHeld }
