package clienttest

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/ringkv/ringkv/api"
)

// locks are the locks that are held. They do not expire by themselves; see BreakLock.
type locks struct {
	held  map[string]api.Lock
	freed chan struct{} // closed when one was given back
}

// BreakLock takes a lock from its holder, as if its time had ended.
func (c *Cluster) BreakLock(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.free(name)
}

// free needs c.mu.
func (c *Cluster) free(name string) {
	delete(c.locks.held, name)
	close(c.locks.freed)
	c.locks.freed = make(chan struct{})
}

func (n *Node) serveLock(w http.ResponseWriter, r *http.Request, escaped string) {
	name, err := url.PathUnescape(escaped)
	if err != nil || name == "" {
		WriteProblem(w, r, &api.InvalidError{Where: "path", Detail: "bad name"})
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client has gone
	}
	if r.Method == http.MethodPost {
		n.serveAcquire(w, r, name, body)
		return
	}
	c := n.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	l, held := c.locks.held[name]
	token, _ := strconv.ParseUint(r.URL.Query().Get(api.QueryToken), 10, 64)
	switch {
	case r.Method == http.MethodGet && held:
		l.Waiters = new(int)
		writeLock(w, http.StatusOK, l)
	case r.Method == http.MethodGet:
		WriteProblem(w, r, api.ErrLockNotFound)
	case !held || uint64(l.Token) != token:
		WriteProblem(w, r, api.ErrLockLost)
	case r.Method == http.MethodPut:
		c.renew(w, r, l, body)
	default:
		c.free(name)
		w.WriteHeader(http.StatusNoContent)
	}
}

func (c *Cluster) renew(w http.ResponseWriter, r *http.Request, l api.Lock, body []byte) {
	ttl, err := api.DecodeLockRenewal(body)
	if err != nil {
		WriteProblem(w, r, err)
		return
	}
	if ttl != 0 {
		l.TTL = ttl
	}
	c.locks.held[string(l.Name)] = l
	writeLock(w, http.StatusOK, l)
}

func (n *Node) serveAcquire(w http.ResponseWriter, r *http.Request, name string, body []byte) {
	req, err := api.DecodeLockRequest(body)
	if err != nil {
		WriteProblem(w, r, err)
		return
	}
	over := time.After(req.Wait)
	for {
		l, freed := n.cluster.take(name, req)
		if freed == nil {
			writeLock(w, http.StatusCreated, l)
			return
		}
		select {
		case <-freed:
		case <-over:
			WriteProblem(w, r, &api.LockHeldError{Holder: api.LockHolder{Owner: l.Owner, TTLMs: l.TTL.Milliseconds()}})
			return
		case <-r.Context().Done():
			return
		}
	}
}

// take gives the lock to req, or returns its holder's and what is closed when one is given back.
func (c *Cluster) take(name string, req api.LockRequest) (api.Lock, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l, held := c.locks.held[name]; held {
		return l, c.locks.freed
	}
	c.revision++
	l := api.Lock{Name: []byte(name), Owner: req.Owner, Token: api.FencingToken(c.revision), TTL: req.TTL}
	c.locks.held[name] = l
	return l, nil
}

func writeLock(w http.ResponseWriter, status int, l api.Lock) {
	w.Header()[api.HeaderContentType] = []string{api.TypeJSON}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(l)
}
