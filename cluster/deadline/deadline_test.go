package deadline_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringkv/ringkv/cluster/deadline"
)

// TestEndsInTime: never early, at most a Span late, and where it is near not late at all.
func TestEndsInTime(t *testing.T) {
	for _, in := range []time.Duration{
		-time.Second, 0, time.Millisecond, deadline.Near - 1, deadline.Near, deadline.Near + 1, deadline.Near + deadline.Span/2, 5 * time.Second,
	} {
		t.Run(in.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := deadline.NewLender(t.Context())
				time.Sleep(7 * time.Millisecond) // not at a Span's border
				begun := time.Now()
				ctx, done := l.Until(begun.Add(in))
				defer done()
				<-ctx.Done()
				late := time.Since(begun) - max(in, 0)
				if late < 0 || late >= deadline.Span || in < deadline.Near && late != 0 {
					t.Errorf("ended %v late", late)
				}
				if end, ok := ctx.Deadline(); !ok || end.Before(begun.Add(in)) {
					t.Errorf("says that it ends at %v", end)
				}
			})
		})
	}
}

// TestLendsTheSame: to whoever asks for about the same time, and done by one does not end it for another.
func TestLendsTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := deadline.NewLender(t.Context())
		at := time.Now().Add(5*time.Second + time.Millisecond)
		one, done := l.Until(at)
		other, otherDone := l.Until(at.Add(deadline.Span - 2*time.Millisecond))
		defer otherDone()
		done()
		if one != other || other.Err() != nil {
			t.Errorf("not the same, or ended: %v", other.Err())
		}
		if later, _ := l.Until(at.Add(deadline.Span)); later == one {
			t.Error("the same for a later time")
		}
		time.Sleep(6 * time.Second)
		if next, _ := l.Until(time.Now().Add(5 * time.Second)); next.Err() != nil {
			t.Error("lent after its end")
		}
	})
}

func TestEndsWithParent(t *testing.T) {
	parent, cancel := context.WithCancel(t.Context())
	l := deadline.NewLender(parent)
	ctx, done := l.Until(time.Now().Add(time.Hour))
	defer done()
	cancel()
	<-ctx.Done()
	again, done := l.Until(time.Now().Add(time.Hour))
	defer done()
	if again.Err() == nil {
		t.Error("lent after the parent's end")
	}
}

func BenchmarkLent(b *testing.B) {
	l := deadline.NewLender(b.Context())
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_, done := l.Until(time.Now().Add(5 * time.Second))
			done()
		}
	})
}

func BenchmarkOwn(b *testing.B) {
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_, done := context.WithDeadline(b.Context(), time.Now().Add(5*time.Second))
			done()
		}
	})
}
