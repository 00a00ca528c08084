package client

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/ringkv/ringkv/api"
)

// eventStream reads server-sent events (the HTML standard, 9.2.6), as far as nodes use them.
type eventStream struct {
	status int
	resp   *http.Response
	r      *bufio.Reader
	cancel context.CancelFunc
	silent *time.Timer // aborts when nothing came for too long
	bad    *response   // of an answer that is none
}

// message is one block of a stream. A block may be no more than an id.
type message struct {
	event string
	data  []byte
	id    string
}

// maxLine bounds a line of a stream: a value of the hard limit, escaped, with its key.
const maxLine = maxBodyBytes

func newEventStream(resp *http.Response, cancel context.CancelFunc, silent *time.Timer) *eventStream {
	s := &eventStream{status: resp.StatusCode, resp: resp, r: bufio.NewReaderSize(resp.Body, 4<<10), cancel: cancel, silent: silent}
	if s.status != http.StatusOK {
		s.bad = responseFrom(resp)
		s.bad.body, _ = readBody(resp) // what cannot be read explains nothing
		return s
	}
	if t := resp.Header.Get(api.HeaderContentType); !strings.HasPrefix(t, api.TypeEventStream) {
		s.status = 0
		s.bad = responseFrom(resp)
	}
	return s
}

// refused is the error that an answer without a stream stands for, and whether asking again may help.
func (s *eventStream) refused() (retry bool, err error) {
	v := (&call{}).judge(s.bad)
	return v.retry, v.err
}

// close gives the stream back.
func (s *eventStream) close() {
	s.abort()
	_ = s.resp.Body.Close() // it was only read
}

// abort ends the stream. It may be called from any goroutine, and again.
func (s *eventStream) abort() {
	s.silent.Stop()
	s.cancel()
}

// next returns the next block that says anything.
func (s *eventStream) next() (message, error) {
	var m message
	for {
		line, err := s.line()
		if err != nil {
			return message{}, err
		}
		if len(line) == 0 {
			if m.event != "" || m.data != nil || m.id != "" {
				return m, nil
			}
			continue
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(name) { // "" is a comment
		case "event":
			m.event = string(value)
		case "data":
			m.data = append(m.data, value...)
		case "id":
			m.id = string(value)
		}
	}
}

// line returns the next line without its end. It is valid until the next call, and may be as long as maxLine.
func (s *eventStream) line() ([]byte, error) {
	var long []byte
	for {
		part, err := s.r.ReadSlice('\n')
		s.silent.Reset(watchSilence)
		if err == nil && long == nil {
			return bytes.TrimRight(part, "\r\n"), nil
		}
		long = append(long, part...)
		switch {
		case err == nil:
			return bytes.TrimRight(long, "\r\n"), nil
		case err != bufio.ErrBufferFull: //nolint:errorlint // returned as it is
			return nil, err
		case len(long) > maxLine:
			return nil, fmt.Errorf("%w: a line of more than %d bytes", errMalformed, maxLine)
		}
	}
}
