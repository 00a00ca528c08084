package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// warnUnknownVariables names the environment variables that look like ours and mean nothing, with what they may have been
// meant for. A misspelt setting of a node would else go unnoticed.
func (a *app) warnUnknownVariables() {
	known := knownVariables()
	for _, v := range a.env {
		name, value, _ := strings.Cut(v, "=")
		if !strings.HasPrefix(name, envPrefix) || value == "" || slices.Contains(known, name) || orchestrated(name) {
			continue
		}
		hint := ""
		if near := nearest(name, known); distance(name, near) <= (len(name)-len(envPrefix))/2 {
			hint = "; the nearest that does is " + near
		}
		_, _ = fmt.Fprintf(a.stderr, "ringkv: warning: the variable %s means nothing%s\n", name, hint)
	}
}

// knownVariables are those of the flags of serve and of --node, and those that lock gives to its command.
func knownVariables() []string {
	names := []string{nodesVariable, variable(configFlag), lockNameVariable, lockTokenVariable}
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	(&serveConfig{}).flags(fs)
	fs.VisitAll(func(f *pflag.Flag) { names = append(names, variable(f.Name)) })
	return names
}

// orchestrated reports whether a variable is of the kind that Kubernetes gives every container for a service called
// ringkv, as RINGKV_SERVICE_HOST and RINGKV_PORT_8080_TCP_ADDR.
func orchestrated(name string) bool {
	return strings.HasSuffix(name, "_SERVICE_HOST") || strings.Contains(name, "_SERVICE_PORT") ||
		strings.HasSuffix(name, "_PORT") || strings.Contains(name, "_TCP") || strings.Contains(name, "_UDP")
}

// nearest is the name that takes the fewest changes to get to.
func nearest(name string, among []string) string {
	return slices.MinFunc(among, func(a, b string) int { return distance(name, a) - distance(name, b) })
}

// distance is how many letters have to be added, removed or replaced to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
