package serial_test

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/ringkv/ringkv/txn/serial"
)

// TestScripts judges the histories of testdata. Each is a command check; its lines are transactions as Txn.String shows
// them, where client and outcome may be left out, and at most one line "final x [1 2], y [3]". The answer is the report.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/scripts", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd != "check" {
				t.Fatalf("unknown command %s", d.Cmd)
			}
			rep, err := checkLines(t, d.Input)
			if err != nil {
				return err.Error() + "\n"
			}
			return rep.String()
		})
	})
}

func checkLines(t *testing.T, input string) (serial.Report, error) {
	var h []serial.Txn
	var final map[serial.Key][]serial.Value
	for line := range strings.Lines(input) {
		line = strings.TrimSpace(line)
		if rest, ok := strings.CutPrefix(line, "final "); ok {
			final = parseFinal(t, rest)
			continue
		}
		h = append(h, parseTxn(t, line))
	}
	if final != nil {
		return serial.CheckFinal(h, final)
	}
	return serial.Check(h)
}

var (
	txnPattern = regexp.MustCompile(`^T(-?\d+)(?: client (\d+))? \[(-?\d+), (-?\d+|\?)\](?: (\w+))?: (.*)$`)
	opPattern  = regexp.MustCompile(`^(?:append (\S+) (-?\d+)|read (\S+) \[(.*)\]|(frob))$`)
)

func parseTxn(t *testing.T, line string) serial.Txn {
	m := txnPattern.FindStringSubmatch(line)
	if m == nil {
		t.Fatalf("not a transaction: %s", line)
	}
	txn := serial.Txn{
		ID:      serial.TxnID(number(t, m[1])),
		Client:  serial.Client(number(t, m[2])),
		Invoked: serial.Time(number(t, m[3])),
		Outcome: map[string]serial.Outcome{"": serial.Committed, "committed": serial.Committed, "aborted": serial.Aborted, "odd": 9}[m[5]],
	}
	if m[4] != "?" {
		txn.Returned = serial.Time(number(t, m[4]))
	}
	for op := range strings.SplitSeq(m[6], ", ") {
		txn.Ops = append(txn.Ops, parseOp(t, op))
	}
	return txn
}

func parseOp(t *testing.T, s string) serial.Op {
	m := opPattern.FindStringSubmatch(s)
	switch {
	case m == nil:
		t.Fatalf("not an operation: %s", s)
	case m[1] != "":
		return serial.Append(serial.Key(m[1]), serial.Value(number(t, m[2])))
	case m[3] != "":
		return serial.Read(serial.Key(m[3]), parseList(t, m[4])...)
	}
	return serial.Op{} // neither
}

func parseFinal(t *testing.T, s string) map[serial.Key][]serial.Value {
	final := map[serial.Key][]serial.Value{}
	for part := range strings.SplitSeq(s, ", ") {
		op := parseOp(t, "read "+part)
		final[op.Key] = op.Seen
	}
	return final
}

func parseList(t *testing.T, s string) []serial.Value {
	var vs []serial.Value
	for f := range strings.FieldsSeq(s) {
		vs = append(vs, serial.Value(number(t, f)))
	}
	return vs
}

func number(t *testing.T, s string) int64 {
	if s == "" {
		return 0
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// render shows a history as the scripts have it, to paste it there.
func render(h []serial.Txn) string {
	var b strings.Builder
	for _, t := range h {
		fmt.Fprintln(&b, t)
	}
	return b.String()
}
