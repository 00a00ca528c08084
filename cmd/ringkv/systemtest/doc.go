// Package systemtest tests ringkv from outside: real processes of the real binary on real disks, spoken to with the SDK,
// killed with kill -9, stopped with SIGSTOP, and emptied. It holds nothing but tests.
package systemtest
