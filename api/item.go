package api

import (
	"encoding/json"
	"strconv"
	"time"
)

// Item is one key in a listing. As JSON: key or key_b64, value or value_b64 (left out if Value is nil), version, and
// ttl_ms if it expires.
type Item struct {
	Key     []byte
	Value   []byte // nil where only keys were asked for
	Version Version
	TTL     time.Duration // left when the page was made, 0 if it never expires; milliseconds on the wire, at least 1
}

// AppendJSON appends it as one JSON object.
func (it *Item) AppendJSON(dst []byte) []byte {
	dst = append(dst, '{')
	dst = appendText(dst, "key", it.Key)
	if it.Value != nil {
		dst = append(dst, ',')
		dst = appendText(dst, "value", it.Value)
	}
	dst = append(dst, `,"version":`...)
	dst = strconv.AppendUint(dst, uint64(it.Version), 10)
	if it.TTL > 0 {
		dst = append(dst, `,"ttl_ms":`...)
		dst = strconv.AppendInt(dst, TTLMillis(it.TTL), 10)
	}
	return append(dst, '}')
}

// TTLMillis returns a remaining life in whole milliseconds, never 0 for one that has not ended.
func TTLMillis(ttl time.Duration) int64 { return max(1, ttl.Milliseconds()) }

// MarshalJSON implements json.Marshaler.
func (it Item) MarshalJSON() ([]byte, error) { return it.AppendJSON(nil), nil }

// wireItem is Item as encoding/json reads it.
type wireItem struct {
	Key      *string `json:"key"`
	KeyB64   *string `json:"key_b64"`
	Value    *string `json:"value"`
	ValueB64 *string `json:"value_b64"`
	Version  Version `json:"version"`
	TTLMs    int64   `json:"ttl_ms"`
}

// item checks w and turns it into an Item. Errors: *InvalidError.
func (w *wireItem) item() (Item, error) {
	key, err := text("key", w.Key, w.KeyB64)
	if err != nil {
		return Item{}, err
	}
	if len(key) == 0 {
		return Item{}, &InvalidError{Where: "key", Detail: "is missing or empty"}
	}
	value, err := text("value", w.Value, w.ValueB64)
	if err != nil {
		return Item{}, err
	}
	return Item{Key: key, Value: value, Version: w.Version, TTL: time.Duration(w.TTLMs) * time.Millisecond}, nil
}

// UnmarshalJSON implements json.Unmarshaler. Members that it does not know are skipped, so that an old client can read
// a newer node's answers.
func (it *Item) UnmarshalJSON(b []byte) error {
	var w wireItem
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	item, err := w.item()
	if err != nil {
		return err
	}
	*it = item
	return nil
}

// ListPage is the body of GET /v1/kv.
type ListPage struct {
	Items      []Item `json:"items"`                 // in byte order of keys
	NextCursor string `json:"next_cursor,omitempty"` // "" after the last page
}

// StreamEnd is the last line of a streamed listing; a stream without it was cut.
type StreamEnd struct {
	End   bool `json:"end"` // always true
	Count int  `json:"count"`
}

// StreamLine is one line of a streamed listing: an item, or the end.
type StreamLine struct {
	Item Item
	End  *StreamEnd // non-nil on the last line, which has no Item
}

// UnmarshalJSON implements json.Unmarshaler.
func (l *StreamLine) UnmarshalJSON(b []byte) error {
	var w struct {
		wireItem
		End   bool `json:"end"`
		Count int  `json:"count"`
	}
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	if w.End {
		*l = StreamLine{End: &StreamEnd{End: true, Count: w.Count}}
		return nil
	}
	item, err := w.item()
	*l = StreamLine{Item: item}
	return err
}
