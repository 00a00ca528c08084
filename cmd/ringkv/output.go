package main

import (
	"encoding/json"
	"io"
	"text/tabwriter"
	"unicode/utf8"
)

// printJSON prints v as one line of JSON.
func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// table returns a writer that lines up tab-separated columns; it must be flushed.
func (a *app) table() *tabwriter.Writer { return tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0) }

// keyField is a key in JSON output: as text, or as base64 if it is not valid UTF-8.
type keyField struct {
	Key    string `json:"key,omitempty"`
	KeyB64 []byte `json:"key_b64,omitempty"`
}

func keyOf(key string) keyField {
	if utf8.ValidString(key) {
		return keyField{Key: key}
	}
	return keyField{KeyB64: []byte(key)}
}

// colourful reports whether w should be coloured: a terminal, unless NO_COLOR is set to anything.
func (a *app) colourful(w io.Writer) bool { return isTerminal(w) && a.getenv("NO_COLOR") == "" }
