package serial

import (
	"fmt"
	"strings"
)

// Finding is one proof that a history is not strictly serializable.
type Finding struct {
	Anomaly Anomaly
	Txns    []Txn    // the transactions concerned; those of a cycle in its order
	Steps   []string // what was seen, a sentence each; of a cycle one for each edge, the last one leads back to the first transaction
}

// String is several lines: the anomaly, the steps, the transactions.
func (f Finding) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v\n", f.Anomaly)
	for _, s := range f.Steps {
		fmt.Fprintf(&b, "  %s\n", s)
	}
	for _, t := range f.Txns {
		fmt.Fprintf(&b, "    %v\n", t)
	}
	return b.String()
}

// Report is the verdict on a history.
type Report struct {
	// Findings are the most severe first, at most one of each anomaly; none if the history is strictly serializable. Of the
	// anomalies that are cycles only the most severe is looked for.
	Findings []Finding
}

// Worst is the most severe anomaly found, or None.
func (r Report) Worst() Anomaly {
	if len(r.Findings) == 0 {
		return None
	}
	return r.Findings[0].Anomaly
}

// String explains every finding.
func (r Report) String() string {
	if len(r.Findings) == 0 {
		return "strictly serializable\n"
	}
	var b strings.Builder
	for _, f := range r.Findings {
		b.WriteString(f.String())
	}
	return b.String()
}

// findings keeps the first of each anomaly.
type findings [anomalies]*Finding

// note adds f unless its anomaly has been found before. Steps are made only if they are needed.
func (fs *findings) note(a Anomaly, txns []Txn, steps func() []string) {
	if fs[a] == nil {
		fs[a] = &Finding{Anomaly: a, Txns: txns, Steps: steps()}
	}
}

func (fs *findings) report() Report {
	var r Report
	for _, f := range fs {
		if f != nil {
			r.Findings = append(r.Findings, *f)
		}
	}
	return r
}
