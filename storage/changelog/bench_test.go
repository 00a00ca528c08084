package changelog_test

import (
	"testing"

	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/storage/changelog"
)

// BenchmarkWrite records one change of 300 bytes in each of 64 partitions; an operation is one change.
func BenchmarkWrite(b *testing.B) {
	l, err := changelog.Open(b.TempDir(), changelog.Options{})
	if err != nil {
		b.Fatal(err)
	}
	batch := make([]storage.Changes, 64)
	for i := range batch {
		batch[i] = storage.Changes{Partition: storage.PartitionID(i), Data: make([]byte, 300)}
	}
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if n%len(batch) != 0 {
			continue
		}
		for i := range batch {
			batch[i].From, batch[i].Through = batch[i].Through, batch[i].Through+1
		}
		l.Write(batch)
		l.Publish()
	}
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
}
