package clienttest

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/ringkv/ringkv/api"
)

func (n *Node) route(w http.ResponseWriter, r *http.Request) {
	path := r.URL.EscapedPath()
	switch escaped, isKey := strings.CutPrefix(path, api.PathKV+"/"); {
	case isKey:
		n.serveKey(w, r, escaped)
	case path == api.PathKV:
		n.serveList(w, r)
	case path == api.PathTxn && r.Method == http.MethodPost:
		n.serveTxn(w, r)
	case strings.HasPrefix(path, api.PathTxn+"/"):
		n.serveTxnStatus(w, r, path[len(api.PathTxn)+1:])
	case strings.HasPrefix(path, api.PathLocks+"/"):
		n.serveLock(w, r, path[len(api.PathLocks)+1:])
	case path == api.PathWatch:
		n.serveWatch(w, r)
	case path == api.PathRing:
		n.serveRing(w, r)
	case path == api.PathRingLocate:
		n.serveLocate(w, r)
	case path == api.PathCluster:
		n.serveCluster(w)
	case path == api.PathHealth, path == api.PathReady:
		w.WriteHeader(http.StatusOK)
	default:
		WriteProblem(w, r, api.ErrNoRoute)
	}
}

// WriteProblem answers r with err as a problem document.
func WriteProblem(w http.ResponseWriter, r *http.Request, err error) {
	p := api.NewProblem(err, r.Method != http.MethodGet)
	w.Header()[api.HeaderContentType] = []string{api.TypeProblem}
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p)
}

func (n *Node) serveKey(w http.ResponseWriter, r *http.Request, escaped string) {
	key, err := url.PathUnescape(escaped)
	if err != nil || key == "" {
		WriteProblem(w, r, &api.InvalidError{Where: "path", Detail: "bad key"})
		return
	}
	switch r.Method {
	case http.MethodGet:
		n.serveGet(w, r, key)
	case http.MethodPut:
		n.servePut(w, r, key)
	case http.MethodDelete:
		n.serveDelete(w, r, key)
	default:
		WriteProblem(w, r, api.ErrMethod)
	}
}

func (n *Node) serveGet(w http.ResponseWriter, r *http.Request, key string) {
	c := n.cluster
	c.mu.Lock()
	it, ok := c.items[key]
	c.mu.Unlock()
	if !ok {
		WriteProblem(w, r, api.ErrNotFound)
		return
	}
	h := w.Header()
	h.Set(api.HeaderETag, it.version.ETag())
	h.Set(api.HeaderContentType, it.contentType)
	h.Set(api.HeaderPartition, strconv.Itoa(int(c.hash.Partition([]byte(key)))))
	if it.ttl > 0 {
		h.Set(api.HeaderTTLMs, strconv.FormatInt(it.ttl.Milliseconds(), 10))
	}
	_, _ = w.Write(it.value)
}

func (n *Node) servePut(w http.ResponseWriter, r *http.Request, key string) {
	value, err := io.ReadAll(http.MaxBytesReader(w, r.Body, api.DefaultMaxValueBytes))
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		WriteProblem(w, r, &api.LimitError{What: "value", Limit: tooLarge.Limit})
		return
	} else if err != nil {
		return // the client has gone
	}
	ttl, err := parseTTL(r.URL.Query().Get(api.QueryTTL))
	if err != nil {
		WriteProblem(w, r, err)
		return
	}
	c := n.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	old, exists := c.items[key]
	if err := check(r, old.version); err != nil {
		WriteProblem(w, r, err)
		return
	}
	if r.URL.Query().Get(api.QueryKeepTTL) == "true" {
		ttl = old.ttl
	}
	contentType := r.Header.Get(api.HeaderContentType)
	if contentType == "" {
		contentType = api.TypeOctetStream
	}
	c.revision++
	c.items[key] = item{value: value, contentType: contentType, version: c.revision, ttl: ttl}
	c.tell(api.EventPut, key, value, c.revision, "")
	w.Header().Set(api.HeaderETag, c.revision.ETag())
	if exists {
		w.WriteHeader(http.StatusOK)
	} else {
		w.WriteHeader(http.StatusCreated)
	}
}

func parseTTL(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	ttl, err := time.ParseDuration(s)
	if err != nil || ttl < api.MinTTL || ttl > api.MaxTTL {
		return 0, &api.InvalidError{Where: "query parameter ttl", Detail: "want a Go duration of 1ms to 87600h"}
	}
	return ttl, nil
}

func (n *Node) serveDelete(w http.ResponseWriter, r *http.Request, key string) {
	c := n.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := check(r, c.items[key].version); err != nil {
		WriteProblem(w, r, err)
		return
	}
	_, existed := c.items[key]
	delete(c.items, key)
	c.revision++
	if existed {
		c.tell(api.EventDelete, key, nil, c.revision, "")
	}
	w.WriteHeader(http.StatusNoContent)
}

