package ring

import (
	"reflect"
	"testing"
)

func TestDiff(t *testing.T) {
	tests := []struct {
		name     string
		from, to []NodeID
		want     []Move
	}{
		{"nothing", []NodeID{1, 2}, []NodeID{1, 2}, nil},
		{"order of followers", []NodeID{1, 2, 3}, []NodeID{1, 3, 2}, nil},
		{"first placement", nil, []NodeID{1, 2}, []Move{{Added: []NodeID{1, 2}, NewLeader: 1}}},
		{"dissolved", []NodeID{1, 2}, nil, []Move{{Removed: []NodeID{1, 2}, OldLeader: 1}}},
		{"leader only", []NodeID{1, 2}, []NodeID{2, 1}, []Move{{OldLeader: 1, NewLeader: 2}}},
		{"one for another", []NodeID{1, 2}, []NodeID{1, 3}, []Move{
			{Added: []NodeID{3}, Removed: []NodeID{2}, OldLeader: 1, NewLeader: 1},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			from, to := Placement{Replicas: [][]NodeID{tt.from}}, Placement{Replicas: [][]NodeID{tt.to}}
			if got := Diff(from, to); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestDiffNamesPartitions(t *testing.T) {
	to := Placement{Replicas: [][]NodeID{{1}, {2}}}
	got := Diff(Placement{}, to)
	want := []Move{{Partition: 0, Added: []NodeID{1}, NewLeader: 1}, {Partition: 1, Added: []NodeID{2}, NewLeader: 2}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if to.Leader(1) != 2 || to.Leader(2) != 0 {
		t.Errorf("leaders %d and %d, want 2 and 0", to.Leader(1), to.Leader(2))
	}
}
