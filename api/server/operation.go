package server

import (
	_ "embed"
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/ringkv/ringkv/api"
)

//go:embed openapi.yaml
var openAPI []byte

// operationRoutes are what machines that look after a node ask for.
func (s *Server) operationRoutes() []route {
	var routes []route
	routes = append(routes, read(api.PathHealth, s.health)...)
	routes = append(routes, read(api.PathReady, s.ready)...)
	routes = append(routes, read(api.PathMetrics, s.metricsHandler())...)
	return append(routes, read(api.PathOpenAPI, s.openAPI)...)
}

// health answers GET /healthz: whoever answers is alive.
func (s *Server) health(c echo.Context) error { return s.answerState(c, "alive") }

// ready answers GET /readyz.
func (s *Server) ready(c echo.Context) error {
	r := c.Request()
	ctx, cancel := s.withTimeout(r)
	defer cancel()
	if err := s.store.Ready(ctx); err != nil {
		return notReady(err)
	}
	return s.answerState(c, "ready")
}

// notReady says what is missing as a problem, whatever kind of error it is.
func notReady(err error) error {
	if errors.Is(err, api.ErrNotReady) {
		return err
	}
	return detailed{api.ErrNotReady, err.Error()}
}

func (s *Server) answerState(c echo.Context, state string) error {
	if _, err := parseQuery(c.Request().URL.RawQuery, noParams); err != nil {
		return err
	}
	c.Response().Header()[headerCacheControl] = s.fixed.noStore
	return s.writeBody(c, http.StatusOK, s.fixed.json, []byte(`{"status":"`+state+"\"}\n"))
}

// openAPI answers GET /openapi.yaml.
func (s *Server) openAPI(c echo.Context) error {
	if _, err := parseQuery(c.Request().URL.RawQuery, noParams); err != nil {
		return err
	}
	return s.writeBody(c, http.StatusOK, s.fixed.yaml, openAPI)
}
