package client

import (
	"errors"
	"time"

	"github.com/ringkv/ringkv/api"
)

// maxDoubt is how long a call that can be repeated safely tries to learn what became of its copies.
const maxDoubt = time.Minute

// doubt is what the attempts of one replayable call leave open: whether a copy of it was done, or will be.
type doubt struct {
	since time.Time // of the first copy in doubt; zero if there is none
}

func (d *doubt) exists() bool { return !d.since.IsZero() }

// weigh takes the verdict on one more copy. A copy whose outcome is unknown is sent again, and so are those after it,
// until an answer speaks for all of them.
func (d *doubt) weigh(v *verdict, now time.Time) {
	if v.outcome == api.Unknown && !d.exists() {
		d.since = now
	}
	switch {
	case !d.exists():
	case errors.Is(v.err, api.ErrConditionFailed), errors.Is(v.err, api.ErrKeyReused):
		d.since = time.Time{} // the key's answer, or another's: in both cases no copy was or will be done
	case v.outcome == api.Unknown:
		v.retry = true
	}
}

// over reports whether the n-th attempt was the last one that patience allows.
func (d *doubt) over(n, most int, now time.Time) bool {
	if d.exists() {
		return now.Sub(d.since) >= maxDoubt
	}
	return n >= most
}