// check judges r's conditions by the present version, 0 if the key is absent.
func check(r *http.Request, present api.Version) error {
	match, noneMatch := r.Header.Get(api.HeaderIfMatch), r.Header.Get(api.HeaderIfNoneMatch)
	if match != "" && !holds(match, present) || noneMatch != "" && holds(noneMatch, present) {
		return &api.ConditionError{Version: present}
	}
	return nil
}

func holds(tags string, present api.Version) bool {
	if tags == "*" {
		return present != 0
	}
	for tag := range strings.SplitSeq(tags, ",") {
		if v, ok := api.ParseETag(strings.TrimSpace(tag)); ok && v == present {
			return true
		}
	}
	return false
}

// serveList knows prefix, start, end, limit, keys_only, and a cursor that is the query with start moved on.
func (n *Node) serveList(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	limit, err := strconv.Atoi(query.Get(api.QueryLimit))
	if err != nil || limit < 1 || limit > api.MaxListLimit {
		WriteProblem(w, r, &api.InvalidError{Where: "query parameter limit", Detail: "want 1 to 1000"})
		return
	}
	if cursor := query.Get(api.QueryCursor); cursor != "" {
		query, _ = url.ParseQuery(cursor)
	}
	page := n.cluster.page(query, limit)
	w.Header().Set(api.HeaderContentType, api.TypeJSON)
	_ = json.NewEncoder(w).Encode(page)
}

func (c *Cluster) page(query url.Values, limit int) api.ListPage {
	c.mu.Lock()
	defer c.mu.Unlock()
	page := api.ListPage{Items: []api.Item{}}
	for _, key := range c.matching(query) {
		if len(page.Items) == limit {
			query.Set(api.QueryStart, key)
			page.NextCursor = query.Encode()
			break
		}
		it := c.items[key]
		listed := api.Item{Key: []byte(key), Version: it.version, TTL: it.ttl}
		if query.Get(api.QueryKeysOnly) != "true" {
			listed.Value = append([]byte{}, it.value...)
		}
		page.Items = append(page.Items, listed)
	}
	return page
}

// matching returns the keys that query selects, in order. c.mu is held.
func (c *Cluster) matching(query url.Values) []string {
	var keys []string
	start, end := query.Get(api.QueryStart), query.Get(api.QueryEnd)
	for key := range c.items {
		if strings.HasPrefix(key, query.Get(api.QueryPrefix)) && key >= start && (end == "" || key < end) {
			keys = append(keys, key)
		}
	}
	sort.Strings(keys)
	return keys
}

func (n *Node) serveRing(w http.ResponseWriter, r *http.Request) {
	c := n.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	etag := strconv.Quote(strconv.FormatUint(c.epoch, 10))
	w.Header().Set(api.HeaderETag, etag)
	if r.Header.Get(api.HeaderIfNoneMatch) == etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	v := api.Ring{Epoch: c.epoch, Hash: api.HashXXH64}
	for p, leader := range c.leaders {
		v.Partitions = append(v.Partitions, api.Partition{
			ID: api.PartitionID(p), Replicas: c.names(), Leader: c.Nodes[leader].Name,
		})
	}
	_ = json.NewEncoder(w).Encode(v)
}

// names returns the names of all nodes: each holds every partition.
func (c *Cluster) names() []string {
	var names []string
	for _, n := range c.Nodes {
		names = append(names, n.Name)
	}
	return names
}

func (n *Node) serveLocate(w http.ResponseWriter, r *http.Request) {
	c := n.cluster
	key := r.URL.Query().Get(api.QueryKey)
	_ = json.NewEncoder(w).Encode(api.Location{
		Key: []byte(key), Partition: c.hash.Partition([]byte(key)),
		Replicas: c.names(), Leader: c.Leader(key).Name,
	})
}

func (n *Node) serveCluster(w http.ResponseWriter) {
	c := n.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	v := api.Cluster{ClusterID: "c0ffee", Epoch: c.epoch, Partitions: Partitions, Replication: len(c.Nodes)}
	for i, node := range c.Nodes {
		leads := 0
		for _, leader := range c.leaders {
			if leader == i {
				leads++
			}
		}
		v.Nodes = append(v.Nodes, api.Node{
			ID: strconv.Itoa(i + 1), Name: node.Name, State: api.NodeActive, Alive: true, HTTP: node.Addr(),
			Weight: 1, Replicas: Partitions, Leaders: leads,
		})
	}
	_ = json.NewEncoder(w).Encode(v)
}
