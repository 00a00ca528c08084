package serial

import "fmt"

// Anomaly is a way in which a history is not strictly serializable, or None. They are ordered from the most severe to the
// least: an earlier one breaks weaker promises. DESIGN.md defines each.
type Anomaly uint8

// The anomalies. Those of real time are the cycles that need one edge "returned before the other was invoked".
const (
	None              Anomaly = iota
	Unwritten                 // a value was read that nobody appended
	Duplicate                 // a value was read twice in one list
	IncompatibleOrder         // two reads, or a read and a writer, disagree about the order of one list
	G0                        // dirty write: a cycle of appends alone
	G1a                       // aborted read
	G1b                       // intermediate read: a list ends amid another transaction's appends
	G1c                       // circular information flow: a cycle of appends and reads of them
	Internal                  // a transaction contradicts itself: it misses its own appends or sees two states
	LostUpdate                // two transactions read the same list and both append to it
	LostAppend                // a committed append is missing from the longest list, read later, and from all others
	GSingle                   // read skew: a cycle with exactly one read of what is then overwritten
	G2                        // anti-dependency cycle, such as write skew: more than one such read
	G0Realtime                // appends in an order that real time forbids
	G1cRealtime               // a read from the future
	GSingleRealtime           // stale read
	G2Realtime                // a longer stale cycle
	anomalies
)

var anomalyNames = [...]string{
	None:              "none",
	Unwritten:         "unwritten value",
	Duplicate:         "duplicate",
	IncompatibleOrder: "incompatible order",
	G0:                "G0",
	G1a:               "G1a",
	G1b:               "G1b",
	G1c:               "G1c",
	Internal:          "internal",
	LostUpdate:        "lost update",
	LostAppend:        "lost append",
	GSingle:           "G-single",
	G2:                "G2",
	G0Realtime:        "G0-realtime",
	G1cRealtime:       "G1c-realtime",
	GSingleRealtime:   "G-single-realtime",
	G2Realtime:        "G2-realtime",
}

func (a Anomaly) String() string {
	if a >= anomalies {
		return fmt.Sprintf("Anomaly(%d)", uint8(a))
	}
	return anomalyNames[a]
}
