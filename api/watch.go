package api

import (
	"encoding/json"
	"strconv"
)

// The names of the events of a watch.
const (
	EventReady  = "ready"  // first: WatchPosition; everything committed after it comes
	EventPut    = "put"    // WatchChange
	EventDelete = "delete" // WatchChange
	EventExpire = "expire" // WatchChange: the TTL was over
	EventLagged = "lagged" // last: WatchPosition; the reader was too slow, and goes on from there
)

// WatchPosition is the data of ready and lagged.
type WatchPosition struct {
	Cursor string `json:"cursor"` // also the event's id
}

// WatchChange is the data of put, delete and expire. As JSON: key or key_b64, value or value_b64 (left out if Value is nil),
// version, and txn if a transaction did it.
type WatchChange struct {
	Key     []byte
	Value   []byte  // of a put; nil if it was large and is not the present one any more
	Version Version // that the change gave the key
	Txn     string  // the id of the transaction, "" if none did it
}

// AppendJSON appends it as one JSON object, in one line.
func (c *WatchChange) AppendJSON(dst []byte) []byte {
	dst = append(dst, '{')
	dst = appendText(dst, "key", c.Key)
	if c.Value != nil {
		dst = append(dst, ',')
		dst = appendText(dst, "value", c.Value)
	}
	dst = append(dst, `,"version":`...)
	dst = strconv.AppendUint(dst, uint64(c.Version), 10)
	if c.Txn != "" {
		dst = append(dst, `,"txn":`...)
		dst = appendString(dst, c.Txn)
	}
	return append(dst, '}')
}

// MarshalJSON implements json.Marshaler.
func (c WatchChange) MarshalJSON() ([]byte, error) { return c.AppendJSON(nil), nil }

// UnmarshalJSON implements json.Unmarshaler. Members that it does not know are skipped, so that an old client can read a
// newer node's events.
func (c *WatchChange) UnmarshalJSON(b []byte) error {
	var w struct {
		wireItem
		Txn string `json:"txn"`
	}
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	item, err := w.item()
	if err != nil {
		return err
	}
	*c = WatchChange{Key: item.Key, Value: item.Value, Version: item.Version, Txn: w.Txn}
	return nil
}
