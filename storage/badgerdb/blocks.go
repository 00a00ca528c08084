//go:build unix

package badgerdb

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// logBytes is what the log files occupy: their length is mostly a hole.
func (ls *listing) logBytes() int64 {
	var n int64
	for _, number := range ls.logs {
		info, err := os.Stat(filepath.Join(ls.dir, fmt.Sprintf("%05d%s", number, logSuffix)))
		if err != nil {
			continue // written out meanwhile
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			n += st.Blocks * 512
		}
	}
	return n
}
