package transport_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringkv/ringkv/cluster/transport"
	"github.com/ringkv/ringkv/ring"
)

// Whatever happens to connections, a request is handled at most once, one that was answered exactly once, and one
// that ended with an Unsent error never: both where goroutines wait for calls and answers, and where none do.
func TestOutcomesAreHonest(t *testing.T) {
	t.Run("waiting", func(t *testing.T) { testOutcomes(t, (*node).wait, false) })
	t.Run("told", func(t *testing.T) { testOutcomes(t, (*node).beTold, true) })
	t.Run("told, and written at once", func(t *testing.T) { testOutcomes(t, (*node).beToldNow, true) })
}

// caller makes a call and returns its end.
type caller func(n *node, ctx context.Context, body []byte) ([]byte, error)

func (n *node) wait(ctx context.Context, body []byte) ([]byte, error) { return n.Call(ctx, 2, 1, body) }

func (n *node) beTold(ctx context.Context, body []byte) ([]byte, error) {
	return told(ctx, n.Go, body)
}

func (n *node) beToldNow(ctx context.Context, body []byte) ([]byte, error) {
	return told(ctx, n.GoNow, body)
}

// goer is Go or GoNow.
type goer func(to ring.NodeID, method uint8, until time.Time, body []byte, done func([]byte, error))

func told(ctx context.Context, start goer, body []byte) ([]byte, error) {
	told := make(chan outcome) // a second end would block for ever, which synctest finds out
	until, _ := ctx.Deadline()
	start(2, 1, until, body, func(resp []byte, err error) { go func() { told <- outcome{resp, err} }() })
	o := <-told
	return o.body, o.err
}

func testOutcomes(t *testing.T, ask caller, begun bool) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		handled := make(map[uint64]int)
		net := newNetwork()
		a, _ := pair(t, net, func(a, b *transport.Config) {
			a.FrameBytes, a.MaxCalls, b.MaxHandlers = 256, 60, 40
			handle := func(body []byte) {
				mu.Lock()
				handled[binary.LittleEndian.Uint64(body)]++
				mu.Unlock()
				time.Sleep(rand.N(20 * time.Millisecond))
			}
			b.Handler = handlerFunc(func(_ context.Context, _ ring.NodeID, _ uint8, body []byte) (uint8, []byte) {
				handle(body)
				return transport.StatusOK, body
			})
			if begun {
				b.Begin = func(_ ring.NodeID, _ uint8, _ time.Duration, body []byte, respond transport.Respond) bool {
					go func() {
						handle(body)
						respond(transport.StatusOK, body)
					}()
					return true
				}
			}
		})
		stop := make(chan struct{})
		var chaos sync.WaitGroup
		chaos.Go(func() { breakLinks(t, net, stop) })
		ends := map[string]int{}
		var clients sync.WaitGroup
		for client := range 80 {
			clients.Go(func() {
				for i := range 50 {
					id := uint64(client)<<32 | uint64(i)
					end := judge(t, a, ask, id, handled, &mu)
					mu.Lock()
					ends[end]++
					mu.Unlock()
					time.Sleep(rand.N(30 * time.Millisecond))
				}
			})
		}
		clients.Wait()
		close(stop)
		chaos.Wait()
		if ends["answered"] == 0 || ends["unsent"] == 0 || ends["unknown"] == 0 {
			t.Fatalf("not every end was met: %v", ends)
		}
		time.Sleep(time.Second)
		mu.Lock()
		defer mu.Unlock()
		for id, n := range handled {
			if n != 1 {
				t.Errorf("request %x was handled %d times", id, n)
			}
		}
	})
}

// judge makes one call and checks what its end claims.
func judge(t *testing.T, a *node, ask caller, id uint64, handled map[uint64]int, mu *sync.Mutex) string {
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	body := binary.LittleEndian.AppendUint64(nil, id)
	got, err := ask(a, ctx, body)
	switch {
	case err == nil:
		mu.Lock()
		defer mu.Unlock()
		if !bytes.Equal(got, body) || handled[id] != 1 {
			t.Errorf("request %x was answered %x and handled %d times", id, got, handled[id])
		}
		return "answered"
	case transport.Unsent(err):
		time.Sleep(100 * time.Millisecond) // time enough to be handled after all
		mu.Lock()
		defer mu.Unlock()
		if handled[id] != 0 {
			t.Errorf("request %x was handled, and ended with %v", id, err)
		}
		return "unsent"
	default:
		return "unknown"
	}
}

// breakLinks stalls and cuts the newest link again and again until stop is closed.
func breakLinks(t *testing.T, net *network, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(rand.N(60 * time.Millisecond)):
		}
		lk := net.latest(t, "b")
		resume := lk.forward.stall()
		time.Sleep(rand.N(10 * time.Millisecond))
		lk.cut()
		resume()
	}
}
