package serial

import "errors"

// ErrMalformed is returned when a history cannot have been recorded rightly: two transactions of one id, the same value
// appended twice to one key, a return before the invocation, reads that do not match the operations. It says nothing
// about the system under test.
var ErrMalformed = errors.New("malformed history")
