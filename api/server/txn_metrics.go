package server

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/txn"
)

// txnMetrics are the numbers of the transactions that reached the Transactor.
type txnMetrics struct {
	total     *prometheus.CounterVec
	seconds   *prometheus.HistogramVec
	attempts  prometheus.Histogram
	conflicts prometheus.Counter
	replayed  prometheus.Counter
}

func newTxnMetrics() *txnMetrics {
	labels := []string{"protocol", "outcome"}
	return &txnMetrics{
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ringkv_transactions_total",
			Help: "Transactions answered, by protocol (1pc where one partition took part) and by committed or the error's code.",
		}, labels),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "ringkv_transaction_seconds",
			Help:    "Time from a whole request to the outcome.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, labels),
		attempts: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "ringkv_transaction_attempts", Help: "Attempts of a transaction whose outcome is known.", Buckets: []float64{1, 2, 3, 5, 8, 13},
		}),
		conflicts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "ringkv_transaction_conflicts_total", Help: "Attempts that came to nothing because of other transactions.",
		}),
		replayed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "ringkv_transactions_replayed_total", Help: "Answers given again for an idempotency key; not counted elsewhere.",
		}),
	}
}

// countsCollectors read the Transactor's own counters at each scrape.
func countsCollectors(t Transactor) []prometheus.Collector {
	gauge := func(name, help string, read func(c txn.Counts) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return read(t.TxnCounts()) })
	}
	counter := func(name, help string, read func(c txn.Counts) float64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return read(t.TxnCounts()) })
	}
	return []prometheus.Collector{
		gauge("ringkv_transactions_running", "Transactions that this node coordinates, until every partition has acknowledged the end.",
			func(c txn.Counts) float64 { return float64(c.Running) }),
		gauge("ringkv_transactions_recovering", "Abandoned transactions that this node is finishing.",
			func(c txn.Counts) float64 { return float64(c.Recovering) }),
		counter("ringkv_transaction_recoveries_total", "Recoveries of abandoned transactions begun.",
			func(c txn.Counts) float64 { return float64(c.Recoveries) }),
		counter("ringkv_transaction_alarms_total", "Broken invariants of the commit protocol: anything but 0 is a bug to report.",
			func(c txn.Counts) float64 { return float64(c.Alarms) }),
	}
}

func (m *txnMetrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.total, m.seconds, m.attempts, m.conflicts, m.replayed}
}

// observe counts one answer. out is nil if there is no outcome; err is what the client is told, nil for a 200.
func (m *txnMetrics) observe(req *txn.Request, out *txn.Outcome, err error, took time.Duration) {
	if out != nil && out.Replayed {
		m.replayed.Inc()
		return
	}
	protocol, outcome := wireProtocol(req.Protocol), string(api.Committed)
	if out != nil {
		protocol = wireProtocol(out.Protocol)
		m.attempts.Observe(float64(out.Attempts))
		m.conflicts.Add(float64(max(out.Attempts, 1) - 1))
	}
	if err != nil {
		code := api.CodeOf(err)
		outcome = string(code)
		if code == api.CodeConflict {
			m.conflicts.Inc()
		}
	}
	m.total.WithLabelValues(string(protocol), outcome).Inc()
	m.seconds.WithLabelValues(string(protocol), outcome).Observe(took.Seconds())
}
