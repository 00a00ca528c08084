package badgerdb

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
)

// stateName is the file that says how the directory was left. It makes it known when all of the log, or the last of the
// manifest, is gone: the rest then looks whole.
const (
	stateName  = "STATE"
	stateMagic = "RKVBDG01"
	stateBytes = len(stateMagic) + 1 + 8 + 4
)

// phase is where between Open and Close the directory was left.
type phase uint8

// The phases. The numbers are on disk: append only.
const (
	phaseOpening phase = 0 // Badger has not made its log file yet
	phaseOpen    phase = 1 // there is a log file
	phaseClosing phase = 2 // no more commits come; there is a log file or not
)

// state is the content of the state file: [magic][phase u8][commit u64 BE][CRC32C u32 BE].
type state struct {
	phase  phase
	commit uint64 // closing: the last commit; else: the last one when the directory was opened
}

func writeState(dir string, s state) error {
	b := append([]byte(stateMagic), byte(s.phase))
	b = binary.BigEndian.AppendUint64(b, s.commit)
	b = binary.BigEndian.AppendUint32(b, castagnoli(b))
	path := filepath.Join(dir, stateName)
	if err := writeSynced(path+".new", b); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return syncDir(dir)
}

// readState returns false where there is no state file.
func readState(dir string) (state, bool, error) {
	path := filepath.Join(dir, stateName)
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return state{}, false, nil
	case err != nil:
		return state{}, false, err
	}
	if len(b) != stateBytes || castagnoli(b[:stateBytes-4]) != binary.BigEndian.Uint32(b[stateBytes-4:]) {
		return state{}, false, corrupt(path, 0, "checksum")
	}
	s := state{phase: phase(b[len(stateMagic)]), commit: binary.BigEndian.Uint64(b[len(stateMagic)+1:])}
	return s, true, nil
}

func writeSynced(path string, b []byte) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

func castagnoli(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }
