package main

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/ringkv/ringkv/api"
)

// Whoever forgot the value and presses Ctrl-C is not left waiting for an end of input that never comes.
func TestInputEndsWithItsContext(t *testing.T) {
	stdin, typed := io.Pipe()
	defer func() { _ = typed.Close() }()
	a := &app{stdin: stdin}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.input(ctx); !errors.Is(err, context.Canceled) || exitCode(err) != exitInterrupted {
		t.Fatalf("%v", err)
	}
}

// endless is an input like /dev/zero.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestInputIsBounded(t *testing.T) {
	a := &app{stdin: endless{}}
	if _, err := a.input(t.Context()); !errors.Is(err, api.ErrTooLarge) {
		t.Fatalf("%v", err)
	}
}
