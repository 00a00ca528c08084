package server

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/ringkv/ringkv/api"
)

// maxParams is how many parameters the route with the most of them has.
const maxParams = 8

// paramNames are the parameters that a route takes. The lists below never change; were they written where they are
// used, every request would allocate one.
type paramNames []string

//nolint:gochecknoglobals // constants in all but name
var (
	noParams     = paramNames(nil)
	getParams    = paramNames{api.QueryConsistency}
	putParams    = paramNames{api.QueryTTL, api.QueryKeepTTL}
	listParams   = paramNames{api.QueryPrefix, api.QueryStart, api.QueryEnd, api.QueryLimit, api.QueryCursor, api.QueryKeysOnly}
	locateParams = paramNames{api.QueryKey}
	watchParams  = paramNames{api.QueryPrefix}
	lockParams   = paramNames{api.QueryToken}
)

// query holds the parameters of one request: values[i] belongs to names[i], "" if absent or empty.
type query struct {
	names  paramNames
	values [maxParams]string
}

// parseQuery decodes a form-encoded query that may hold the given parameters, each at most once. Errors:
// *api.InvalidError for an unknown or doubled parameter and for a broken escape.
func parseQuery(raw string, names paramNames) (query, error) {
	q := query{names: names}
	var seen [maxParams]bool
	for raw != "" {
		var pair string
		pair, raw, _ = strings.Cut(raw, "&")
		if pair == "" {
			continue
		}
		name, value, err := decodePair(pair)
		if err != nil {
			return q, err
		}
		i := q.index(name)
		switch {
		case i < 0:
			return q, invalidParam(name, "is not known here"+q.known())
		case seen[i]:
			return q, invalidParam(name, "is given twice")
		}
		seen[i], q.values[i] = true, value
	}
	return q, nil
}

func decodePair(pair string) (name, value string, err error) {
	name, value, _ = strings.Cut(pair, "=")
	if name, err = url.QueryUnescape(name); err != nil {
		return "", "", &api.InvalidError{Where: "query", Detail: err.Error()}
	}
	if value, err = url.QueryUnescape(value); err != nil {
		return "", "", invalidParam(name, err.Error())
	}
	return name, value, nil
}

// index returns the place of name, -1 if it is not known.
func (q *query) index(name string) int {
	for i, known := range q.names {
		if known == name {
			return i
		}
	}
	return -1
}

func (q *query) known() string {
	if len(q.names) == 0 {
		return "; this path takes no parameters"
	}
	return "; known are " + strings.Join(q.names, ", ")
}

// get returns the value of name, "" if absent. A name that was not passed to parseQuery is a bug of ours.
func (q *query) get(name string) string { return q.values[q.index(name)] }

// flag returns a parameter that is true or false, absent meaning false.
func (q *query) flag(name string) (bool, error) {
	switch q.get(name) {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	default:
		return false, invalidParam(name, "is neither true nor false")
	}
}

// count returns a decimal number between low and high, fallback if it is absent.
func (q *query) count(name string, fallback, low, high int) (int, error) {
	text := q.get(name)
	if text == "" {
		return fallback, nil
	}
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil || int(n) < low || int(n) > high {
		return 0, invalidParam(name, fmt.Sprintf("is not a whole number from %d to %d", low, high))
	}
	return int(n), nil
}

// ttl returns the parameter ttl in whole milliseconds, rounded up so that nothing expires early; 0 if it is absent.
func (q *query) ttl() (time.Duration, error) {
	text := q.get(api.QueryTTL)
	if text == "" {
		return 0, nil
	}
	ttl, err := time.ParseDuration(text)
	if err != nil || ttl < api.MinTTL || ttl > api.MaxTTL {
		return 0, invalidParam(api.QueryTTL, "is not a duration from 1ms to 87600h, such as 30s or 1h30m")
	}
	if rest := ttl % time.Millisecond; rest != 0 {
		ttl += time.Millisecond - rest
	}
	return ttl, nil
}

// consistency returns the parameter of that name.
func (q *query) consistency() (api.Consistency, error) {
	switch c := api.Consistency(q.get(api.QueryConsistency)); c {
	case "":
		return api.Linearizable, nil
	case api.Linearizable, api.Stale:
		return c, nil
	default:
		return "", invalidParam(api.QueryConsistency, "is neither linearizable nor stale")
	}
}

func invalidParam(name, detail string) error {
	return &api.InvalidError{Where: "query parameter " + strconv.Quote(name), Detail: detail}
}
