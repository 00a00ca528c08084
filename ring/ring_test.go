package ring

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"
)

func mustRing(t testing.TB, partitions int) *Ring {
	t.Helper()
	r, err := New(partitions)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestNew(t *testing.T) {
	for q := 1; q <= MaxPartitions; q *= 2 {
		if got := mustRing(t, q).Partitions(); got != q {
			t.Errorf("New(%d) has %d partitions", q, got)
		}
	}
	for _, q := range []int{-1, 0, 3, 63, 65, MaxPartitions - 1, MaxPartitions + 1, 2 * MaxPartitions} {
		if _, err := New(q); !errors.Is(err, ErrPartitions) {
			t.Errorf("New(%d): got %v, want ErrPartitions", q, err)
		}
	}
}

// TestPartitionGolden pins where keys live. A change here makes the data of every existing cluster unreachable.
func TestPartitionGolden(t *testing.T) {
	tests := []struct {
		key          string
		of64, of1024 PartitionID
	}{
		{"", 59, 957},
		{"a", 52, 841},
		{"key", 17, 273},
		{"0123456789abcdef", 23, 369},
		{"acct/1", 38, 623},
		{"tx/9", 47, 764},
		{"user:{42}:name", 27, 439},
		{"{42}", 27, 439},
		{"42", 27, 439},
		{"{}", 11, 184},
		{"{a", 27, 447},
		{"a}{b}", 30, 481},
		{"a/../b", 53, 852},
		{"\x00\xff", 56, 899},
	}
	small, large := mustRing(t, 64), mustRing(t, 1024)
	for _, tt := range tests {
		if got := small.Partition([]byte(tt.key)); got != tt.of64 {
			t.Errorf("%q of 64: partition %d, want %d", tt.key, got, tt.of64)
		}
		if got := large.Partition([]byte(tt.key)); got != tt.of1024 {
			t.Errorf("%q of 1024: partition %d, want %d", tt.key, got, tt.of1024)
		}
	}
}

// TestHashIsXXH64 pins the hash function itself to the test vectors of its specification.
func TestHashIsXXH64(t *testing.T) {
	largest := mustRing(t, MaxPartitions)
	for key, sum := range map[string]uint64{"": 0xef46db3751d8e999, "abc": 0x44bc2cf5ad770999} {
		if got, want := largest.Partition([]byte(key)), PartitionID(sum>>49); got != want {
			t.Errorf("%q: partition %d, want %d", key, got, want)
		}
	}
}

func TestHashTags(t *testing.T) {
	tests := []struct{ name, key, hashed string }{
		{"no brace", "plain", "plain"},
		{"tag in the middle", "a{user}b", "user"},
		{"whole key is a tag", "{user}", "user"},
		{"empty tag", "a{}b", "a{}b"},
		{"only an empty tag", "{}", "{}"},
		{"a later tag does not count", "{}{b}", "{}{b}"},
		{"first of two tags", "{a}{b}", "a"},
		{"never closed", "{a", "{a"},
		{"closed before opened", "a}{b}", "b"},
		{"only closed", "a}", "a}"},
		{"brace in the tag", "{{a}}", "{a"},
		{"empty key", "", ""},
		{"bytes that are no text", "\x00{\xff}\x00", "\xff"},
	}
	r := mustRing(t, MaxPartitions)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := PartitionID(xxhash.Sum64String(tt.hashed) >> 49)
			if got := r.Partition([]byte(tt.key)); got != want {
				t.Errorf("%q: partition %d, want %d, that of %q", tt.key, got, want, tt.hashed)
			}
		})
	}
}

// FuzzPartition compares with the rule as the API states it, written with other means.
func FuzzPartition(f *testing.F) {
	for _, key := range []string{"", "{}", "{a", "a}{b}", "{a}{b}", "{{}}", "}{", "user:{42}:name", "\x00\xff{\xfe}"} {
		f.Add([]byte(key), uint8(6))
	}
	f.Fuzz(func(t *testing.T, key []byte, log uint8) {
		q := 1 << (log % 16)
		before := bytes.Clone(key)
		got := mustRing(t, q).Partition(key)
		if want := naivePartition(string(key), q); got != want {
			t.Errorf("%q of %d: partition %d, want %d", key, q, got, want)
		}
		if !bytes.Equal(before, key) {
			t.Errorf("%q was changed to %q", before, key)
		}
	})
}

// naivePartition divides the space of hashes into q equal ranges.
func naivePartition(key string, q int) PartitionID {
	if _, rest, opened := strings.Cut(key, "{"); opened {
		if tag, _, closed := strings.Cut(rest, "}"); closed && len(tag) > 0 {
			key = tag
		}
	}
	if q == 1 {
		return 0
	}
	width := ^uint64(0)/uint64(q) + 1
	return PartitionID(xxhash.Sum64String(key) / width)
}

func TestPartitionAllocatesNothing(t *testing.T) {
	r := mustRing(t, 64)
	for _, key := range [][]byte{[]byte("0123456789abcdef"), []byte("user:{42}:name")} {
		if n := testing.AllocsPerRun(100, func() { r.Partition(key) }); n != 0 {
			t.Errorf("%q: %v allocations", key, n)
		}
	}
}

func BenchmarkPartition(b *testing.B) {
	for _, key := range []string{"0123456789abcdef", "user:{42}:name:x"} {
		b.Run(key, func(b *testing.B) {
			r, k := mustRing(b, 64), []byte(key)
			b.ReportAllocs()
			var sum PartitionID
			for b.Loop() {
				sum += r.Partition(k)
			}
			if sum == 1<<15-1 {
				b.Log(sum) // keeps the result alive
			}
		})
	}
}
