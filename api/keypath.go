package api

const upperHex = "0123456789ABCDEF"

// AppendKeyPath appends key, percent-encoded, as it follows PathKV and a slash. Only unreserved characters and inner
// slashes stand as they are, so that no library or proxy has a `//`, `.` or `..` to clean away.
func AppendKeyPath(dst, key []byte) []byte {
	for i, c := range key {
		if plainInPath(key, i) {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return dst
}

// plainInPath reports whether key[i] may stand unescaped in a path.
func plainInPath(key []byte, i int) bool {
	switch c := key[i]; {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '~':
		return true
	case c == '.': // not at the start of a segment, where it might be taken for a step
		return i > 0 && key[i-1] != '/' && key[i-1] != '.'
	case c == '/':
		return i > 0 && i < len(key)-1 && key[i-1] != '/'
	default:
		return false
	}
}
