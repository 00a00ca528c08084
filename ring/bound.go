package ring

// addedByFloors counts what nodes are short of their shares rounded down.
func (a *allocation) addedByFloors() int {
	added := 0
	for v, s := range a.shares {
		added += max(0, s.lo-a.count[v])
	}
	return added
}

// addedByCeilings counts the places that are left when every node keeps at most its share rounded up.
func (a *allocation) addedByCeilings() int {
	added := len(a.holders) * a.degree
	for v, s := range a.shares {
		added -= min(a.count[v], s.hi())
	}
	return added
}

// addedByPartitions counts the places that are left when every partition keeps at most what it should have,
// altogether and in each zone.
func (a *allocation) addedByPartitions() int {
	added, zones := 0, len(a.zoneNodes)
	for p := range a.holders {
		kept := 0
		for _, n := range a.inZone[p*zones : (p+1)*zones] {
			kept += min(int(n), a.zoneLimit)
		}
		added += a.degree - min(kept, a.degree)
	}
	return added
}
