package server

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ringkv/ringkv/api"
)

// lockMetrics are the numbers of the locks that were asked for.
type lockMetrics struct {
	seconds *prometheus.HistogramVec
}

func newLockMetrics() *lockMetrics {
	return &lockMetrics{seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "ringkv_lock_acquire_seconds",
		Help:    "Time from the request for a lock to its answer, the wait included, by granted or the error's code.",
		Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 600},
	}, []string{"outcome"})}
}

func (m *lockMetrics) collectors() []prometheus.Collector { return []prometheus.Collector{m.seconds} }

// observe counts one answer; err is nil if the lock was granted.
func (m *lockMetrics) observe(err error, took time.Duration) {
	outcome := "granted"
	if err != nil {
		outcome = string(api.CodeOf(err))
	}
	m.seconds.WithLabelValues(outcome).Observe(took.Seconds())
}
