package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/api/client"
)

// The environment variables of a command that runs under a lock.
const (
	lockNameVariable  = "RINGKV_LOCK_NAME"
	lockTokenVariable = "RINGKV_LOCK_TOKEN"
)

const (
	// lockKillAfter is how long a command that has lost its lock may take to end by itself.
	lockKillAfter = 3 * time.Second
	// lockAnswerTimeout is how much longer than --wait the answer may take.
	lockAnswerTimeout = 10 * time.Second
	// unlockTimeout bounds the release of a lock whose command has ended.
	unlockTimeout = 5 * time.Second
	// The shell's codes: a command that could not be started, and one that a signal ended.
	exitNotStarted = 127
	exitSignal     = 128
)

// lockFlags are the flags of lock.
type lockFlags struct {
	target target
	ttl    time.Duration
	wait   time.Duration
	owner  string
	asJSON bool
}

func (a *app) lockCommand() *cobra.Command {
	var f lockFlags
	cmd := &cobra.Command{
		Use:   "lock NAME [-- COMMAND [ARG…]]",
		Short: "Run a command under a lock, or see who holds it",
		Long: `Take a lock, run COMMAND while it is renewed, and give it back. Without COMMAND say who holds it.

Waiters are served in order of arrival over the whole cluster. The command runs in a process group of its own, to which
signals are passed on. It finds the lock's fencing token in ` + lockTokenVariable + `, and its name in ` + lockNameVariable + `:
ringkv txn --if-lock NAME@TOKEN writes only while the lock is held. If the lock is lost, the command and all of its group
are sent SIGTERM, and after 3 s SIGKILL. If this process is killed itself, the command gets SIGTERM (on Linux).

The exit code is the command's (128 and more: the signal that ended it; 127: it could not be started), or 7 if the lock
was not to be had within --wait, or was lost. Without COMMAND it is 3 if nobody holds the lock.`,
		Example: examples("ringkv lock backup -- ./backup.sh", "ringkv lock backup --wait 0s -- ./backup.sh", "ringkv lock backup"),
		Args:    usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(cmd, args); err != nil {
				return usageError(cmd, err)
			}
			if len(args) == 1 {
				f.target.timeout = unlockTimeout
				return a.withClient(cmd, &f.target, func(ctx context.Context, c *client.Client) error {
					return a.showLock(ctx, c, args[0], f.asJSON)
				})
			}
			return a.lock(cmd, &f, args[0], args[1:])
		},
	}
	f.target.nodeFlag(cmd)
	cmd.Flags().DurationVar(&f.ttl, "ttl", api.DefaultLockTTL, "how long the lock outlives this process if that dies, 100ms to 24h")
	cmd.Flags().DurationVar(&f.wait, "wait", 0, "give up after this long; 0s: do not wait (default: wait for ever)")
	cmd.Flags().StringVar(&f.owner, "owner", "", "what others are told of the holder (default: the host and the process)")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "say who holds it as JSON")
	return cmd
}

// check refuses what cannot be meant.
func (f *lockFlags) check(cmd *cobra.Command, args []string) error {
	if cmd.ArgsLenAtDash() == 0 {
		return errors.New("the lock's name stands before --: ringkv lock NAME -- COMMAND")
	}
	for _, name := range []string{"ttl", "wait", "owner"} {
		if len(args) == 1 && cmd.Flags().Changed(name) {
			return fmt.Errorf("--%s is for taking the lock, and there is no COMMAND: ringkv lock NAME -- COMMAND", name)
		}
	}
	if f.wait < 0 {
		return fmt.Errorf("--wait %v: want 0s or more", f.wait)
	}
	return nil
}

func (a *app) showLock(ctx context.Context, c *client.Client, name string, asJSON bool) error {
	l, err := c.LockState(ctx, name)
	if err != nil {
		return err
	}
	if asJSON {
		return a.printJSON(l)
	}
	_, err = fmt.Fprintf(a.stdout, "held by %s, token %d, for another %v unless it is renewed; %d waiting\n", l.Owner, l.Token, l.TTL, *l.Waiters)
	return err
}

