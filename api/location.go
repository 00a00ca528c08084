package api

import (
	"encoding/base64"
	"encoding/json"
	"unicode/utf8"
)

// wireLocation is Location as encoding/json sees it.
type wireLocation struct {
	Key       *string     `json:"key,omitempty"`
	KeyB64    *string     `json:"key_b64,omitempty"`
	Partition PartitionID `json:"partition"`
	Replicas  []string    `json:"replicas"`
	Leader    string      `json:"leader"`
}

// MarshalJSON implements json.Marshaler.
func (l Location) MarshalJSON() ([]byte, error) {
	w := wireLocation{Partition: l.Partition, Replicas: l.Replicas, Leader: l.Leader}
	if utf8.Valid(l.Key) {
		key := string(l.Key)
		w.Key = &key
	} else {
		key := base64.StdEncoding.EncodeToString(l.Key)
		w.KeyB64 = &key
	}
	return json.Marshal(&w)
}

// UnmarshalJSON implements json.Unmarshaler.
func (l *Location) UnmarshalJSON(b []byte) error {
	var w wireLocation
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	key, err := text("key", w.Key, w.KeyB64)
	if err != nil {
		return err
	}
	*l = Location{Key: key, Partition: w.Partition, Replicas: w.Replicas, Leader: w.Leader}
	return nil
}
