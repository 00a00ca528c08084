package server

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// statsCollector turns one Store.Stats snapshot into samples for each scrape.
type statsCollector struct {
	store Store

	role, term, commit, applied, lag, keys, bytes *prometheus.Desc
	unpurged                                      *prometheus.Desc
	leaders, replicas, epoch, members             *prometheus.Desc
	fsync, apply                                  *prometheus.Desc
	engineDisk, logDisk, diskFree, diskFullness   *prometheus.Desc
	scrubPasses, scrubEnd, refilled, damaged      *prometheus.Desc
	expired, overdue, locks, waiters              *prometheus.Desc
}

func newStatsCollector(store Store) *statsCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("ringkv_"+name, help, labels, nil)
	}
	return &statsCollector{
		store:        store,
		role:         desc("partition_role", "1 for the role that this node's replica has.", "partition", "role"),
		term:         desc("partition_term", "Raft term.", "partition"),
		commit:       desc("partition_commit_index", "Last log index known to be committed.", "partition"),
		applied:      desc("partition_applied_index", "Last log index applied.", "partition"),
		lag:          desc("partition_lag_entries", "On a leader how far its slowest replica is behind, else how far this one is.", "partition"),
		keys:         desc("partition_keys", "Live keys.", "partition"),
		bytes:        desc("partition_bytes", "Bytes of live keys and their values.", "partition"),
		unpurged:     desc("partition_unpurged_keys", "Expired keys whose space is yet to be given back.", "partition"),
		leaders:      desc("leaders", "Partitions that this node leads."),
		replicas:     desc("replicas", "Replicas that this node holds."),
		epoch:        desc("metadata_epoch", "Epoch of the cluster metadata that this node knows."),
		members:      desc("gossip_members", "Members by what gossip believes of them.", "state"),
		fsync:        desc("raftlog_fsync_seconds", "Time of the raft log's fsyncs."),
		apply:        desc("apply_seconds", "Time to apply a batch of committed entries, the engine's commit included."),
		engineDisk:   desc("engine_disk_bytes", "Bytes that the storage engine occupies on disk."),
		logDisk:      desc("raftlog_disk_bytes", "Bytes that the raft log occupies on disk."),
		diskFree:     desc("disk_free_bytes", "Bytes free on the data directory's file system."),
		scrubPasses:  desc("scrub_passes_total", "Passes over everything on disk since the start."),
		scrubEnd:     desc("scrub_last_end_seconds", "When the last pass ended, in Unix time; 0 before the first."),
		refilled:     desc("refilled_replicas_total", "Replicas that were replaced from the others because they were damaged on disk."),
		damaged:      desc("damaged_replicas", "Replicas that are damaged on disk and not mended yet: look into the log if it stays above 0."),
		expired:      desc("expired_keys_total", "Keys that went away because their time was over, in partitions that this node led."),
		overdue:      desc("expiry_overdue_seconds", "How long ago the first key that is still there was due, in partitions that this node leads."),
		locks:        desc("locks_held", "Locks that somebody holds, in partitions that this node leads."),
		waiters:      desc("lock_waiters", "Requests in line for a lock, in partitions that this node leads."),
		diskFullness: desc("disk_fullness", "0 while there is room; 1: the node leads nothing, puts are refused where too few replicas have room; 2: all puts are refused; 3: all writes."),
	}
}

// Describe implements prometheus.Collector.
func (c *statsCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		c.role, c.term, c.commit, c.applied, c.lag, c.keys, c.bytes, c.unpurged, c.leaders, c.replicas, c.epoch, c.members,
		c.fsync, c.apply, c.engineDisk, c.logDisk, c.diskFree, c.diskFullness,
		c.scrubPasses, c.scrubEnd, c.refilled, c.damaged, c.expired, c.overdue, c.locks, c.waiters,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *statsCollector) Collect(ch chan<- prometheus.Metric) {
	stats := c.store.Stats()
	leaders := 0
	for i := range stats.Partitions {
		c.partition(ch, &stats.Partitions[i])
		if stats.Partitions[i].Role == RoleLeader {
			leaders++
		}
	}
	gauge(ch, c.leaders, float64(leaders))
	gauge(ch, c.replicas, float64(len(stats.Partitions)))
	gauge(ch, c.epoch, float64(stats.Epoch))
	gauge(ch, c.members, float64(stats.GossipAlive), "alive")
	gauge(ch, c.members, float64(stats.GossipSuspect), "suspect")
	gauge(ch, c.members, float64(stats.GossipDead), "dead")
	histogram(ch, c.fsync, &stats.Fsync)
	histogram(ch, c.apply, &stats.Apply)
	gauge(ch, c.engineDisk, float64(stats.EngineDiskBytes))
	gauge(ch, c.logDisk, float64(stats.LogDiskBytes))
	gauge(ch, c.diskFree, float64(stats.DiskFreeBytes))
	gauge(ch, c.diskFullness, float64(stats.DiskFullness))
	counter(ch, c.scrubPasses, float64(stats.ScrubPasses))
	counter(ch, c.refilled, float64(stats.ScrubRefilled))
	gauge(ch, c.damaged, float64(stats.ScrubDamaged))
	counter(ch, c.expired, float64(stats.ExpiredKeys))
	gauge(ch, c.overdue, stats.ExpiryOverdue.Seconds())
	gauge(ch, c.locks, float64(stats.LocksHeld))
	gauge(ch, c.waiters, float64(stats.LockWaiters))
	end := 0.0
	if !stats.ScrubLastEnd.IsZero() {
		end = float64(stats.ScrubLastEnd.Unix())
	}
	gauge(ch, c.scrubEnd, end)
}

func (c *statsCollector) partition(ch chan<- prometheus.Metric, p *PartitionStats) {
	id := strconv.Itoa(int(p.ID))
	gauge(ch, c.role, 1, id, string(p.Role))
	gauge(ch, c.term, float64(p.Term), id)
	gauge(ch, c.commit, float64(p.Commit), id)
	gauge(ch, c.applied, float64(p.Applied), id)
	gauge(ch, c.lag, float64(p.Lag), id)
	gauge(ch, c.keys, float64(p.Keys), id)
	gauge(ch, c.bytes, float64(p.Bytes), id)
	gauge(ch, c.unpurged, float64(p.Unpurged), id)
}

func gauge(ch chan<- prometheus.Metric, d *prometheus.Desc, value float64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
}

func counter(ch chan<- prometheus.Metric, d *prometheus.Desc, value float64) {
	ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, value)
}

// histogram sends l; nothing if it was never set up.
func histogram(ch chan<- prometheus.Metric, d *prometheus.Desc, l *Latency) {
	if len(l.Counts) != len(l.Bounds)+1 {
		return
	}
	buckets := make(map[float64]uint64, len(l.Bounds))
	var total uint64
	for i, bound := range l.Bounds {
		total += l.Counts[i]
		buckets[bound.Seconds()] = total
	}
	total += l.Counts[len(l.Bounds)]
	ch <- prometheus.MustNewConstHistogram(d, total, l.Sum.Seconds(), buckets)
}
