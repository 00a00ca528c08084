package main

import (
	"bytes"
	"fmt"
	"io"
	"sync"
)

// console prints lines of several sources to one stream, each whole and with its source in front.
type console struct {
	mu     sync.Mutex // guards out, and is held over one write so that lines do not mix
	out    io.Writer
	colour bool
	order  map[string]int // of the sources, by name
}

func newConsole(out io.Writer, colour bool, sources []nodeSpec) *console {
	c := &console{out: out, colour: colour, order: make(map[string]int)}
	for i, s := range sources {
		c.order[s.name] = i
	}
	return c
}

// say prints one line of source's.
func (c *console) say(source, line string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.colour {
		fmt.Fprintf(c.out, "%s | %s\n", source, line)
		return
	}
	const firstColour, colours = 31, 6 // red to cyan
	colour := firstColour + (c.order[source]+1)%colours
	fmt.Fprintf(c.out, "\x1b[%dm%s |\x1b[0m %s\n", colour, source, line)
}

// print prints text as it is.
func (c *console) print(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fmt.Fprint(c.out, text)
}

// lineWriter says what is written to it, line by line. Used by one goroutine at a time.
type lineWriter struct {
	console *console
	source  string
	partial []byte
}

// maxLine is where a line without an end is cut, bytes.
const maxLine = 64 << 10

func (c *console) writer(source string) *lineWriter { return &lineWriter{console: c, source: source} }

// Write implements io.Writer.
func (w *lineWriter) Write(p []byte) (int, error) {
	w.partial = append(w.partial, p...)
	for {
		i := bytes.IndexByte(w.partial, '\n')
		if i < 0 && len(w.partial) < maxLine {
			return len(p), nil
		}
		if i < 0 {
			i = len(w.partial) - 1
		}
		w.console.say(w.source, string(bytes.TrimRight(w.partial[:i+1], "\r\n")))
		w.partial = append(w.partial[:0], w.partial[i+1:]...)
	}
}

// flush says what is left of an unfinished line.
func (w *lineWriter) flush() {
	if len(w.partial) > 0 {
		w.console.say(w.source, string(w.partial))
		w.partial = nil
	}
}
