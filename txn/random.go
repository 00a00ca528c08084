package txn

import "time"

// random is a splitmix64 generator: the cores' pauses differ from each other by the seed that their owner gives, and are
// the same for the same seed.
type random struct{ state uint64 }

func (r *random) next() uint64 {
	r.state += 0x9e3779b97f4a7c15
	z := r.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// upTo returns between half of d and d.
func (r *random) upTo(d time.Duration) time.Duration {
	if d <= 1 {
		return d
	}
	return d/2 + time.Duration(r.next()%uint64(d/2+1))
}
