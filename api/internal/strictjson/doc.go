// Package strictjson reads JSON texts of known shape from memory: the requests' side of the API.
//
// It guarantees what encoding/json does not: member names are matched exactly, after unescaping, and are known and not
// repeated; strings are valid UTF-8 without lone surrogates; null stands for nothing; nothing follows the text. Every
// error names the place as a JSON pointer (RFC 6901) and the byte. It never recurses, because callers ask for what they
// expect, and allocates only for strings with escapes.
package strictjson
