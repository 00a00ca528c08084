package server

import (
	"net/http"
	"strings"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/storage"
)

// entityTag is one tag of a conditional header: W/"opaque" or "opaque".
type entityTag struct {
	weak   bool
	opaque string
}

// tagList is the value of If-Match or If-None-Match.
type tagList struct {
	present bool
	any     bool // the header is `*`
	tags    []entityTag
}

// parseTagList reads all lines of one conditional header (RFC 9110, 13.1.1 and 13.1.2), which count as one list. Empty
// elements are skipped as 5.6.1.2 demands, but a header without any tag is refused: it is what a script sends whose
// variable was empty, and taking it for "no condition holds" or "none is asked" would be a guess. Errors: *api.InvalidError.
func parseTagList(header http.Header, name string) (tagList, error) {
	lines := header[name]
	if len(lines) == 0 {
		return tagList{}, nil
	}
	list := tagList{present: true}
	for _, line := range lines {
		if reason := list.parseLine(line); reason != "" {
			return tagList{}, &api.InvalidError{Where: "header " + name, Detail: reason}
		}
	}
	if !list.any && len(list.tags) == 0 {
		return tagList{}, &api.InvalidError{Where: "header " + name, Detail: "names no entity tag"}
	}
	return list, nil
}

// parseLine adds the elements of one line. It returns what is wrong, "" if nothing is.
func (l *tagList) parseLine(line string) string {
	for {
		line = strings.TrimLeft(line, " \t,")
		if line == "" {
			return ""
		}
		if l.any {
			return "has something beside *"
		}
		rest, reason := l.parseElement(line)
		if reason != "" {
			return reason
		}
		line = strings.TrimLeft(rest, " \t")
		if line != "" && line[0] != ',' {
			return "lacks a comma after an entity tag"
		}
	}
}

// parseElement reads `*` or an entity tag from the start of line and returns what follows it.
func (l *tagList) parseElement(line string) (rest, reason string) {
	if line[0] == '*' {
		if len(l.tags) > 0 {
			return "", "has something beside *"
		}
		l.any = true
		return line[1:], ""
	}
	tag, weak := strings.CutPrefix(line, "W/")
	if !strings.HasPrefix(tag, `"`) {
		return "", `has an entity tag without quotes; write "17"`
	}
	for i := 1; i < len(tag); i++ {
		switch c := tag[i]; {
		case c == '"':
			l.tags = append(l.tags, entityTag{weak: weak, opaque: tag[1:i]})
			return tag[i+1:], ""
		case c <= ' ' || c == 0x7F:
			return "", "has a space or a control character inside an entity tag"
		}
	}
	return "", "has an entity tag without its closing quote"
}

// versions returns the versions that l's strong tags name. It is never nil. Weak tags and tags that are no version
// never match anything, so they are left out.
func (l *tagList) versions() []storage.Version {
	versions := make([]storage.Version, 0, len(l.tags))
	for _, tag := range l.tags {
		if v, ok := api.ParseOpaqueTag(tag.opaque); ok && !tag.weak {
			versions = append(versions, storage.Version(v))
		}
	}
	return versions
}

// matches reports whether l holds the opaque tag of what exists; with weakToo, weak tags count as well.
func (l *tagList) matches(opaque string, weakToo bool) bool {
	if l.any {
		return true
	}
	for _, tag := range l.tags {
		if tag.opaque == opaque && (weakToo || !tag.weak) {
			return true
		}
	}
	return false
}

// parseCondition reads the condition of a write. Errors: *api.InvalidError.
func parseCondition(header http.Header) (storage.Condition, error) {
	var cond storage.Condition
	match, err := parseTagList(header, api.HeaderIfMatch)
	if err != nil {
		return cond, err
	}
	noneMatch, err := parseTagList(header, api.HeaderIfNoneMatch)
	if err != nil {
		return cond, err
	}
	cond.IfMatchAny, cond.IfNoneMatchAny = match.any, noneMatch.any
	if match.present && !match.any {
		cond.IfMatch = match.versions()
	}
	if noneMatch.present && !noneMatch.any {
		cond.IfNoneMatch = noneMatch.versions()
	}
	return cond, nil
}

// readCondition is what a GET or HEAD demands of the representation that it would get.
type readCondition struct {
	match, noneMatch tagList
}

// parseReadCondition reads the conditional headers of a read. Errors: *api.InvalidError.
func parseReadCondition(header http.Header) (readCondition, error) {
	match, err := parseTagList(header, api.HeaderIfMatch)
	if err != nil {
		return readCondition{}, err
	}
	noneMatch, err := parseTagList(header, api.HeaderIfNoneMatch)
	return readCondition{match: match, noneMatch: noneMatch}, err
}

// status returns what the condition makes of a 200 with the strong tag `"opaque"`: 412, 304 or 200, in the order that
// RFC 9110, 13.2.2, prescribes.
func (c *readCondition) status(opaque string) int {
	switch {
	case c.match.present && !c.match.matches(opaque, false):
		return http.StatusPreconditionFailed
	case c.noneMatch.present && c.noneMatch.matches(opaque, true):
		return http.StatusNotModified
	default:
		return http.StatusOK
	}
}
