package server

import (
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics are the server's own numbers, in a registry of their own.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	inFlight prometheus.Gauge
	conns    prometheus.Gauge
	panics   prometheus.Counter
	unrouted *routeMetrics
	txns     *txnMetrics
	locks    *lockMetrics
}

func newMetrics(store Store) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ringkv_http_requests_total", Help: "Requests answered, by verb, route and status.",
		}, []string{"method", "route", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "ringkv_http_request_seconds",
			Help:    "Time from a request's header to its answer.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"method", "route", "status"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{Name: "ringkv_http_in_flight", Help: "Requests being answered."}),
		conns:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "ringkv_http_connections", Help: "Open client connections."}),
		panics:   prometheus.NewCounter(prometheus.CounterOpts{Name: "ringkv_http_panics_total", Help: "Handlers that panicked."}),
		txns:     newTxnMetrics(),
		locks:    newLockMetrics(),
	}
	m.registry.MustRegister(m.requests, m.seconds, m.inFlight, m.conns, m.panics, newStatsCollector(store),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.registry.MustRegister(m.txns.collectors()...)
	m.registry.MustRegister(m.locks.collectors()...)
	m.unrouted = m.route("any", "none")
	return m
}

// metricsHandler answers GET /metrics.
func (s *Server) metricsHandler() echo.HandlerFunc {
	return echo.WrapHandler(promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(s.cfg.Logger.Handler(), slog.LevelError),
	}))
}

// maxStatus is one more than the largest HTTP status.
const maxStatus = 600

// routeMetrics are the numbers of one verb and route. Looking labels up costs more than counting, so each status is
// looked up once, when it first occurs.
type routeMetrics struct {
	all           *metrics
	method, route string
	byStatus      [maxStatus]atomic.Pointer[statusMetrics]
}

type statusMetrics struct {
	requests prometheus.Counter
	seconds  prometheus.Observer
}

func (m *metrics) route(method, route string) *routeMetrics {
	return &routeMetrics{all: m, method: method, route: route}
}

// observe counts one answer.
func (m *routeMetrics) observe(status int, took time.Duration) {
	if status < 0 || status >= maxStatus {
		status = 0
	}
	by := m.byStatus[status].Load()
	if by == nil {
		by = m.resolve(status)
	}
	by.requests.Inc()
	by.seconds.Observe(took.Seconds())
}

// resolve looks the labels of status up. Racing calls find the same counters, so the last store wins harmlessly.
func (m *routeMetrics) resolve(status int) *statusMetrics {
	text := strconv.Itoa(status)
	by := &statusMetrics{
		requests: m.all.requests.WithLabelValues(m.method, m.route, text),
		seconds:  m.all.seconds.WithLabelValues(m.method, m.route, text),
	}
	m.byStatus[status].Store(by)
	return by
}
