package server_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/api/server"
)

func TestLocks(t *testing.T) {
	s := newServer(t, server.Config{}, newFakeStore())
	for _, c := range []struct {
		name string
		call call
		want int
		body string // that the answer's begins with
	}{
		{"free", call{method: "GET", target: "/v1/locks/m"}, 404, ""},
		{"acquire", call{method: "POST", target: "/v1/locks/m", body: `{"owner":"w","ttl":"1s"}`}, 201, `{"name":"m","owner":"w","token":1,"ttl_ms":1000}`},
		{"held", call{method: "POST", target: "/v1/locks/m", body: `{"owner":"v"}`}, 423, ""},
		{"read", call{method: "GET", target: "/v1/locks/m"}, 200, `{"name":"m","owner":"w","token":1,"ttl_ms":1000,"waiters":0}`},
		{"head", call{method: "HEAD", target: "/v1/locks/m"}, 200, ""},
		{"renew", call{method: "PUT", target: "/v1/locks/m?token=1", body: `{"ttl":"2s"}`}, 200, `{"name":"m","owner":"w","token":1,"ttl_ms":2000}`},
		{"renew as before", call{method: "PUT", target: "/v1/locks/m?token=1"}, 200, `{"name":"m","owner":"w","token":1,"ttl_ms":2000}`},
		{"renew, no members", call{method: "PUT", target: "/v1/locks/m?token=1", body: `{}`}, 200, `{"name":"m"`},
		{"renew, foreign", call{method: "PUT", target: "/v1/locks/m?token=2"}, 410, ""},
		{"release, foreign", call{method: "DELETE", target: "/v1/locks/m?token=2"}, 410, ""},
		{"release", call{method: "DELETE", target: "/v1/locks/m?token=1"}, 204, ""},
		{"release again", call{method: "DELETE", target: "/v1/locks/m?token=1"}, 410, ""},
		{"any bytes", call{method: "POST", target: "/v1/locks/a%2F%2F..%00%FF", body: `{"owner":"w"}`}, 201, `{"name_b64":"YS8vLi4A/w==","owner":"w","token":2,"ttl_ms":30000}`},
		{"slashes", call{method: "POST", target: "/v1/locks//a/../b//", body: `{"owner":"w"}`}, 201, `{"name":"/a/../b//"`},
		{"verb", call{method: "PATCH", target: "/v1/locks/m"}, 405, ""},
	} {
		w := do(t, s, c.call)
		if w.Code != c.want || !strings.HasPrefix(w.Body.String(), c.body) {
			t.Errorf("%s: %d %s", c.name, w.Code, w.Body)
		}
		if w.Code >= 400 {
			if p := problem(t, c.call.method, w); w.Code == 423 && (p.Holder == nil || *p.Holder != api.LockHolder{Owner: "w", TTLMs: 5}) {
				t.Errorf("%s: holder %+v", c.name, p.Holder)
			}
		}
	}
}