// lock runs argv under the lock called name.
func (a *app) lock(cmd *cobra.Command, f *lockFlags, name string, argv []string) error {
	if _, err := exec.LookPath(argv[0]); err != nil { // before anybody waits, or is kept waiting
		return &codedError{code: exitNotStarted, err: err}
	}
	c, err := client.New(client.Config{Nodes: f.target.addrs(a), Direct: true, MaxAttempts: cliAttempts})
	if err != nil {
		return usageError(cmd, err)
	}
	defer func() { _ = c.Close() }()
	l, err := takeLock(cmd, c, f, name)
	if err != nil {
		return explain(err, f.target.addrs(a))
	}
	ended := a.runLocked(l, argv)
	ctx, cancel := context.WithTimeout(context.Background(), unlockTimeout)
	defer cancel()
	err = l.Unlock(ctx)
	var lost *codedError
	switch {
	case errors.As(ended, &lost) && lost.code == exitLock:
		return ended
	case errors.Is(err, api.ErrLockLost):
		return &codedError{code: exitLock, err: err}
	case err != nil:
		_, _ = fmt.Fprintf(a.stderr, "ringkv: %v; its TTL ends the lock\n", err)
	}
	return ended
}

func takeLock(cmd *cobra.Command, c *client.Client, f *lockFlags, name string) (*client.Lock, error) {
	opts := []client.LockOption{client.LockTTL(f.ttl)}
	if f.owner != "" {
		opts = append(opts, client.LockOwner(f.owner))
	}
	ctx := cmd.Context()
	if cmd.Flags().Changed("wait") {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, f.wait+lockAnswerTimeout)
		defer cancel()
		opts = append(opts, client.LockWait(f.wait))
	}
	l, err := c.Lock(ctx, name, opts...)
	if interrupted(cmd.Context(), err) {
		return nil, &codedError{code: exitInterrupted, err: err}
	}
	return l, err
}

// runLocked runs argv until it ends, or is ended because the lock is lost. Errors: a commandExit for its exit code,
// a *codedError where it could not be started or the lock was lost.
func (a *app) runLocked(l *client.Lock, argv []string) error {
	//nolint:gosec,noctx // what is run is the caller's wish; it is ended by signals, in two steps
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = a.stdin, a.stdout, a.stderr, childAttr()
	cmd.Env = append(append([]string(nil), a.env...), lockNameVariable+"="+l.Name(), lockTokenVariable+"="+strconv.FormatUint(uint64(l.Token()), 10))
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, forwarded()...)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return &codedError{code: exitNotStarted, err: err}
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var kill <-chan time.Time
	lost := l.Lost()
	for {
		select {
		case s := <-signals:
			signalGroup(cmd.Process, s)
		case <-lost:
			lost, kill = nil, time.After(lockKillAfter)
			signalGroup(cmd.Process, stopSignal())
		case <-kill:
			signalGroup(cmd.Process, syscall.SIGKILL)
		case err := <-ended:
			if lost == nil {
				signalGroup(cmd.Process, syscall.SIGKILL) // whoever is left of the group
				return &codedError{code: exitLock, err: fmt.Errorf("lock %q was lost, and the command ended: %w", l.Name(), api.ErrLockLost)}
			}
			return exitOf(err)
		}
	}
}

// commandExit is the exit code of a command that was run, which says all there is to say.
type commandExit int

func (e commandExit) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// exitOf is what a command ended with, nil for success.
func exitOf(err error) error {
	var failed *exec.ExitError
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &failed):
		return err
	}
	if status, ok := failed.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return commandExit(exitSignal + int(status.Signal()))
	}
	return commandExit(failed.ExitCode())
}
