package badgerdb

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"

	"github.com/ringkv/ringkv/storage/datasync"
)

// stateName is the file that says how far the directory is known to be durable. What is damaged or missing up to there is
// corruption; what is damaged behind it was never promised.
const (
	stateName  = "STATE"
	stateMagic = "RKVBDG01"
	stateBytes = len(stateMagic) + 1 + 8 + 4
)

// phase is where between Open and Close the directory was left.
type phase uint8

// The phases. The numbers are on disk: append only.
const (
	phaseOpen   phase = 1 // every commit up to the number is durable, later ones may be
	phaseClosed phase = 2 // the number is that of the last commit
)

// state is the content of the state file: [magic][phase u8][commit u64 BE][CRC32C u32 BE].
type state struct {
	phase  phase
	commit uint64
}

func (s state) encode() []byte {
	b := append([]byte(stateMagic), byte(s.phase))
	b = binary.BigEndian.AppendUint64(b, s.commit)
	return binary.BigEndian.AppendUint32(b, castagnoli(b))
}

// stateFile is the state file of an open Engine. It is overwritten in place, as it lies within one sector of the disk,
// which a power cut leaves as it was or as it should be; it is synced once a second, and renaming would cost a journal
// commit each time.
type stateFile struct{ file *os.File }

// openStateFile makes s the state; it is durable when openStateFile returns.
func openStateFile(dir string, s state) (*stateFile, error) {
	path := filepath.Join(dir, stateName)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		if err := createState(dir, s); err != nil {
			return nil, err
		}
		f, err = os.OpenFile(path, os.O_RDWR, 0)
	}
	if err != nil {
		return nil, err
	}
	sf := &stateFile{f}
	if err := sf.write(s); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return sf, nil
}

// createState makes the file under its name as a whole or not at all.
func createState(dir string, s state) error {
	path := filepath.Join(dir, stateName)
	if err := writeSynced(path+".new", s.encode()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return syncDir(dir)
}

// write makes s the state; it is durable when write returns.
func (f *stateFile) write(s state) error {
	if _, err := f.file.WriteAt(s.encode(), 0); err != nil {
		return fmt.Errorf("write %s: %w", stateName, err)
	}
	return datasync.Seldom(f.file)
}

func (f *stateFile) close() error { return f.file.Close() }

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
	if s.phase != phaseOpen && s.phase != phaseClosed {
		return state{}, false, corrupt(path, 0, "unknown phase %d", s.phase)
	}
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
