package transport_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringkv/ringkv/cluster/transport"
	"github.com/ringkv/ringkv/cluster/wire"
	"github.com/ringkv/ringkv/ring"
)

// outcome is what a call came back with.
type outcome struct {
	body []byte
	err  error
}

// call makes a call on a goroutine of its own.
func call(ctx context.Context, n *node, to ring.NodeID, body []byte) <-chan outcome {
	c := make(chan outcome, 1)
	go func() {
		b, err := n.Call(ctx, to, 1, body)
		c <- outcome{b, err}
	}()
	return c
}

// ended returns the outcome of a call that must have ended by now.
func ended(t *testing.T, c <-chan outcome) outcome {
	t.Helper()
	select {
	case o := <-c:
		return o
	default:
		t.Fatal("the call has not ended")
		return outcome{}
	}
}

func TestCallsAreAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := pair(t, newNetwork(), func(_, b *transport.Config) {
			b.Handler = handlerFunc(func(_ context.Context, from ring.NodeID, method uint8, body []byte) (uint8, []byte) {
				time.Sleep(rand.N(time.Second)) // fake; answers come in any order
				return transport.StatusOK, fmt.Appendf(nil, "%d %d %s", from, method, body)
			})
		})
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				got, err := a.Call(t.Context(), 2, uint8(i), fmt.Append(nil, i))
				if want := fmt.Sprintf("1 %d %d", uint8(i), i); err != nil || string(got) != want {
					t.Errorf("got %q, %v, want %q", got, err, want)
				}
			})
		}
		wg.Wait()
		if s := a.Stats(); s.Calls != 200 || a.Peers()[0].Calls != 0 {
			t.Errorf("%d calls counted, %d in flight", s.Calls, a.Peers()[0].Calls)
		}
	})
}

func TestStatusComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := pair(t, newNetwork(), func(_, b *transport.Config) {
			b.Handler = handlerFunc(func(context.Context, ring.NodeID, uint8, []byte) (uint8, []byte) {
				return 42, []byte("why")
			})
		})
		_, err := a.Call(t.Context(), 2, 1, nil)
		status, ok := errors.AsType[*transport.StatusError](err)
		if !ok || status.Status != 42 || string(status.Body) != "why" || transport.Unsent(err) {
			t.Fatalf("got %v", err)
		}
	})
}

// The callee learns how long the caller waits, and gives up with it.
func TestDeadlineTravels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var left time.Duration
		var gaveUp error
		a, _ := pair(t, newNetwork(), func(_, b *transport.Config) {
			b.Handler = handlerFunc(func(ctx context.Context, _ ring.NodeID, _ uint8, _ []byte) (uint8, []byte) {
				deadline, _ := ctx.Deadline()
				left = time.Until(deadline)
				<-ctx.Done()
				gaveUp = ctx.Err()
				time.Sleep(time.Millisecond) // lets the caller's deadline win
				return transport.StatusOK, nil
			})
		})
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		_, err := a.Call(ctx, 2, 1, nil)
		if !errors.Is(err, context.DeadlineExceeded) || transport.Unsent(err) {
			t.Errorf("caller got %v", err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if left != 300*time.Millisecond || gaveUp != context.DeadlineExceeded {
			t.Errorf("the handler had %v left and ended with %v", left, gaveUp)
		}
	})
}

const pingInterval = 700 * time.Millisecond // default of Config.PingInterval

