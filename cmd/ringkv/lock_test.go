package main

import (
	"bufio"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/ringkv/ringkv/api/client/clienttest"
)

// A command whose lock is lost is ended, with all that it has started, and that is told.
func TestLostLockEndsTheCommand(t *testing.T) {
	for name, script := range map[string]string{
		"at once":    `echo up; sleep 600`,
		"stubbornly": `trap "" TERM; echo up; while true; do sleep 0.1; done`,
	} {
		t.Run(name, func(t *testing.T) {
			cluster := clienttest.New(1)
			defer cluster.Close()
			out, in := io.Pipe()
			var said strings.Builder
			a := &app{stdin: strings.NewReader(""), stdout: in, stderr: &said, env: []string{"RINGKV_NODES=" + cluster.Addrs()[0]}}
			code := make(chan int, 1)
			go func() { code <- a.main([]string{"lock", "m", "--ttl", "300ms", "--", "sh", "-c", script}) }()
			if line, err := bufio.NewReader(out).ReadString('\n'); line != "up\n" {
				t.Fatalf("%q, %v", line, err)
			}
			cluster.BreakLock("m")
			select {
			case got := <-code:
				if got != exitLock || !strings.Contains(said.String(), "lost") {
					t.Fatalf("exit code %d: %s", got, said.String())
				}
			case <-time.After(20 * time.Second):
				t.Fatal("the command runs on")
			}
		})
	}
}
