package storage

import "slices"

// holds judges the condition against a key's present state; version is 0 where the key is absent.
func (c *Condition) holds(version Version) bool {
	exists := version != 0
	switch {
	case c.IfMatchAny && !exists, c.IfNoneMatchAny && exists:
		return false
	case c.IfMatch != nil && !(exists && slices.Contains(c.IfMatch, version)):
		return false
	case c.IfNoneMatch != nil && exists && slices.Contains(c.IfNoneMatch, version):
		return false
	}
	return true
}
