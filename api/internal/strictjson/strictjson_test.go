package strictjson_test

import (
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/ringkv/ringkv/api/internal/strictjson"
)

// shape reads {"list":[{"text":string,"n":int,"flag":bool}…],"a/b~c":string} and returns what it met, in order.
func shape(text string) (string, error) {
	var out strings.Builder
	s := strictjson.New([]byte(text))
	_, err := s.Object([]string{"list", "a/b~c"}, func(place int) error {
		if place == 1 {
			b, err := s.String()
			out.WriteString(strconv.Quote(string(b)))
			return err
		}
		return s.Array(func(index int) error {
			out.WriteString(strconv.Itoa(index) + ":")
			return element(s, &out)
		})
	})
	if err == nil {
		err = s.End()
	}
	return out.String(), err
}

func element(s *strictjson.Scanner, out *strings.Builder) error {
	seen, err := s.Object([]string{"text", "n", "flag"}, func(place int) error {
		switch place {
		case 0:
			b, err := s.String()
			out.WriteString(strconv.Quote(string(b)))
			return err
		case 1:
			n, err := s.Int(-5, 5)
			out.WriteString(strconv.FormatInt(n, 10))
			return err
		default:
			flag, err := s.Bool()
			out.WriteString(strconv.FormatBool(flag))
			return err
		}
	})
	if err == nil && seen.Has(0, 1) && !seen.Has(0) {
		return s.ErrorAt("is missing", "text")
	}
	return err
}

func TestReads(t *testing.T) {
	cases := []struct{ text, want string }{
		{`{}`, ``},
		{" \t\r\n{ \"list\" : [ ] } \n", ``},
		{`{"list":[{},{"text":"x","n":-5,"flag":true},{"flag":false}]}`, `0:1:"x"-5true2:false`},
		{`{"a/b~c":"x","list":[{}]}`, `"x"0:`},
		{`{"l\u0069st":[{"\u0074ext":""}]}`, `0:""`},
		{`{"list":[{"text":"\"\\\/\b\f\n\r\t\u0000\u00e4\uD83D\ude00é😀` + "\x7f" + `"}]}`, `0:` + strconv.Quote("\"\\/\b\f\n\r\t\x00ä😀é😀\x7f")},
		{`{"list":[{"n":0,"text":""},{"n":-0,"text":""},{"n":5,"text":""}]}`, `0:0""1:0""2:5""`},
	}
	for _, c := range cases {
		if got, err := shape(c.text); err != nil || got != c.want {
			t.Errorf("%s: got %s, %v; want %s", c.text, got, err, c.want)
		}
	}
}

