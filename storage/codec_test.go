package storage_test

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/ringkv/ringkv/storage"
)

// commands are valid and odd ones, for round trips and as seeds.
func commands() []storage.Command {
	return []storage.Command{
		{Kind: storage.KindPut, Key: []byte("k"), Value: []byte("v")},
		{Kind: storage.KindPut, Clock: 1 << 40, Key: []byte{0, 0xff}, Value: []byte{}, ContentType: "text/plain", TTL: 1000},
		{Kind: storage.KindPut, Key: []byte("k"), Value: bytes.Repeat([]byte("x"), 300), KeepTTL: true,
			Cond: storage.Condition{IfMatch: []storage.Version{1, 1 << 52}, IfNoneMatchAny: true}},
		{Kind: storage.KindPut, Key: []byte("k"), Value: []byte{},
			Cond: storage.Condition{IfMatch: []storage.Version{}, IfMatchAny: true, IfNoneMatch: []storage.Version{7}}},
		{Kind: storage.KindDelete, Key: []byte("k"), Cond: storage.Condition{IfMatchAny: true}},
		{Kind: storage.KindDelete, Key: []byte{}},
		{Kind: storage.KindExpire, Clock: 12345, Limit: 1<<32 - 1},
		{Kind: storage.KindPurge, Clock: 12345, Limit: 256},
	}
}

func TestCommandRoundTrip(t *testing.T) {
	for _, c := range append(commands(), leaseCommands()...) {
		b := storage.AppendCommand([]byte("before"), &c)
		got, err := storage.DecodeCommand(b[len("before"):])
		if err != nil {
			t.Fatalf("%+v: %v", c, err)
		}
		if !reflect.DeepEqual(got, c) {
			t.Errorf("got %+v, want %+v", got, c)
		}
	}
}

func TestDecodeCommandRefuses(t *testing.T) {
	good := storage.AppendCommand(nil, &commands()[1])
	for name, b := range map[string][]byte{
		"nothing":              {},
		"another format":       append([]byte{2}, good[1:]...),
		"kind 0":               {1, 0, 0},
		"unknown kind":         {1, 99, 0},
		"trailing byte":        append(bytes.Clone(good), 0),
		"cut":                  good[:len(good)-1+0][:len(good)-2],
		"unknown flag":         {1, 1, 0, 0x80, 1, 'k', 0},
		"flag of another kind": {1, 2, 0, 1, 1, 'k'},
		"padded varint":        {1, 3, 0x80, 0x00, 1},
		"TTL of 0":             {1, 1, 0, 2, 1, 'k', 0, 0},
		"empty content type":   {1, 1, 0, 4, 1, 'k', 0, 0},
		"limit over 32 bits":   {1, 3, 0, 0xff, 0xff, 0xff, 0xff, 0x1f},
		"too many versions":    {1, 2, 0, 8, 1, 'k', 0xff, 0xff, 0xff, 0x7f, 1},
	} {
		if c, err := storage.DecodeCommand(b); !errors.Is(err, storage.ErrMalformed) {
			t.Errorf("%s: got %+v, %v, want ErrMalformed", name, c, err)
		}
	}
}

func TestResultRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := storage.Result{
			Status:  storage.Status(rapid.IntRange(0, int(storage.StatusExpired)).Draw(t, "status")),
			Version: storage.Version(rapid.Uint64().Draw(t, "version")),
			Count:   rapid.Uint32().Draw(t, "count"),
		}
		got, err := storage.DecodeResult(storage.AppendResult(nil, want))
		if err != nil || got != want {
			t.Fatalf("got %+v, %v, want %+v", got, err, want)
		}
	})
}

func TestLeaseResultRoundTrip(t *testing.T) {
	for _, r := range leaseReplies() {
		want := storage.Result{Status: storage.StatusLease, Lease: &r}
		b := storage.AppendResult(nil, want)
		if got, err := storage.DecodeResult(b); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
		for i := range b {
			if _, err := storage.DecodeResult(b[:i]); !errors.Is(err, storage.ErrMalformed) {
				t.Errorf("the first %d of %d bytes: %v", i, len(b), err)
			}
		}
	}
}

