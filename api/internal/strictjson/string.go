package strictjson

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// String reads a string and returns it unescaped: never nil, valid UTF-8. It shares memory with the text where it has no
// escapes.
func (s *Scanner) String() ([]byte, error) {
	if s.next() != '"' {
		return nil, s.mismatch("a string")
	}
	s.pos++
	start := s.pos
	if err := s.plain(); err != nil {
		return nil, err
	}
	b := s.text[start:s.pos:s.pos]
	if s.text[s.pos] == '"' {
		s.pos++
		return b, nil
	}
	return s.escaped(b)
}

// plain moves to the quote or backslash that ends a run of bytes that stand for themselves.
func (s *Scanner) plain() error {
	start := s.pos
	for ; s.pos < len(s.text); s.pos++ {
		switch c := s.text[s.pos]; {
		case c == '"' || c == '\\':
			return s.checkUTF8(start)
		case c < ' ':
			return s.syntax("a control character in a string must be escaped")
		}
	}
	return s.syntax("")
}

// checkUTF8 checks the bytes from start to the position.
func (s *Scanner) checkUTF8(start int) error {
	if utf8.Valid(s.text[start:s.pos]) {
		return nil
	}
	for start < s.pos {
		r, size := utf8.DecodeRune(s.text[start:s.pos])
		if r == utf8.RuneError && size == 1 {
			break
		}
		start += size
	}
	s.pos = start
	return s.syntax("this is not UTF-8")
}

// escaped reads the rest of a string, whose first escape comes next and before which b stood.
func (s *Scanner) escaped(b []byte) ([]byte, error) {
	room := bytes.IndexByte(s.text[s.pos:], '"') // short of the end if a quote is escaped
	b = append(make([]byte, 0, len(b)+max(room, 0)), b...)
	for {
		var err error
		if b, err = s.escape(b); err != nil {
			return nil, err
		}
		start := s.pos
		if err := s.plain(); err != nil {
			return nil, err
		}
		b = append(b, s.text[start:s.pos]...)
		if s.text[s.pos] == '"' {
			s.pos++
			return b, nil
		}
	}
}

// escape reads one escape and appends what it stands for.
func (s *Scanner) escape(b []byte) ([]byte, error) {
	if s.pos+1 >= len(s.text) {
		s.pos = len(s.text)
		return nil, s.syntax("")
	}
	switch c := s.text[s.pos+1]; c {
	case '"', '\\', '/':
		b = append(b, c)
	case 'b':
		b = append(b, '\b')
	case 'f':
		b = append(b, '\f')
	case 'n':
		b = append(b, '\n')
	case 'r':
		b = append(b, '\r')
	case 't':
		b = append(b, '\t')
	case 'u':
		return s.unicode(b)
	default:
		return nil, s.syntax("there is no such escape")
	}
	s.pos += 2
	return b, nil
}

// unicode reads \uXXXX, or two that are a surrogate pair.
func (s *Scanner) unicode(b []byte) ([]byte, error) {
	r, ok := s.hex(s.pos)
	if !ok {
		return nil, s.syntax("four hexadecimal digits must follow \\u")
	}
	size := 6
	if utf16.IsSurrogate(r) {
		low, _ := s.hex(s.pos + size)
		if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
			return nil, s.syntax("this surrogate stands alone")
		}
		size *= 2
	}
	s.pos += size
	return utf8.AppendRune(b, r), nil
}

// hex returns the number that \uXXXX at pos names, and whether it stands there.
func (s *Scanner) hex(pos int) (rune, bool) {
	if pos+6 > len(s.text) || s.text[pos] != '\\' || s.text[pos+1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range s.text[pos+2 : pos+6] {
		switch {
		case isDigit(c):
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}
