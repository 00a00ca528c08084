package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/api/client"
)

const (
	// nodesVariable is the environment variable of --node: a comma-separated list.
	nodesVariable = "RINGKV_NODES"
	// cliAttempts outlasts a change of leader, and lets a person who has no cluster know soon.
	cliAttempts = 6
)

// target is which nodes a client command asks, and for how long.
type target struct {
	nodes   nodeList
	timeout time.Duration
}

// flags adds t's flags to cmd.
func (t *target) flags(cmd *cobra.Command) {
	t.nodeFlag(cmd)
	cmd.Flags().DurationVar(&t.timeout, "timeout", 15*time.Second, "give up after this long")
}

func (t *target) nodeFlag(cmd *cobra.Command) {
	cmd.Flags().VarP(&t.nodes, "node", "n",
		"host:port of any node; repeatable, asked in this order (env "+nodesVariable+")")
}

// nodeList is the value of --node. An empty one, perhaps of a variable that is not set, is refused: the command would
// turn to another cluster than was meant.
type nodeList []string

// Set implements pflag.Value: it adds the nodes of a comma-separated list.
func (l *nodeList) Set(s string) error {
	nodes := splitList(s)
	if len(nodes) == 0 {
		return errors.New("want host:port")
	}
	*l = append(*l, nodes...)
	return nil
}

func (l *nodeList) String() string { return strings.Join(*l, ",") }

// Type implements pflag.Value, for the help.
func (l *nodeList) Type() string { return "strings" }

// addrs returns the nodes to ask: the flag's, else the environment's, else the usual ones of serve and of dev.
func (t *target) addrs(a *app) []string {
	if len(t.nodes) > 0 {
		return t.nodes
	}
	if nodes := splitList(a.getenv(nodesVariable)); len(nodes) > 0 {
		return nodes
	}
	return []string{"127.0.0.1:8080", "127.0.0.1:8081", "127.0.0.1:8082", "127.0.0.1:8083"}
}

// getenv returns the value of an environment variable, "" if it is not set.
func (a *app) getenv(name string) string {
	for _, v := range a.env {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value
		}
	}
	return ""
}

// splitList splits at commas and drops what is empty.
func splitList(s string) []string {
	var list []string
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			list = append(list, part)
		}
	}
	return list
}

// withClient runs fn with a client of t's nodes, under t's timeout.
func (a *app) withClient(cmd *cobra.Command, t *target, fn func(context.Context, *client.Client) error) error {
	if t.timeout <= 0 {
		return usageError(cmd, fmt.Errorf("--timeout %v: want more than 0", t.timeout))
	}
	c, err := client.New(client.Config{Nodes: t.addrs(a), Direct: true, MaxAttempts: cliAttempts})
	if err != nil {
		return usageError(cmd, err)
	}
	defer func() { _ = c.Close() }()
	ctx, cancel := context.WithTimeout(cmd.Context(), t.timeout)
	defer cancel()
	return explain(fn(ctx, c), t.addrs(a))
}

// explain adds to an error that no node answered, or none that is ours, or none in time, what to do about it.
func explain(err error, addrs []string) error {
	var failed *client.Error
	var answered *api.Problem
	if !errors.As(err, &failed) || errors.As(err, &answered) {
		return err
	}
	switch {
	case errors.Is(err, client.ErrUnavailable):
		return fmt.Errorf("%w\nNo node answers at %s. Is one running (ringkv dev, ringkv serve)? Else name it with --node",
			err, strings.Join(addrs, ", "))
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w\nNo answer in time. Do most of the nodes live? See ringkv status", err)
	case errors.Is(err, api.ErrInvalid) && failed.Attempts > 0: // an answer, but no problem document
		return fmt.Errorf("%w\nNo ringkv answers like that. Is %s the --http address of a node?", err, failed.Node)
	}
	return err
}