// Who is told of a call's end is told once: of its deadline's, of the node's, or that it was not made at all.
func TestToldOnce(t *testing.T) {
	for name, c := range map[string]struct {
		end    func(a, b *node)
		want   error
		unsent bool
	}{
		"deadline":       {func(_, _ *node) { time.Sleep(time.Second + pingInterval) }, context.DeadlineExceeded, false},
		"callee closes":  {func(_, b *node) { _ = b.Close() }, transport.ErrConnLost, false},
		"caller closes":  {func(a, _ *node) { _ = a.Close() }, transport.ErrConnLost, false},
		"closed before":  {nil, transport.ErrClosed, true},
		"expired before": {nil, transport.ErrExpired, true},
	} {
		for kind, start := range map[string]func(*node) goer{
			"Go":    func(n *node) goer { return n.Go },
			"GoNow": func(n *node) goer { return n.GoNow },
		} {
			t.Run(kind+", "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var late transport.Respond
					var within time.Duration
					a, b := pair(t, newNetwork(), func(_, b *transport.Config) {
						b.Begin = func(_ ring.NodeID, _ uint8, w time.Duration, _ []byte, respond transport.Respond) bool {
							late, within = respond, w
							return true
						}
					})
					synctest.Wait()
					until := time.Now().Add(time.Second)
					switch c.want {
					case transport.ErrClosed:
						_ = a.Close()
					case transport.ErrExpired:
						until = time.Now()
					}
					ends := make(chan error, 2)
					start(a)(2, 1, until, nil, func(_ []byte, err error) { ends <- err })
					synctest.Wait()
					if c.end != nil {
						if len(ends) != 0 || within != time.Second {
							t.Fatalf("told %d times, within %v", len(ends), within)
						}
						c.end(a, b)
						synctest.Wait()
						late(transport.StatusOK, nil)
						synctest.Wait()
					}
					if n := len(ends); n != 1 {
						t.Fatalf("told %d times", n)
					}
					if err := <-ends; !errors.Is(err, c.want) || transport.Unsent(err) != c.unsent {
						t.Errorf("ended with %v, want %v", err, c.want)
					}
					if n := b.Stats().Handling; n != 0 {
						t.Errorf("%d requests are still counted", n)
					}
				})
			})
		}
	}
}

func TestCallWithEndedContextIsNotMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, newNetwork(), nil)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := a.Call(ctx, 2, 1, nil)
		if !errors.Is(err, transport.ErrExpired) || !errors.Is(err, context.Canceled) || !transport.Unsent(err) {
			t.Errorf("got %v", err)
		}
		synctest.Wait()
		if n := b.Stats().Requests; n != 0 {
			t.Errorf("%d requests handled", n)
		}
	})
}

// A caller that goes away is forgotten; an answer that comes later is dropped and harms nobody.
func TestCancelledCallIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		a, _ := pair(t, newNetwork(), func(_, b *transport.Config) {
			b.Handler = handlerFunc(func(_ context.Context, _ ring.NodeID, _ uint8, body []byte) (uint8, []byte) {
				if string(body) == "wait" {
					<-release
				}
				return transport.StatusOK, body
			})
		})
		ctx, cancel := context.WithCancel(t.Context())
		first := call(ctx, a, 2, []byte("wait"))
		synctest.Wait()
		cancel()
		synctest.Wait()
		if o := ended(t, first); !errors.Is(o.err, context.Canceled) || transport.Unsent(o.err) {
			t.Fatalf("got %v", o.err)
		}
		if n := a.Peers()[0].Calls; n != 0 {
			t.Fatalf("%d calls in flight", n)
		}
		close(release)
		if got, err := a.Call(t.Context(), 2, 1, []byte("next")); err != nil || string(got) != "next" {
			t.Fatalf("the next call got %q, %v", got, err)
		}
	})
}

// When the connection breaks, calls end at that moment: those that may have been sent as lost, the others as unsent.
func TestBrokenConnectionEndsItsCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork()
		a, _ := pair(t, net, func(a, b *transport.Config) {
			a.FrameBytes = 1000
			b.Handler = handlerFunc(func(ctx context.Context, _ ring.NodeID, _ uint8, _ []byte) (uint8, []byte) {
				<-ctx.Done()
				return transport.StatusOK, nil
			})
		})
		handled := call(t.Context(), a, 2, nil)
		synctest.Wait()
		lk := net.latest(t, "b")
		resume := lk.forward.stall()
		writing := call(t.Context(), a, 2, make([]byte, 900)) // its frame is in the writer's hands
		synctest.Wait()
		queued := call(t.Context(), a, 2, make([]byte, 900))
		synctest.Wait()
		before := time.Now()
		lk.cut()
		resume()
		synctest.Wait()
		for name, c := range map[string]<-chan outcome{"handled": handled, "writing": writing} {
			if o := ended(t, c); !errors.Is(o.err, transport.ErrConnLost) || transport.Unsent(o.err) {
				t.Errorf("%s: %v", name, o.err)
			}
		}
		if o := ended(t, queued); !errors.Is(o.err, transport.ErrUnreachable) || !transport.Unsent(o.err) {
			t.Errorf("queued: %v", o.err)
		}
		if took := time.Since(before); took != 0 {
			t.Errorf("it took %v", took)
		}
	})
}

