package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/api/client"
)

// wantsJSON reports whether cmd was asked for JSON. A mistake in the flags may come before --json was read.
func wantsJSON(cmd *cobra.Command, args []string) bool {
	if cmd == nil || cmd.Flags().Lookup("json") == nil {
		return false
	}
	asJSON, err := cmd.Flags().GetBool("json")
	for _, arg := range args {
		if arg == "--" {
			break
		}
		asJSON = asJSON || arg == "--json"
	}
	return err == nil && asJSON
}

// printProblem prints err on standard error as the API would describe it.
func (a *app) printProblem(err error) {
	enc := json.NewEncoder(a.stderr)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(problemOf(err)) // like any other complaint
}

// problemOf is what a node said, or else what it would say of an error that was made here, with what the client knows
// besides.
func problemOf(err error) *api.Problem {
	var (
		problem *api.Problem
		failed  *client.Error
	)
	text, _, _ := strings.Cut(err.Error(), "\nTry: ")
	isClient := errors.As(err, &failed)
	if errors.As(err, &problem) {
		known := *problem
		problem = &known
	} else {
		write := isClient && failed.Outcome != ""
		problem = api.NewProblem(err, write)
		if problem.Code == api.CodeInternal && exitCode(err) == exitUsage {
			problem = api.NewProblem(&api.InvalidError{Where: "command line"}, false)
		}
		problem.Detail = text
	}
	if isClient {
		problem.Outcome = cmp.Or(failed.Outcome, problem.Outcome)
		problem.Txn = cmp.Or(problem.Txn, failed.Txn)
	}
	problem.Retryable = problem.Retryable && problem.Outcome != api.Unknown
	return problem
}
