package server

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/ringkv/ringkv/api"
)

func (s *Server) clusterRoutes() []route {
	var routes []route
	routes = append(routes, read(api.PathCluster, s.getCluster)...)
	routes = append(routes, read(api.PathRing, s.getRing)...)
	return append(routes, read(api.PathRingLocate, s.locate)...)
}

// getCluster answers GET /v1/cluster.
func (s *Server) getCluster(c echo.Context) error {
	r := c.Request()
	if _, err := parseQuery(r.URL.RawQuery, noParams); err != nil {
		return err
	}
	ctx, cancel := s.withTimeout(r)
	defer cancel()
	cluster, err := s.store.Cluster(ctx)
	if err != nil {
		return err
	}
	if cluster.Nodes == nil {
		cluster.Nodes = []api.Node{}
	}
	return s.writeJSON(c, &cluster)
}

// getRing answers GET /v1/ring. Its tag is made from the body: the leaders in it change without the epoch.
func (s *Server) getRing(c echo.Context) error {
	r := c.Request()
	if _, err := parseQuery(r.URL.RawQuery, noParams); err != nil {
		return err
	}
	cond, err := parseReadCondition(r.Header)
	if err != nil {
		return err
	}
	ctx, cancel := s.withTimeout(r)
	defer cancel()
	ring, err := s.store.Ring(ctx)
	if err != nil {
		return err
	}
	body, err := json.Marshal(&ring)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(body)
	tag := hex.EncodeToString(sum[:8])
	return s.answerTagged(c, &cond, tag, append(body, '\n'))
}

// answerTagged sends a JSON body under a tag, or what cond makes of it.
func (s *Server) answerTagged(c echo.Context, cond *readCondition, tag string, body []byte) error {
	w := c.Response()
	status := cond.status(tag)
	if status == http.StatusPreconditionFailed {
		return detailed{api.ErrConditionFailed, "what exists has the tag \"" + tag + "\""}
	}
	w.Header()[api.HeaderETag] = []string{`"` + tag + `"`}
	if status == http.StatusNotModified {
		w.WriteHeader(status)
		return nil
	}
	return s.writeBody(c, http.StatusOK, s.fixed.json, body)
}

// locate answers GET /v1/ring/locate?key=.
func (s *Server) locate(c echo.Context) error {
	q, err := parseQuery(c.Request().URL.RawQuery, locateParams)
	if err != nil {
		return err
	}
	key := []byte(q.get(api.QueryKey))
	if err := checkKey("query parameter key", len(key)); err != nil {
		return err
	}
	location, err := s.store.Locate(bytes.Clone(key))
	if err != nil {
		return err
	}
	location.Key = key
	return s.writeJSON(c, &location)
}