func TestRefuses(t *testing.T) {
	cases := []struct {
		text, pointer string
		offset        int
		detail        string
	}{
		{``, "", 0, "ends too early"},
		{`  `, "", 2, "ends too early"},
		{"\ufeff{}", "", 0, "a value is missing"},
		{`[]`, "", -1, "is an array, where an object is needed"},
		{`null`, "", -1, "is null, where an object is needed"},
		{`x`, "", 0, "a value is missing: an object is needed"},
		{`{}{}`, "", 2, "something follows"},
		{`{} x`, "", 3, "something follows"},
		{"{}\x00", "", 2, "something follows"},
		{`{`, "", 1, "ends too early"},
		{`{,}`, "", 1, "name in quotes is missing"},
		{`{list:[]}`, "", 1, "name in quotes is missing"},
		{`{"list"}`, "", 7, "a colon is missing"},
		{`{"list":}`, "/list", 8, "a value is missing: an array is needed"},
		{`{"list":[],}`, "", 11, "name in quotes is missing"},
		{`{"list":[] "a/b~c":""}`, "", 11, `a comma or '}' is missing`},
		{`{"list":[{} {}]}`, "/list", 12, `a comma or ']' is missing`},
		{`{"list":[{},]}`, "/list/1", 12, "a value is missing: an object is needed"},
		{`{"list":[{}`, "/list", 11, "ends too early"},
		{`{"list":[],"list":[]}`, "/list", -1, "is repeated"},
		{`{"list":[],"l\u0069st":[]}`, "/list", -1, "is repeated"},
		{`{"List":[]}`, "/List", -1, `is not known here; write it "list"`},
		{`{"x/~":[]}`, "/x~1~0", -1, "is not known here; known are list, a/b~c"},
		{`{"` + strings.Repeat("é", 33) + `":1}`, "/" + strings.Repeat("é", 32) + "…", -1, "is not known"},
		{`{"a/b~c":1}`, "/a~1b~0c", -1, "is a number, where a string is needed"},
		{`{"list":[{"text":null}]}`, "/list/0/text", -1, "is null, where a string is needed"},
		{`{"list":[{},{"text":[[[[[[`, "/list/1/text", -1, "is an array, where a string is needed"},
		{`{"list":[{"n":1}]}`, "/list/0/text", -1, "is missing"},
		{`{"list":[{"n":6}]}`, "/list/0/n", -1, "is not from -5 to 5"},
		{`{"list":[{"n":99999999999999999999}]}`, "/list/0/n", -1, "is not from -5 to 5"},
		{`{"list":[{"n":1.0}]}`, "/list/0/n", -1, "is not a whole number"},
		{`{"list":[{"n":1e0}]}`, "/list/0/n", -1, "is not a whole number"},
		{`{"list":[{"n":01}]}`, "/list/0/n", 16, "this is no number"},
		{`{"list":[{"n":-}]}`, "/list/0/n", 15, "this is no number"},
		{`{"list":[{"n":-`, "/list/0/n", 15, "ends too early"},
		{`{"list":[{"n":+1}]}`, "/list/0/n", 14, "a value is missing: a number is needed"},
		{`{"list":[{"n":1x}]}`, "/list/0", 15, `a comma or '}' is missing`},
		{`{"list":[{"n":"1"}]}`, "/list/0/n", -1, "is a string, where a number is needed"},
		{`{"list":[{"flag":True}]}`, "/list/0/flag", 17, "a value is missing: true or false is needed"},
		{`{"list":[{"flag":tru}]}`, "/list/0/flag", -1, "is a truth value, where true or false is needed"},
		{`{"list":[{"flag":truex}]}`, "/list/0", 21, `a comma or '}' is missing`},
		{`{"list":[{"flag":1}]}`, "/list/0/flag", -1, "is a number, where true or false is needed"},
		{`{"list":[{"text":"a` + "\n" + `"}]}`, "/list/0/text", 19, "a control character in a string must be escaped"},
		{`{"list":[{"text":"a`, "/list/0/text", 19, "ends too early"},
		{`{"list":[{"text":"\`, "/list/0/text", 19, "ends too early"},
		{`{"list":[{"text":"\n`, "/list/0/text", 20, "ends too early"},
		{`{"list":[{"text":"\x"}]}`, "/list/0/text", 18, "there is no such escape"},
		{`{"list":[{"text":"\u12g4"}]}`, "/list/0/text", 18, "four hexadecimal digits"},
		{`{"list":[{"text":"\u123`, "/list/0/text", 18, "four hexadecimal digits"},
		{`{"list":[{"text":"\ud800"}]}`, "/list/0/text", 18, "this surrogate stands alone"},
		{`{"list":[{"text":"\ude00\ud83d"}]}`, "/list/0/text", 18, "this surrogate stands alone"},
		{`{"list":[{"text":"\ud83d\u0041"}]}`, "/list/0/text", 18, "this surrogate stands alone"},
		{`{"list":[{"text":"\ud83dx"}]}`, "/list/0/text", 18, "this surrogate stands alone"},
		{`{"list":[{"text":"ab` + "\xff" + `"}]}`, "/list/0/text", 20, "this is not UTF-8"},
		{`{"list":[{"text":"ab` + "\xed\xa0\x80" + `"}]}`, "/list/0/text", 20, "this is not UTF-8"},
		{`{"li` + "\xff" + `st":[]}`, "", 4, "this is not UTF-8"},
	}
	for _, c := range cases {
		_, err := shape(c.text)
		var e *strictjson.Error
		if !errors.As(err, &e) || e.Pointer != c.pointer || e.Offset != c.offset || !strings.Contains(e.Detail, c.detail) {
			t.Errorf("%q: got %+v\nwant %s at %s, byte %d", c.text, e, c.detail, c.pointer, c.offset)
		} else if !strings.Contains(e.Error(), e.Detail) || !strings.HasPrefix(e.Error(), strconv.Quote(e.Pointer)) {
			t.Errorf("reads %s", e)
		}
	}
}

// TestStringsShareMemory checks what is promised of a string's bytes.
func TestStringsShareMemory(t *testing.T) {
	text := []byte(`"abc"`)
	b, err := strictjson.New(text).String()
	if err != nil || &b[0] != &text[1] || cap(b) != len(b) {
		t.Errorf("%q, %v: a copy, or one with room in the text", b, err)
	}
	if b, err := strictjson.New([]byte(`""`)).String(); err != nil || b == nil {
		t.Errorf("an empty string: %#v, %v", b, err)
	}
}

// FuzzString compares with the standard library, which is laxer: it replaces what is no UTF-8 and lone surrogates.
func FuzzString(f *testing.F) {
	for _, seed := range []string{`""`, `"a"`, `"\u00e4\ud83d\ude00"`, `"\ud800"`, `"\udc00\ud800x"`, "\"\xff\"", `"\ufffd"`, `"\\\"\/"`, `"\x"`, "\"\n\"", `"�"`, `"\ud83d\u0041"`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s := strictjson.New(text)
		got, err := s.String()
		if err == nil {
			err = s.End()
		}
		var want string
		wantErr := json.Unmarshal(text, &want)
		switch {
		case err == nil && (wantErr != nil || string(got) != want || !utf8.Valid(got)):
			t.Fatalf("%q is read as %q; the standard library says %q, %v", text, got, want, wantErr)
		case err != nil && wantErr == nil && string(text) != "null" && !isNull(text) && !strings.ContainsRune(want, utf8.RuneError):
			t.Fatalf("%q is refused (%v); the standard library says %q", text, err, want)
		}
	})
}

func isNull(text []byte) bool { return strings.Trim(string(text), " \t\r\n") == "null" }

// FuzzInt compares with the standard library.
func FuzzInt(f *testing.F) {
	for _, seed := range []string{"0", "-0", "9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809", "01", "1.0", "1e3", "-", "00", "1234567890123456789012"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s := strictjson.New(text)
		got, err := s.Int(math.MinInt64, math.MaxInt64)
		if err == nil {
			err = s.End()
		}
		var want int64
		wantErr := json.Unmarshal(text, &want)
		if isNull(text) {
			wantErr = errors.ErrUnsupported // into a number, the standard library takes it
		}
		if (err == nil) != (wantErr == nil) || (err == nil && got != want) {
			t.Fatalf("%q is read as %d, %v; the standard library says %d, %v", text, got, err, want, wantErr)
		}
	})
}

// FuzzShape checks that what is read is JSON, and that nothing panics on what is not.
func FuzzShape(f *testing.F) {
	for _, seed := range []string{`{"list":[{"text":"x","n":-5,"flag":true},{}],"a/b~c":"y"}`, `{"list":[[[`, `{"x`, `{} {}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		_, err := shape(string(text))
		var e *strictjson.Error
		switch {
		case err == nil && !json.Valid(text):
			t.Fatalf("%q was read", text)
		case err != nil && (!errors.As(err, &e) || !utf8.ValidString(e.Error()) || e.Offset > len(text)):
			t.Fatalf("%q: %#v", text, err)
		}
	})
}
