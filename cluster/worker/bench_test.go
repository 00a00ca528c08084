package worker_test

import (
	"testing"

	"github.com/ringkv/ringkv/cluster/worker"
)

// BenchmarkPut is a put's way through a worker on disks in memory, 64 a turn: where nothing is locked, while a
// transaction holds another key, and while one waits for a third.
func BenchmarkPut(b *testing.B) {
	for name, prepare := range map[string]func(*machine){
		"free": func(*machine) {},
		"beside a lock": func(m *machine) {
			m.do(part{p: 0, seq: 1, age: 1, puts: []string{"x"}}.op())
		},
		"beside a waiter": func(m *machine) {
			m.do(part{p: 0, seq: 9, age: 9, puts: []string{"x"}}.op())
			m.later(part{p: 0, seq: 1, age: 1, puts: []string{"x", "y"}}.op())
		},
	} {
		b.Run(name, func(b *testing.B) {
			m := newMachine(b)
			m.form()
			m.open()
			m.settle()
			prepare(m)
			m.write(b, func() *worker.Op { return put(0, "k", "v") })
		})
	}
}

// write runs b.N operations.
func (m *machine) write(b *testing.B, next func() *worker.Op) {
	b.ReportAllocs()
	waiting := 0
	for i := range b.N {
		op := next()
		waiting++
		op.Done = func(op *worker.Op) {
			if waiting--; op.Err != nil {
				b.Fatal(op.Err)
			}
		}
		m.worker.Submit(op)
		if i%64 == 63 {
			m.settle()
			m.sent = m.sent[:0]
		}
	}
	m.settle()
	if waiting != 0 {
		b.Fatalf("%d have no answer", waiting)
	}
}
