package txn_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/txn"
)

func anyTxnID(t *rapid.T) storage.TxnID {
	return storage.TxnID{
		Node:        ring.NodeID(rapid.Uint32().Draw(t, "node")),
		Incarnation: rapid.Uint32().Draw(t, "incarnation"),
		Seq:         rapid.Uint64().Draw(t, "seq"),
	}
}

func TestIDsComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id, home := anyTxnID(t), storage.PartitionID(rapid.Uint16().Draw(t, "home"))
		cluster := rapid.String().Draw(t, "cluster")
		s := txn.FormatID(id, home, cluster)
		for _, c := range s {
			if (c < '0' || c > '9') && (c < 'a' || c > 'v') {
				t.Fatalf("%q needs escaping", s)
			}
		}
		gotID, gotHome, err := txn.ParseID(s, cluster)
		if err != nil || gotID != id || gotHome != home {
			t.Fatalf("%q parses as %v at %d, %v", s, gotID, gotHome, err)
		}
		if _, _, err := txn.ParseID(s, cluster+"x"); !errors.Is(err, txn.ErrNotFound) {
			t.Fatalf("another cluster's id: %v", err)
		}
		at := rapid.IntRange(0, len(s)-1).Draw(t, "at")
		digit := rapid.SampledFrom([]byte("0123456789abcdefghijklmnopqrstuv")).Draw(t, "digit")
		forged := s[:at] + string(digit) + s[at+1:]
		if _, _, err := txn.ParseID(forged, cluster); forged != s && !errors.Is(err, txn.ErrNotFound) {
			t.Fatalf("%q, made of %q, parses: %v", forged, s, err)
		}
	})
}

// TestIDIsStable holds the format: ids outlive an upgrade.
func TestIDIsStable(t *testing.T) {
	const want = "041qo0g70fkcc1p50qh22"
	id := storage.TxnID{Node: 1, Incarnation: 3, Seq: 300}
	if got := txn.FormatID(id, 7, "b2f0e8a6-4a6f-4d0e-9c39-0f5f7e1d2c3b"); got != want {
		t.Errorf("the id is %q, was %q", got, want)
	}
}

// TestIDIsKeyed holds that the check is what crypto/hmac makes of it, also with a cluster's id that is longer than a block.
func TestIDIsKeyed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id, home := anyTxnID(t), storage.PartitionID(rapid.Uint16().Draw(t, "home"))
		cluster := rapid.StringN(0, 200, -1).Draw(t, "cluster")
		var body []byte
		for _, part := range []uint64{uint64(id.Node), uint64(id.Incarnation), id.Seq, uint64(home)} {
			body = binary.AppendUvarint(body, part)
		}
		mac := hmac.New(sha256.New, []byte(cluster))
		mac.Write(body)
		want := base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(append(body, mac.Sum(nil)[:8]...))
		if got := txn.FormatID(id, home, cluster); got != strings.ToLower(want) {
			t.Fatalf("the id is %q, not %q", got, want)
		}
	})
}

func TestNoIDs(t *testing.T) {
	good := txn.FormatID(storage.TxnID{Node: 1, Incarnation: 1, Seq: 1}, 1, "c")
	for name, s := range map[string]string{
		"empty":           "",
		"upper case":      strings.ToUpper(good),
		"short":           good[:len(good)-1],
		"long":            good + "0",
		"padded":          good + "=",
		"a line break":    good[:4] + "\n" + good[4:],
		"much too long":   good + good + good + good,
		"no body":         "0000000000000",
		"spare bits":      good[:len(good)-1] + "v",
		"outside base 32": "zzzzzzzzzzzzzzzzzzzz",
	} {
		if _, _, err := txn.ParseID(s, "c"); !errors.Is(err, txn.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParseID(f *testing.F) {
	f.Add(txn.FormatID(storage.TxnID{Node: 1, Incarnation: 1, Seq: 1}, 1, "c"))
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		id, home, err := txn.ParseID(s, "c")
		if err == nil && txn.FormatID(id, home, "c") != s {
			t.Fatalf("%q is a second id of %v", s, id)
		}
	})
}
