package client

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/ringkv/ringkv/api"
)

// GetOption changes one Get.
type GetOption interface{ forGet(*reading) }

// PutOption changes one Put.
type PutOption interface{ forPut(*writing) }

// DeleteOption changes one Delete.
type DeleteOption interface{ forDelete(*writing) }

// reading gathers the options of a Get.
type reading struct {
	stale bool
}

// writing gathers the options of a Put or Delete.
type writing struct {
	header http.Header
	query  url.Values
}

func (w *writing) setHeader(name, value string) {
	if w.header == nil {
		w.header = make(http.Header, 2)
	}
	w.header[name] = []string{value}
}

func (w *writing) setQuery(name, value string) {
	if w.query == nil {
		w.query = make(url.Values, 1)
	}
	w.query.Set(name, value)
}

type staleOption struct{}

// Stale lets any replica answer, as it stands: cheaper, and possible without a majority, but perhaps behind.
func Stale() GetOption { return staleOption{} }

func (staleOption) forGet(r *reading) { r.stale = true }

// Condition is what a write demands of the key's present state. It is a PutOption and a DeleteOption.
type Condition struct {
	name, value string
}

// IfMatch writes only if the key has one of the given versions; given none, never.
func IfMatch(versions ...api.Version) Condition {
	return Condition{api.HeaderIfMatch, tagList(versions)}
}

// IfExists writes only if the key exists.
func IfExists() Condition { return Condition{api.HeaderIfMatch, "*"} }

func (o Condition) forPut(w *writing)    { w.setHeader(o.name, o.value) }
func (o Condition) forDelete(w *writing) { w.setHeader(o.name, o.value) }

// absence is a condition that makes sense for a Put alone.
type absence struct {
	value string
}

// IfNoneMatch writes only if the key is absent or has none of the given versions; given none, always.
func IfNoneMatch(versions ...api.Version) PutOption { return absence{tagList(versions)} }

// IfAbsent writes only if the key does not exist.
func IfAbsent() PutOption { return absence{"*"} }

func (o absence) forPut(w *writing) { w.setHeader(api.HeaderIfNoneMatch, o.value) }

// tagList writes versions as a list of entity tags. An empty list becomes a tag that matches no version.
func tagList(versions []api.Version) string {
	if len(versions) == 0 {
		return `"none"`
	}
	tags := make([]string, len(versions))
	for i, v := range versions {
		tags[i] = v.ETag()
	}
	return strings.Join(tags, ", ")
}

// Lifetime says how long a key lives. It is a PutOption, and fits a put of a transaction as well.
type Lifetime struct {
	ttl  time.Duration
	keep bool
}

// TTL makes the key expire that long after the write: 1ms to 87600h. Not together with KeepTTL.
func TTL(ttl time.Duration) Lifetime { return Lifetime{ttl: ttl} }

// KeepTTL leaves the key's time to live as it is; a put without it or TTL makes the key live for ever.
func KeepTTL() Lifetime { return Lifetime{keep: true} }

func (o Lifetime) forPut(w *writing) {
	if o.keep {
		w.setQuery(api.QueryKeepTTL, "true")
	} else {
		w.setQuery(api.QueryTTL, o.ttl.String())
	}
}

type contentTypeOption struct{ mediaType string }

// ContentType stores the value's media type beside it. Without it: application/octet-stream.
func ContentType(mediaType string) PutOption { return contentTypeOption{mediaType} }

func (o contentTypeOption) forPut(w *writing) { w.setHeader(api.HeaderContentType, o.mediaType) }
