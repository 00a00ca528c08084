package txn

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"fmt"

	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// An id as clients see it is the transaction's node, incarnation and counter and its home partition as varints, followed
// by the check bytes, in lower-case base32: letters and digits only, so that it needs no escaping anywhere.
const (
	checkBytes = 8
	maxIDChars = 56 // base32 of the longest varints and the check
)

// FormatID makes the id that clients see. Its check is keyed with the cluster's id: an invented id, or one of another
// cluster, is found out without asking a group.
func FormatID(t storage.TxnID, home storage.PartitionID, clusterID string) string {
	b := make([]byte, 0, 40)
	b = binary.AppendUvarint(b, uint64(t.Node))
	b = binary.AppendUvarint(b, uint64(t.Incarnation))
	b = binary.AppendUvarint(b, t.Seq)
	b = binary.AppendUvarint(b, uint64(home))
	return idEncoding().EncodeToString(appendCheck(b, b, clusterID))
}

// ParseID takes apart what FormatID made for the same cluster. Anything else is ErrNotFound: an id that was never given.
func ParseID(s, clusterID string) (storage.TxnID, storage.PartitionID, error) {
	t, home, ok := parseID(s, clusterID)
	if !ok {
		return storage.TxnID{}, 0, fmt.Errorf("transaction id %.64q: %w", s, ErrNotFound)
	}
	return t, home, nil
}

func parseID(s, clusterID string) (t storage.TxnID, home storage.PartitionID, ok bool) {
	if len(s) > maxIDChars {
		return t, 0, false
	}
	b, err := idEncoding().DecodeString(s)
	if err != nil || len(b) <= checkBytes || idEncoding().EncodeToString(b) != s { // spare bits must be zero
		return t, 0, false
	}
	body, check := b[:len(b)-checkBytes], b[len(b)-checkBytes:]
	if !hmac.Equal(check, appendCheck(nil, body, clusterID)) { // constant time
		return t, 0, false
	}
	d := decoder{b: body}
	t.Node = ring.NodeID(d.uint(1<<32 - 1))
	t.Incarnation = uint32(d.uint(1<<32 - 1))
	t.Seq = d.uint(1<<64 - 1)
	home = storage.PartitionID(d.uint(1<<16 - 1))
	return t, home, d.finish() == nil
}

func appendCheck(dst, body []byte, clusterID string) []byte {
	mac := hmac.New(sha256.New, []byte(clusterID))
	mac.Write(body)
	return append(dst, mac.Sum(nil)[:checkBytes]...)
}

func idEncoding() *base32.Encoding {
	return base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)
}
