// Command ringkv is the one binary: the node (serve), a cluster on this machine (dev), the client commands and the
// load generator (bench).
//
// It owns flags, environment, configuration file, exit codes and what is printed. What a node is, is package cluster's
// business; what a request is, package client's.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	a := &app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, env: os.Environ(), start: startNode}
	os.Exit(a.main(os.Args[1:]))
}

// app is what the commands share: the world outside, which tests replace.
type app struct {
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	env    []string  // of the process, NAME=value
	start  startFunc // brings a node up
}

// main runs the command line args and returns the exit code. The first SIGINT or SIGTERM cancels the command; a second
// one ends the process at once.
func (a *app) main(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // the next signal has its default effect
	root := a.rootCommand()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	return a.report(err, wantsJSON(cmd, args))
}