func TestBadLockRequests(t *testing.T) {
	s := newServer(t, server.Config{}, newFakeStore())
	long := strings.Repeat("o", api.MaxLockOwnerBytes)
	if w := do(t, s, call{method: "POST", target: "/v1/locks/m", body: `{"owner":"` + long + `","ttl":"100ms","wait":"10m"}`}); w.Code != 201 {
		t.Fatalf("at the limits: %d %s", w.Code, w.Body)
	}
	for _, c := range []struct{ method, target, body, where string }{
		{"POST", "m", ``, "body"},
		{"POST", "m", `[]`, "body"},
		{"POST", "m", `{}`, "/owner"},
		{"POST", "m", `{"owner":""}`, "/owner"},
		{"POST", "m", `{"owner":"` + long + `o"}`, "/owner"},
		{"POST", "m", `{"owner":7}`, "/owner"},
		{"POST", "m", `{"owner":"w","Ttl":"1s"}`, "body"},
		{"POST", "m", `{"owner":"w","ttl":"1s","ttl":"1s"}`, "body"},
		{"POST", "m", `{"owner":"w"} x`, "body"},
		{"POST", "m", `{"owner":"w","ttl":"0s"}`, "/ttl"},
		{"POST", "m", `{"owner":"w","ttl":"-1s"}`, "/ttl"},
		{"POST", "m", `{"owner":"w","ttl":"99ms"}`, "/ttl"},
		{"POST", "m", `{"owner":"w","ttl":"24h1ms"}`, "/ttl"},
		{"POST", "m", `{"owner":"w","ttl":"1000000h"}`, "/ttl"},
		{"POST", "m", `{"owner":"w","ttl":30}`, "/ttl"},
		{"POST", "m", `{"owner":"w","wait":"-1s"}`, "/wait"},
		{"POST", "m", `{"owner":"w","wait":"10m1ms"}`, "/wait"},
		{"POST", "m?token=1", `{"owner":"w"}`, `query parameter "token"`},
		{"POST", "", `{"owner":"w"}`, "key"},
		{"PUT", "m?token=1", `{"ttl":"0s"}`, "/ttl"},
		{"PUT", "m?token=1", `{"owner":"w"}`, "body"},
		{"PUT", "m", ``, `query parameter "token"`},
		{"PUT", "m?token=0", ``, `query parameter "token"`},
		{"PUT", "m?token=01", ``, `query parameter "token"`},
		{"DELETE", "m?token=9007199254740992", ``, `query parameter "token"`},
		{"DELETE", "m?token=-1", ``, `query parameter "token"`},
		{"DELETE", "m?token=1&token=1", ``, `query parameter "token"`},
		{"GET", "m?token=1", ``, `query parameter "token"`},
	} {
		w := do(t, s, call{method: c.method, target: "/v1/locks/" + c.target, body: c.body})
		if w.Code != 400 {
			t.Errorf("%s %s %s: %d %s", c.method, c.target, c.body, w.Code, w.Body)
			continue
		}
		if p := problem(t, c.method, w); c.where != "body" && p.Where != c.where {
			t.Errorf("%s %s %s: where %q, want %q", c.method, c.target, c.body, p.Where, c.where)
		}
	}
	if w := do(t, s, call{method: "POST", target: "/v1/locks/" + strings.Repeat("k", 1025), body: `{"owner":"w"}`}); w.Code != 413 {
		t.Errorf("long name: %d", w.Code)
	}
	if w := do(t, s, call{method: "POST", target: "/v1/locks/m", body: strings.Repeat(" ", 9<<10)}); w.Code != 413 {
		t.Errorf("long body: %d", w.Code)
	}
}

// A client that hangs up while it waits is noticed at once, though its request allowed a long wait; until then the wait
// goes on, whatever the deadline for reading a request is.
func TestHungUpWaiterIsNoticed(t *testing.T) {
	store := newFakeStore()
	store.held = map[string]api.Lock{"m": {Name: []byte("m"), Owner: "w", Token: 1}}
	ended := make(chan error, 1)
	watch := &watchedLocks{fakeStore: store, ended: ended}
	bubble(t, server.Config{ReadTimeout: time.Second}, watch, func(t *testing.T, _ *server.Server, l *pipeListener) {
		conn := l.dial()
		body := `{"owner":"v","wait":"10m"}`
		fmt.Fprintf(conn, "POST /v1/locks/m HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		time.Sleep(9 * time.Minute) // on synctest's clock
		select {
		case err := <-ended:
			t.Fatalf("the wait ended by itself: %v", err)
		default:
		}
		hungUp := time.Now()
		conn.Close()
		if err := <-ended; !errors.Is(err, context.Canceled) || time.Since(hungUp) > 0 {
			t.Fatalf("the wait ended %v later with %v", time.Since(hungUp), err)
		}
	})
}

// watchedLocks tells how waits end.
type watchedLocks struct {
	*fakeStore
	ended chan error
}

func (w *watchedLocks) AcquireLock(ctx context.Context, name []byte, r api.LockRequest) (api.Lock, error) {
	l, err := w.fakeStore.AcquireLock(ctx, name, r)
	if r.Wait > 0 && err != nil {
		w.ended <- err
	}
	return l, err
}