// FuzzCommand: what decodes is the one encoding of its command, and applies or is refused without a fault.
func FuzzCommand(f *testing.F) {
	for _, c := range slices.Concat(commands(), txnCommands(), leaseCommands()) {
		f.Add(storage.AppendCommand(nil, &c))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := storage.DecodeCommand(b)
		if err != nil {
			if !errors.Is(err, storage.ErrMalformed) {
				t.Fatalf("%v is no ErrMalformed", err)
			}
		} else if again := storage.AppendCommand(nil, &c); !bytes.Equal(again, b) {
			t.Fatalf("%x decodes to what encodes as %x", b, again)
		} else {
			checkKeys(t, &c, b)
		}
		applyFuzzed(t, b)
	})
}

// FuzzResult: what decodes is the one encoding of its result.
func FuzzResult(f *testing.F) {
	f.Add(storage.AppendResult(nil, storage.Result{}))
	f.Add(storage.AppendResult(nil, storage.Result{Status: storage.StatusExpired, Version: 1 << 52, Count: 1<<32 - 1}))
	for _, r := range txnReplies() {
		f.Add(storage.AppendResult(nil, storage.Result{Status: storage.StatusTxn, Txn: &r}))
	}
	for _, r := range leaseReplies() {
		f.Add(storage.AppendResult(nil, storage.Result{Status: storage.StatusLease, Lease: &r}))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := storage.DecodeResult(b)
		if err != nil {
			if !errors.Is(err, storage.ErrMalformed) {
				t.Fatalf("%v is no ErrMalformed", err)
			}
			return
		}
		if again := storage.AppendResult(nil, r); !bytes.Equal(again, b) {
			t.Fatalf("%x decodes to what encodes as %x", b, again)
		}
	})
}

// FuzzSnapshot: no bytes make VerifySnapshot do anything but return a Meta or ErrCorrupt, and what it accepts installs.
func FuzzSnapshot(f *testing.F) {
	r := newReplica(f, 3)
	f.Add(r.snapshot())
	for i := range commands() {
		r.apply(&commands()[i])
	}
	f.Add(r.snapshot())
	f.Fuzz(func(t *testing.T, b []byte) {
		meta, err := storage.VerifySnapshot(bytes.NewReader(b))
		if err != nil {
			if !errors.Is(err, storage.ErrCorrupt) {
				t.Fatalf("%v is no ErrCorrupt", err)
			}
			return
		}
		fresh := newReplica(t, 3)
		if err := fresh.install(b); err != nil {
			return // of another partition
		}
		if got := fresh.p.Meta(); !reflect.DeepEqual(got, meta) {
			t.Fatalf("installed %+v, verified %+v", got, meta)
		}
	})
}

func TestNeedsSpace(t *testing.T) {
	for kind, want := range map[storage.Kind]bool{
		storage.KindPut: true, storage.KindPrepare: true, storage.KindSingle: true, storage.KindAcquire: true,
		storage.KindRenew: false, storage.KindRelease: false, storage.KindCancel: false, storage.KindLapse: false,
		storage.KindDelete: false, storage.KindExpire: false, storage.KindPurge: false, storage.KindCommit: false, storage.KindAbort: false,
	} {
		if got := storage.NeedsSpace([]byte{1, byte(kind), 0}); got != want {
			t.Errorf("kind %d: %t", kind, got)
		}
	}
	for _, c := range commands() {
		if got := storage.NeedsSpace(storage.AppendCommand(nil, &c)); got != (c.Kind == storage.KindPut) {
			t.Errorf("kind %d: %t", c.Kind, got)
		}
	}
	if storage.NeedsSpace(nil) || storage.NeedsSpace([]byte{1}) {
		t.Error("what is no command needs no space")
	}
}
