//go:build race

package sim_test

// underRace thins out what takes ten times as long under the race detector.
const underRace = true
