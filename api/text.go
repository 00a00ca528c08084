package api

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"unicode/utf8"
)

// appendText appends a JSON member called name with b as a string, or, if b is not valid UTF-8, one called name_b64
// with b in standard base64.
func appendText(dst []byte, name string, b []byte) []byte {
	dst = append(dst, '"')
	dst = append(dst, name...)
	if !utf8.Valid(b) {
		dst = append(dst, `_b64":"`...)
		dst = base64.StdEncoding.AppendEncode(dst, b)
		return append(dst, '"')
	}
	dst = append(dst, `":`...)
	return appendString(dst, b)
}

// appendString appends b, which must be valid UTF-8, as a JSON string.
func appendString[T string | []byte](dst []byte, b T) []byte {
	dst = append(dst, '"')
	start := 0
	for i := range len(b) {
		c := b[i]
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, b[start:i]...)
		dst = appendEscape(dst, c)
		start = i + 1
	}
	dst = append(dst, b[start:]...)
	return append(dst, '"')
}

func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	default:
		return append(dst, '\\', 'u', '0', '0', upperHex[c>>4], upperHex[c&15])
	}
}

// text returns the bytes of a member that came as plain or as b64; nil if as neither.
func text(name string, plain *string, b64 *string) ([]byte, error) {
	switch {
	case plain != nil && b64 != nil:
		return nil, &InvalidError{Where: name, Detail: "stands beside " + name + "_b64; use one of them"}
	case plain != nil:
		return []byte(*plain), nil
	case b64 != nil:
		b, err := decodeBase64([]byte(*b64))
		if err != nil {
			return nil, &InvalidError{Where: name + "_b64", Detail: err.Error()}
		}
		return b, nil
	default:
		return nil, nil
	}
}

// decodeBase64 decodes canonical, padded standard base64, without the line breaks that the standard library skips. The
// result is never nil.
func decodeBase64(text []byte) ([]byte, error) {
	if i := bytes.IndexAny(text, "\r\n"); i >= 0 {
		return nil, fmt.Errorf("is not standard base64: %w", base64.CorruptInputError(i))
	}
	b, err := base64.StdEncoding.Strict().AppendDecode(make([]byte, 0, len(text)/4*3), text)
	if err != nil {
		return nil, fmt.Errorf("is not standard base64: %w", err)
	}
	return b, nil
}
