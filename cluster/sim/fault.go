package sim

import (
	"time"

	"github.com/ringkv/ringkv/cluster/worker"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// fault is something that may go wrong, and how often it does beside the others.
type fault struct {
	weight int
	happen func(*world)
}

func faults() []fault {
	return []fault{
		{14, (*world).cut},
		{8, (*world).badWeather},
		{10, func(w *world) { w.crashSome(1, true) }},
		{6, func(w *world) { w.crashSome(1, false) }},
		{3, func(w *world) { w.crashSome(2, true) }},
		{3, func(w *world) { w.crashSome(len(w.nodes), true) }},
		{5, (*world).orderlyStop},
		{10, (*world).pause},
		{16, (*world).breakDisk},
		{8, (*world).wrongHint},
		{5, (*world).placeAnew},
		{4, (*world).grow},
		{8, (*world).wipe},
	}
}

// startFaults lets something go wrong now and then for as long as the chaos lasts.
func (w *world) startFaults() {
	all := faults()
	if !w.cfg.Direct {
		all = append(all, fault{8, (*world).fillDisk})
	}
	sum := 0
	for _, f := range all {
		sum += f.weight
	}
	pace := w.between(100*time.Millisecond, 900*time.Millisecond) // some seeds are wilder than others
	if w.cfg.Pace != 0 {
		pace = w.cfg.Pace
	}
	var next func()
	next = func() {
		if w.calm {
			return
		}
		n := w.rng.IntN(sum)
		for _, f := range all {
			if n -= f.weight; n < 0 {
				f.happen(w)
				break
			}
		}
		w.after(w.between(pace/4, 2*pace), next)
	}
	w.after(w.between(time.Second, 3*time.Second), next)
}

// cut parts the network for a while: one link in one or both directions, or one node or a half from the rest.
func (w *world) cut() {
	w.stats.Cuts++
	var links []link
	a, b := w.rng.IntN(len(w.nodes)), w.rng.IntN(len(w.nodes))
	switch w.rng.IntN(4) {
	case 0:
		links = append(links, link{a, b})
	case 1:
		links = append(links, link{a, b}, link{b, a})
	case 2:
		links = w.linksBetween(func(i int) bool { return i == a }, w.chance(0.3))
	case 3:
		side := w.rng.Uint64()
		links = w.linksBetween(func(i int) bool { return side>>i&1 == 1 }, false)
	}
	w.note("cut", uint64(len(links)), 0)
	for _, l := range links {
		w.net.blocked[l] = true
		if w.net.blocked[link{l.to, l.from}] && w.chance(0.5) {
			w.noticeGone(w.nodes[l.from], w.nodes[l.to].id)
		}
	}
	w.after(w.between(100*time.Millisecond, 4*time.Second), func() {
		for _, l := range links {
			delete(w.net.blocked, l)
			back := w.nodes[l.to].id
			w.nodes[l.from].arrive(func(wk *worker.Worker) { wk.NodeBack(back) })
		}
	})
}

// noticeGone tells a node after a while that its connection to another one broke, as the transport does.
func (w *world) noticeGone(n *node, gone ring.NodeID) {
	life := n.life
	w.after(w.between(20*time.Millisecond, 400*time.Millisecond), func() {
		if n.life == life {
			n.arrive(func(wk *worker.Worker) { wk.NodeGone(gone) })
		}
	})
}

// linksBetween are the links from one side to the other and, unless oneWay, back.
func (w *world) linksBetween(side func(int) bool, oneWay bool) []link {
	var out []link
	for i := range w.nodes {
		for j := range w.nodes {
			if side(i) && !side(j) || !oneWay && !side(i) && side(j) {
				out = append(out, link{i, j})
			}
		}
	}
	return out
}

// badWeather makes the network lossy, doubling or slow for a while.
func (w *world) badWeather() {
	w.net.loss, w.net.double = w.rng.Float64()*0.3, w.rng.Float64()*0.2
	w.net.slow = w.between(time.Millisecond, 100*time.Millisecond)
	w.note("weather", uint64(w.net.slow), 0)
	w.after(w.between(200*time.Millisecond, 2*time.Second), func() {
		w.net.loss, w.net.double, w.net.slow = 0.01, 0.01, 8*time.Millisecond
	})
}

// crashSome crashes up to n of the nodes that run, at the same moment.
func (w *world) crashSome(n int, power bool) {
	up := w.up()
	w.rng.Shuffle(len(up), func(i, j int) { up[i], up[j] = up[j], up[i] })
	for _, v := range up[:min(n, len(up))] {
		v.crash(power)
		v.restartLater()
	}
}

// orderlyStop hands a node's leaderships over and stops it a little later, whether that worked or not.
func (w *world) orderlyStop() {
	n := w.anyNode()
	if n == nil {
		return
	}
	n.arrive(func(wk *worker.Worker) { wk.HandOver() })
	life := n.life
	w.after(w.between(0, 200*time.Millisecond), func() {
		if n.life == life && n.worker != nil {
			n.stop()
			n.restartLater()
		}
	})
}

// pause makes a node stand still, to go on later as if nothing had happened.
func (w *world) pause() {
	n := w.anyNode()
	if n == nil {
		return
	}
	w.stats.Pauses++
	w.note("pause", uint64(n.index), 0)
	n.paused = true
	life := n.life
	w.after(w.between(100*time.Millisecond, 4*time.Second), func() {
		if n.life == life {
			n.resume()
		}
	})
}

// breakDisk makes one of a node's next disk operations fail: between a leader's sending and its fsync, between two
// records, between log and state machine, in the middle of an install.
func (w *world) breakDisk() {
	n := w.anyNode()
	if n == nil || n.fuse.left >= 0 || n.fuse.blown {
		return
	}
	w.note("fuse", uint64(n.index), 0)
	n.fuse = fuse{left: w.rng.IntN(40), sync: w.chance(0.7), keep: w.chance(0.5)}
}

// wrongHint tells a node that another one is gone, or that messages to it are being lost, true or not.
func (w *world) wrongHint() {
	n, o := w.anyNode(), w.anyNode()
	if n == nil {
		return
	}
	if w.chance(0.7) {
		n.arrive(func(wk *worker.Worker) { wk.NodeGone(o.id) })
		return
	}
	s := n.worker.State()
	if s == nil {
		return
	}
	p := storage.PartitionID(w.rng.IntN(w.cfg.Partitions))
	for _, id := range s.Target(p).Voters {
		n.arrive(func(wk *worker.Worker) { wk.Unreachable(p, id) })
	}
}

// placeAnew has the replicas of a node placed elsewhere, or back, whether it is there or not.
func (w *world) placeAnew() {
	n := w.nodes[w.rng.IntN(len(w.nodes))]
	if n.id != 0 && !n.gone {
		w.setDown(n.id, w.chance(0.5))
	}
}

// grow adds a node while there is room.
func (w *world) grow() {
	present := 0
	for _, n := range w.nodes {
		if !n.gone {
			present++
		}
	}
	if present < w.cfg.Nodes && present >= 3 {
		w.join(nodeName(len(w.nodes)))
	}
}

// wipe empties a disk and brings a new machine with the old name. Only one disk at a time may be lost, and none before
// every group has three voters with their disks.
func (w *world) wipe() {
	n := w.anyNode()
	if n == nil || !w.sound() {
		return
	}
	w.stats.Wipes++
	w.note("wipe", uint64(n.index), 0)
	n.crash(true)
	n.gone = true
	n.disk = newDisk()
	w.after(w.between(10*time.Millisecond, time.Second), func() { w.join(n.name) })
}
