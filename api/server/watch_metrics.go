package server

import "github.com/prometheus/client_golang/prometheus"

// watchCollector turns one Watches.WatchStats into samples for each scrape.
type watchCollector struct {
	watches Watches

	watchers, held, events, lagged, resumed *prometheus.Desc
}

func newWatchCollector(w Watches) *watchCollector {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("ringkv_"+name, help, nil, nil)
	}
	return &watchCollector{
		watches:  w,
		watchers: desc("watchers", "Running watches."),
		held:     desc("watch_queue_bytes", "Bytes of events that wait for watchers, events that several share counted once."),
		events:   desc("watch_events_total", "Events given to watchers."),
		lagged:   desc("watch_lagged_total", "Watchers that were too slow and were cut off."),
		resumed:  desc("watch_resumed_total", "Watches that went on from a cursor."),
	}
}

// Describe implements prometheus.Collector.
func (c *watchCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.watchers, c.held, c.events, c.lagged, c.resumed} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *watchCollector) Collect(ch chan<- prometheus.Metric) {
	st := c.watches.WatchStats()
	gauge(ch, c.watchers, float64(st.Watchers))
	gauge(ch, c.held, float64(st.HeldBytes))
	for d, n := range map[*prometheus.Desc]uint64{c.events: st.Events, c.lagged: st.Lagged, c.resumed: st.Resumed} {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n))
	}
}
