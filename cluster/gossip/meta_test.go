package gossip

import (
	"errors"
	"testing"

	"pgregory.net/rapid"

	"github.com/ringkv/ringkv/ring"
)

func drawMeta(t *rapid.T) Meta {
	m := Meta{
		Node:  ring.NodeID(rapid.Uint32().Draw(t, "node")),
		Epoch: rapid.Uint64().Draw(t, "epoch"),
		HTTP:  rapid.StringN(0, 40, 130).Draw(t, "http"),
		Peer:  rapid.StringN(0, 40, 130).Draw(t, "peer"),
		Name:  rapid.StringN(0, 40, 130).Draw(t, "name"),

		Crowded: rapid.Bool().Draw(t, "crowded"),
	}
	copy(m.Cluster[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "cluster"))
	copy(m.UUID[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "uuid"))
	return m
}

func TestMetaRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawMeta(t)
		b, err := m.append(nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := decodeMeta(b); err != nil || got != m {
			t.Fatalf("%+v came back as %+v, %v", m, got, err)
		}
		if got, err := decodeMeta(append(b, "of a later version"...)); err != nil || got != m {
			t.Fatalf("with more behind it: %+v, %v", got, err)
		}
		cut := rapid.IntRange(0, len(b)-1).Draw(t, "cut")
		if got, err := decodeMeta(b[:cut]); !errors.Is(err, errMalformed) {
			t.Fatalf("%d of %d bytes: %+v, %v", cut, len(b), got, err)
		}
	})
}

func FuzzDecodeMeta(f *testing.F) {
	b, err := Meta{Node: 3, Epoch: 300, HTTP: "127.0.0.1:8080", Peer: "127.0.0.1:7947", Name: "n1"}.append(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeMeta(b)
		if err != nil {
			return
		}
		again, err := m.append(nil)
		if errors.Is(err, ErrMetaTooLarge) {
			return
		}
		if got, err := decodeMeta(again); err != nil || got != m || len(again) > len(b) {
			t.Fatalf("%x means %+v, which is written %x, which means %+v, %v", b, m, again, got, err)
		}
	})
}
