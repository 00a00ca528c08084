package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/api/client"
)

// The exit codes, documented in the help of the root command.
const (
	exitOK        = 0
	exitError     = 1
	exitUsage     = 2
	exitNotFound  = 3
	exitCondition = 4
	exitUnknown   = 5
	exitConflict  = 6
	exitLock      = 7
	// exitInterrupted is the shell's code for Ctrl-C. What was not finished then is neither done nor failed.
	exitInterrupted = exitSignal + int(syscall.SIGINT)
)

// codedError is an error with an exit code of its own.
type codedError struct {
	code int
	err  error
}

func (e *codedError) Error() string { return e.err.Error() }
func (e *codedError) Unwrap() error { return e.err }

// report prints err, if there is one, as JSON if so wanted, and returns the exit code for it.
func (a *app) report(err error, asJSON bool) int {
	var command commandExit
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &command):
		return int(command)
	case asJSON:
		a.printProblem(err)
	default:
		_, _ = fmt.Fprintln(a.stderr, "ringkv:", err)
	}
	return exitCode(err)
}

func exitCode(err error) int {
	var coded *codedError
	switch {
	case errors.As(err, &coded):
		return coded.code
	case errors.Is(err, client.ErrUnknownOutcome): // before any that claims to know it
		return exitUnknown
	case errors.Is(err, client.ErrNotFound), errors.Is(err, api.ErrTxnNotFound), errors.Is(err, api.ErrLockNotFound):
		return exitNotFound
	case errors.Is(err, client.ErrConditionFailed):
		return exitCondition
	case errors.Is(err, client.ErrConflict):
		return exitConflict
	case errors.Is(err, api.ErrLockHeld), errors.Is(err, api.ErrLockLost):
		return exitLock
	case errors.Is(err, api.ErrInvalid), errors.Is(err, api.ErrTooLarge):
		return exitUsage
	case isUsage(err):
		return exitUsage
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	default:
		return exitError
	}
}

// isUsage recognises the mistakes that cobra finds itself and gives no type: an unknown command.
func isUsage(err error) bool { return strings.HasPrefix(err.Error(), "unknown command") }

// interrupted reports whether err is only that the user ended the command.
func interrupted(ctx context.Context, err error) bool {
	return ctx.Err() != nil && errors.Is(err, context.Canceled)
}
