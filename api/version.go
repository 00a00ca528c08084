package api

import "strconv"

// MaxVersion is the largest version: every version is exact as a JSON number.
const MaxVersion Version = 1<<53 - 1

// Version is the version of one key: positive, under 2^53, growing with every change of the key. 0 stands for "absent".
type Version uint64

// AppendETag appends v as a strong entity tag, `"17"`.
func (v Version) AppendETag(dst []byte) []byte {
	dst = append(dst, '"')
	dst = strconv.AppendUint(dst, uint64(v), 10)
	return append(dst, '"')
}

// ETag returns v as a strong entity tag, `"17"`.
func (v Version) ETag() string { return string(v.AppendETag(make([]byte, 0, 22))) }

// ParseETag returns the version that a strong entity tag names. It reports false for every other string: a weak tag, a
// tag that is no canonical decimal, 0, or a number of 2^53 or more.
func ParseETag(tag string) (Version, bool) {
	if len(tag) < 3 || tag[0] != '"' || tag[len(tag)-1] != '"' {
		return 0, false
	}
	return ParseOpaqueTag(tag[1 : len(tag)-1])
}

// ParseOpaqueTag is ParseETag for what stands between the quotes.
func ParseOpaqueTag(digits string) (Version, bool) {
	if len(digits) == 0 || len(digits) > 16 || digits[0] == '0' {
		return 0, false
	}
	var v Version
	for i := range len(digits) {
		c := digits[i]
		if c < '0' || c > '9' {
			return 0, false
		}
		v = v*10 + Version(c-'0')
	}
	return v, v <= MaxVersion
}
