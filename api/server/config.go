package server

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/ringkv/ringkv/api"
)

// Config says how a Server behaves. A zero field means its default.
type Config struct {
	MaxValueBytes  int64         // of one value; default 1 MiB, 1 to 1 GiB
	RequestTimeout time.Duration // for the Store's part of a request, after the body arrived; default 10 s
	PageBytes      int           // keys and values of one list page before it is ended early; default 4 MiB

	ReadHeaderTimeout time.Duration // for the header of a request; default 5 s
	ReadTimeout       time.Duration // for a whole request with its body; default 30 s
	WriteTimeout      time.Duration // from the header's end to the answer's end, for each page of a stream; default 60 s
	IdleTimeout       time.Duration // between the requests of a connection; default 2 min
	MaxHeaderBytes    int           // default 32 KiB: three keys, escaped, and a cursor

	Logger *slog.Logger // default: discards
}

// withDefaults fills the zero fields.
func (c Config) withDefaults() Config {
	setDefault(&c.MaxValueBytes, api.DefaultMaxValueBytes)
	setDefault(&c.RequestTimeout, 10*time.Second)
	setDefault(&c.PageBytes, 4<<20)
	setDefault(&c.ReadHeaderTimeout, 5*time.Second)
	setDefault(&c.ReadTimeout, 30*time.Second)
	setDefault(&c.WriteTimeout, time.Minute)
	setDefault(&c.IdleTimeout, 2*time.Minute)
	setDefault(&c.MaxHeaderBytes, 32<<10)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func setDefault[T int | int64 | time.Duration](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

// validate reports the first field that is out of its limits, after defaults were filled in.
func (c *Config) validate() error {
	switch {
	case c.MaxValueBytes < 1 || c.MaxValueBytes > 1<<30:
		return fmt.Errorf("MaxValueBytes %d is not between 1 and %d", c.MaxValueBytes, 1<<30)
	case c.PageBytes < 1:
		return fmt.Errorf("PageBytes %d is not positive", c.PageBytes)
	case c.MaxHeaderBytes < 1:
		return fmt.Errorf("MaxHeaderBytes %d is not positive", c.MaxHeaderBytes)
	}
	for _, d := range []time.Duration{c.RequestTimeout, c.ReadHeaderTimeout, c.ReadTimeout, c.WriteTimeout, c.IdleTimeout} {
		if d < 0 {
			return fmt.Errorf("timeout %s is negative", d)
		}
	}
	if c.WriteTimeout <= c.RequestTimeout {
		return fmt.Errorf("WriteTimeout %s is not above RequestTimeout %s: answers would be cut", c.WriteTimeout, c.RequestTimeout)
	}
	return nil
}
