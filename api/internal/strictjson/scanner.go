package strictjson

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Scanner is a position in a JSON text. Its methods read the value that comes next, and return an *Error if it is not
// what they read; after an error the Scanner is of no more use, but for ErrorAt.
type Scanner struct {
	text []byte
	pos  int
	path []step // from the root to the value that is being read
	room [usualDepth]step
}

const usualDepth = 4

// step leads from a value to one inside it.
type step struct {
	name  string // of a member
	index int    // of an element; -1 for a member
}

// Error says what is wrong with a text, and where.
type Error struct {
	Pointer string // JSON pointer to the value, "" for the whole text
	Offset  int    // bytes before the place; -1 if the value is well formed, but not what is needed
	Detail  string // "is a string, where a number is needed"
}

func (e *Error) Error() string { return fmt.Sprintf("%q: %s", e.Pointer, e.Explain()) }

// Explain is the error without the pointer.
func (e *Error) Explain() string {
	if e.Offset < 0 {
		return e.Detail
	}
	return fmt.Sprintf("byte %d: %s", e.Offset, e.Detail)
}

// New returns a Scanner at the start of text, which must not change while it, or a string that it returned, is in use.
func New(text []byte) *Scanner {
	s := &Scanner{text: text}
	s.path = s.room[:0]
	return s
}

// ErrorAt is an Error about a member or element of the value that is being read, or about itself if names is empty. The
// callers of Object and Array use it for rules of their own.
func (s *Scanner) ErrorAt(detail string, names ...string) *Error {
	return &Error{Pointer: s.Pointer(names...), Offset: -1, Detail: detail}
}

// Pointer is the JSON pointer to a member of the value that is being read, or to itself if names is empty.
func (s *Scanner) Pointer(names ...string) string {
	var b strings.Builder
	for _, st := range s.path {
		if st.index >= 0 {
			fmt.Fprintf(&b, "/%d", st.index)
		} else {
			writeStep(&b, st.name)
		}
	}
	for _, name := range names {
		writeStep(&b, name)
	}
	return b.String()
}

func writeStep(b *strings.Builder, name string) {
	b.WriteByte('/')
	_, _ = strings.NewReplacer("~", "~0", "/", "~1").WriteString(b, name) // a Builder takes everything
}

// End checks that nothing but white space is left.
func (s *Scanner) End() error {
	if s.space(); s.pos < len(s.text) {
		return s.syntax("something follows the end of the text")
	}
	return nil
}

// Members is a set of places in the names given to Object.
type Members uint64

// Has reports whether the set holds any of places.
func (m Members) Has(places ...int) bool {
	return slices.ContainsFunc(places, func(i int) bool { return m>>i&1 == 1 })
}

// Object reads an object whose members are among names, at most 64, each at most once and in any order. Before each
// value it calls member with the place of its name in names; member must read the value. It returns which there were.
func (s *Scanner) Object(names []string, member func(place int) error) (Members, error) {
	var seen Members
	more, err := s.open('{', '}', "an object")
	for ; more && err == nil; more, err = s.more('}') {
		var place int
		if place, err = s.name(names, seen); err != nil {
			break
		}
		seen |= 1 << place
		s.path = append(s.path, step{name: names[place], index: -1})
		if err = member(place); err != nil {
			return seen, err
		}
		s.path = s.path[:len(s.path)-1]
	}
	return seen, err
}

// Array reads an array. Before each element it calls element with its index; element must read it.
func (s *Scanner) Array(element func(index int) error) error {
	more, err := s.open('[', ']', "an array")
	for index := 0; more && err == nil; more, err = s.more(']') {
		s.path = append(s.path, step{index: index})
		if err = element(index); err != nil {
			return err
		}
		s.path = s.path[:len(s.path)-1]
		index++
	}
	return err
}

// open reads a bracket, and the closing one if it comes next. It reports whether there is something between them.
func (s *Scanner) open(bracket, closing byte, needed string) (bool, error) {
	if s.next() != bracket {
		return false, s.mismatch(needed)
	}
	s.pos++
	if s.next() != closing {
		return true, nil
	}
	s.pos++
	return false, nil
}

// more reads what stands behind a member or element: a comma, or the closing bracket. It reports whether it was a comma.
func (s *Scanner) more(closing byte) (bool, error) {
	switch s.next() {
	case ',':
		s.pos++
		return true, nil
	case closing:
		s.pos++
		return false, nil
	default:
		return false, s.syntax(fmt.Sprintf("a comma or %q is missing", closing))
	}
}

