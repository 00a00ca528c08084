package server

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/cluster/watch"
)

// watchStream sends events as they come (text/event-stream).
type watchStream struct {
	s     *Server
	watch Watch
	line  *watchLine
}

// streamWatch sends w's events until it ends, the client leaves, or the server stops. The line is closed in order only at an orderly
// end: else it would say that all was well.
func (s *Server) streamWatch(line *watchLine, w Watch) {
	defer s.connEnded()
	defer w.Close()
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	defer context.AfterFunc(s.watching, func() { cancel(errStopped) })()
	defer line.listen(s.life, func() { cancel(errLeft) })()
	defer s.survive()
	st := watchStream{s: s, watch: w, line: line}
	err := st.run(ctx)
	if err == nil {
		err = line.end()
	}
	if err != nil {
		s.cfg.Logger.Debug("watch ended", "err", err)
	}
}

// errLeft is the cause of the end of a watch whose client has closed the connection.
var errLeft = errors.New("the client has left")

// run returns nil at the orderly end of the stream, and else why it has to be cut.
func (st *watchStream) run(ctx context.Context) error {
	if err := st.line.begin(); err != nil {
		return err
	}
	if err := st.position(api.EventReady); err != nil {
		return err
	}
	for {
		e, err := st.watch.Next(ctx, watchPulse)
		switch {
		case err != nil:
			return st.end(ctx, err)
		case e == nil:
			err = st.pulse()
		default:
			err = st.events(ctx, e)
		}
		if err != nil {
			return err
		}
	}
}

// end says how the watch ended, as far as the client can still be told.
func (st *watchStream) end(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, watch.ErrLagged):
		return st.position(api.EventLagged)
	case errors.Is(err, watch.ErrClosed), errors.Is(context.Cause(ctx), errStopped):
		return st.pulse() // the node stops: here is where to go on
	}
	return err
}

// events sends an event, and those that are there already behind it.
func (st *watchStream) events(ctx context.Context, e *watch.Event) error {
	buf := st.s.buffer()
	defer st.s.release(buf)
	*buf = (*buf)[:0]
	for e != nil {
		*buf = append(*buf, e.Form(st.s.watchForm)...)
		*buf = appendID(*buf, st.watch.Cursor())
		if len(*buf) >= watchChunk {
			break
		}
		var err error
		if e, err = st.watch.Next(ctx, 0); err != nil {
			break // Next says so again
		}
	}
	return st.line.send(*buf)
}

// pulse shows that the stream is alive, and from where to go on: nothing that came before is behind that.
func (st *watchStream) pulse() error {
	return st.line.send(appendID([]byte(": \n"), st.watch.Cursor()))
}

func (st *watchStream) position(event string) error {
	cursor := st.watch.Cursor()
	data, err := json.Marshal(api.WatchPosition{Cursor: cursor})
	if err != nil {
		return err
	}
	b := append(append([]byte("event: "+event+"\ndata: "), data...), '\n')
	return st.line.send(appendID(b, cursor))
}
