package server

import (
	"net/url"

	"github.com/ringkv/ringkv/api"
)

// keyOf returns the key that follows prefix in the path, decoded exactly once, in memory of its own with room for
// extra more bytes. Errors: *api.InvalidError if it is empty, *api.LimitError if it is too long.
//
// net/http parsed the request target into u.Path by decoding it once, without cleaning. The route was matched on the
// escaped path, so prefix stands literally at its start and takes as many bytes in u.Path: what follows is the key.
func keyOf(u *url.URL, prefix string, extra int) ([]byte, error) {
	key := u.Path[len(prefix):]
	if err := checkKey("key", len(key)); err != nil {
		return nil, err
	}
	return append(make([]byte, 0, len(key)+extra), key...), nil
}

// checkKey checks a key's length; where names it in the error.
func checkKey(where string, length int) error {
	if length == 0 {
		return &api.InvalidError{Where: where, Detail: "is empty; a key has 1 to 1024 bytes"}
	}
	return checkLimit(where, length, api.MaxKeyBytes)
}

// checkLimit returns *api.LimitError if actual is over limit.
func checkLimit(what string, actual, limit int) error {
	if actual > limit {
		return &api.LimitError{What: what, Limit: int64(limit), Actual: int64(actual)}
	}
	return nil
}
