package clienttest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/ringkv/ringkv/api"
)

// watches is what a Cluster remembers for watchers. A cursor is how many changes are behind it.
type watches struct {
	log       []told
	forgotten int           // of the log, from the beginning
	news      chan struct{} // closed and replaced when something changed
	closing   chan struct{} // closed by Close
}

// told is one event.
type told struct {
	event  string
	change api.WatchChange
}

func newWatches() watches {
	return watches{news: make(chan struct{}), closing: make(chan struct{})}
}

// tell remembers a change. The cluster's mutex is held.
func (c *Cluster) tell(event, key string, value []byte, version api.Version, txn string) {
	change := api.WatchChange{Key: []byte(key), Version: version, Txn: txn}
	if event == api.EventPut {
		change.Value = append([]byte{}, value...)
	}
	c.watches.log = append(c.watches.log, told{event, change})
	close(c.watches.news)
	c.watches.news = make(chan struct{})
}

// ForgetChanges makes every cursor up to now too old.
func (c *Cluster) ForgetChanges() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watches.forgotten = len(c.watches.log) + 1
}

// serveWatch answers GET /v1/watch, until the client leaves or the cluster is closed.
func (n *Node) serveWatch(w http.ResponseWriter, r *http.Request) {
	c := n.cluster
	at, err := c.position(r.Header.Get(api.HeaderLastEventID))
	if err != nil {
		WriteProblem(w, r, err)
		return
	}
	w.Header().Set(api.HeaderContentType, api.TypeEventStream)
	out := http.NewResponseController(w)
	position, _ := json.Marshal(api.WatchPosition{Cursor: cursorAt(at)})
	fmt.Fprintf(w, "event: ready\ndata: %s\nid: %s\n\n", position, cursorAt(at))
	for {
		_ = out.Flush() // the client's leaving ends the request
		events, news := c.toldSince(at)
		for _, e := range events {
			at++
			if strings.HasPrefix(string(e.change.Key), r.URL.Query().Get(api.QueryPrefix)) {
				fmt.Fprintf(w, "event: %s\ndata: %s\nid: %s\n\n", e.event, e.change.AppendJSON(nil), cursorAt(at))
			}
		}
		if len(events) > 0 {
			continue
		}
		select {
		case <-news:
		case <-r.Context().Done():
			return
		case <-c.watches.closing:
			return
		}
	}
}

func cursorAt(at int) string { return "w" + strconv.Itoa(at) }

// position reads a cursor; without one it is now.
func (c *Cluster) position(cursor string) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cursor == "" {
		return len(c.watches.log), nil
	}
	at, err := strconv.Atoi(strings.TrimPrefix(cursor, "w"))
	switch {
	case err != nil || cursorAt(at) != cursor || at > len(c.watches.log):
		return 0, &api.InvalidError{Where: "header Last-Event-ID", Detail: "is not a cursor of this cluster for this prefix"}
	case at < c.watches.forgotten:
		return 0, api.ErrCursorTooOld
	}
	return at, nil
}

func (c *Cluster) toldSince(at int) ([]told, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]told(nil), c.watches.log[at:]...), c.watches.news
}