// A handler whose caller's connection is gone is told.
func TestHandlerEndsWithItsConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork()
		told := make(chan struct{})
		a, _ := pair(t, net, func(_, b *transport.Config) {
			b.Handler = handlerFunc(func(ctx context.Context, _ ring.NodeID, _ uint8, _ []byte) (uint8, []byte) {
				<-ctx.Done()
				close(told)
				return transport.StatusOK, nil
			})
		})
		lost := call(t.Context(), a, 2, nil)
		synctest.Wait()
		net.latest(t, "b").cut()
		<-told
		synctest.Wait()
		ended(t, lost)
	})
}

func TestCallsAreBounded(t *testing.T) {
	for name, change := range map[string]func(a, b *transport.Config){
		"by the caller": func(a, _ *transport.Config) { a.MaxCalls = 3 },
		"by the callee": func(_, b *transport.Config) { b.MaxHandlers = 3 },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				a, b := pair(t, newNetwork(), func(a, b *transport.Config) {
					change(a, b)
					b.Handler = handlerFunc(func(context.Context, ring.NodeID, uint8, []byte) (uint8, []byte) {
						<-release
						return transport.StatusOK, nil
					})
				})
				var fit []<-chan outcome
				for range 3 {
					fit = append(fit, call(t.Context(), a, 2, nil))
				}
				synctest.Wait()
				over := call(t.Context(), a, 2, nil)
				synctest.Wait()
				if o := ended(t, over); !errors.Is(o.err, transport.ErrOverloaded) || !transport.Unsent(o.err) {
					t.Errorf("one too many: %v", o.err)
				}
				close(release)
				synctest.Wait()
				for _, c := range fit {
					if o := ended(t, c); o.err != nil {
						t.Errorf("one that fits: %v", o.err)
					}
				}
				if _, err := a.Call(t.Context(), 2, 1, nil); err != nil {
					t.Errorf("afterwards: %v", err)
				}
				if n := b.Stats().Handling; n != 0 {
					t.Errorf("%d still counted as handled", n)
				}
			})
		})
	}
}

func TestRequestTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := pair(t, newNetwork(), nil)
		_, err := a.Call(t.Context(), 2, 1, make([]byte, wire.MaxFrame))
		if !errors.Is(err, transport.ErrTooLarge) || !transport.Unsent(err) {
			t.Fatalf("got %v", err)
		}
		big := bytes.Repeat([]byte("ringkv!!"), 1<<20) // 8 MiB
		if got, err := a.Call(t.Context(), 2, 1, big); err != nil || !bytes.Equal(got, big) {
			t.Fatalf("8 MiB: %d bytes, %v", len(got), err)
		}
	})
}

// An answer that cannot be queued must not leave its caller waiting.
func TestAnswerThatDoesNotFitEndsTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := pair(t, newNetwork(), func(_, b *transport.Config) {
			b.Handler = handlerFunc(func(context.Context, ring.NodeID, uint8, []byte) (uint8, []byte) {
				return transport.StatusOK, make([]byte, wire.MaxFrame)
			})
		})
		_, err := a.Call(t.Context(), 2, 1, nil)
		if !errors.Is(err, transport.ErrConnLost) || transport.Unsent(err) {
			t.Fatalf("got %v", err)
		}
	})
}

func TestCallsAroundClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := pair(t, newNetwork(), func(_, b *transport.Config) {
			b.Handler = handlerFunc(func(ctx context.Context, _ ring.NodeID, _ uint8, _ []byte) (uint8, []byte) {
				<-ctx.Done()
				return transport.StatusOK, nil
			})
		})
		inFlight := call(t.Context(), a, 2, nil)
		synctest.Wait()
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if o := ended(t, inFlight); !errors.Is(o.err, transport.ErrConnLost) || transport.Unsent(o.err) {
			t.Errorf("in flight: %v", o.err)
		}
		_, err := a.Call(t.Context(), 2, 1, nil)
		if !errors.Is(err, transport.ErrClosed) || !transport.Unsent(err) {
			t.Errorf("after Close: %v", err)
		}
	})
}
