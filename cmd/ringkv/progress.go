package main

import (
	"fmt"
	"time"
)

// progressFunc shows one line of progress in place of the last; "" removes it.
type progressFunc func(line string)

// progress returns how to show progress: on standard error if that is a terminal, else not at all.
func (a *app) progress() progressFunc {
	if !isTerminal(a.stderr) {
		return func(string) {}
	}
	return func(line string) { fmt.Fprintf(a.stderr, "\r\x1b[K%s", line) }
}

// watch shows l's progress every second under the heading what, until stop is called.
func (l *load) watch(what string) (stop func()) {
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		began, last := time.Now(), l.finished.Load()
		for {
			select {
			case <-quit:
				l.progress("")
				return
			case now := <-ticker.C:
				total := l.finished.Load()
				l.progress(fmt.Sprintf("%s  %2.0f s  %d operations/s  %d in all  %d failed",
					what, now.Sub(began).Seconds(), total-last, total, l.failed.Load()))
				last = total
			}
		}
	}()
	return func() {
		close(quit)
		<-ended
	}
}