// name reads a member's name and its colon, and returns its place in names.
func (s *Scanner) name(names []string, seen Members) (int, error) {
	if s.next() != '"' {
		return 0, s.syntax("a member's name in quotes is missing")
	}
	name, err := s.String()
	if err != nil {
		return 0, err
	}
	place := slices.IndexFunc(names, func(known string) bool { return known == string(name) })
	switch {
	case place < 0:
		return 0, s.unknown(string(name), names)
	case seen.Has(place):
		return 0, s.ErrorAt("is repeated", names[place])
	}
	if s.next() != ':' {
		return 0, s.syntax("a colon is missing")
	}
	s.pos++
	return place, nil
}

// unknown refuses a member's name, with what may have been meant.
func (s *Scanner) unknown(name string, names []string) *Error {
	const most = 64
	if len(name) > most {
		name = strings.ToValidUTF8(name[:most], "") + "…"
	}
	for _, known := range names {
		if strings.EqualFold(name, known) {
			return s.ErrorAt(fmt.Sprintf("is not known here; write it %q", known), name)
		}
	}
	return s.ErrorAt("is not known here; known are "+strings.Join(names, ", "), name)
}

// Bool reads true or false.
func (s *Scanner) Bool() (bool, error) {
	s.next()
	for _, word := range [...]string{"true", "false"} {
		if rest := s.text[s.pos:]; len(rest) >= len(word) && string(rest[:len(word)]) == word {
			s.pos += len(word)
			return word == "true", nil
		}
	}
	return false, s.mismatch("true or false")
}

// Int reads a whole number from low to high, written without fraction and exponent.
func (s *Scanner) Int(low, high int64) (int64, error) {
	c := s.next()
	if c != '-' && !isDigit(c) {
		return 0, s.mismatch("a number")
	}
	n, fits, ok := s.digits()
	switch {
	case !ok:
		return 0, s.syntax("this is no number")
	case s.pos < len(s.text) && strings.IndexByte(".eE", s.text[s.pos]) >= 0:
		return 0, s.ErrorAt("is not a whole number, written without fraction and exponent")
	case !fits || n < low || n > high:
		return 0, s.ErrorAt(fmt.Sprintf("is not from %d to %d", low, high))
	}
	return n, nil
}

// digits reads -?(0|[1-9][0-9]*). It reports whether the number fits 64 bits, and whether it is one.
func (s *Scanner) digits() (n int64, fits, ok bool) {
	negative := s.text[s.pos] == '-'
	if negative {
		s.pos++
	}
	first := s.pos
	fits = true
	for ; s.pos < len(s.text) && isDigit(s.text[s.pos]); s.pos++ {
		d := int64(s.text[s.pos] - '0')
		if n < (math.MinInt64+d)/10 { // counted downwards: there is one number more below zero than above
			fits = false
			continue
		}
		n = 10*n - d
	}
	if s.pos == first || s.text[first] == '0' && s.pos > first+1 {
		return 0, false, false
	}
	if negative {
		return n, fits, true
	}
	return -n, fits && n != math.MinInt64, true
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// space skips white space.
func (s *Scanner) space() {
	for s.pos < len(s.text) {
		switch s.text[s.pos] {
		case ' ', '\n', '\t', '\r':
			s.pos++
		default:
			return
		}
	}
}

// next skips white space and returns the byte behind it, 0 at the end of the text.
func (s *Scanner) next() byte {
	if s.space(); s.pos < len(s.text) {
		return s.text[s.pos]
	}
	return 0
}

// syntax is an error at the present byte.
func (s *Scanner) syntax(detail string) *Error {
	if s.pos >= len(s.text) {
		detail = "the text ends too early"
	}
	return &Error{Pointer: s.Pointer(), Offset: s.pos, Detail: detail}
}

// mismatch says that the value that comes next is not what is needed.
func (s *Scanner) mismatch(needed string) *Error {
	kind := s.kind()
	if kind == "" {
		return s.syntax("a value is missing: " + needed + " is needed")
	}
	return s.ErrorAt("is " + kind + ", where " + needed + " is needed")
}

// kind guesses what comes next from its first byte, "" if no value begins so.
func (s *Scanner) kind() string {
	switch c := s.next(); {
	case c == '{':
		return "an object"
	case c == '[':
		return "an array"
	case c == '"':
		return "a string"
	case c == '-' || isDigit(c):
		return "a number"
	case c == 't' || c == 'f':
		return "a truth value"
	case c == 'n':
		return "null"
	default:
		return ""
	}
}
