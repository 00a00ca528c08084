package badgerdb_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

const (
	seekData = 3 // lseek(2)
	seekHole = 4
)

// copyDir copies a flat directory as it is at one moment: if files came or went meanwhile it begins anew.
func copyDir(from, to string) error {
	for {
		before, err := names(from)
		if err != nil {
			return err
		}
		if err := errors.Join(os.RemoveAll(to), os.MkdirAll(to, 0o700)); err != nil {
			return err
		}
		err = copyFiles(from, to, before)
		after, listErr := names(from)
		switch {
		case listErr != nil:
			return listErr
		case !slices.Equal(before, after):
			continue
		}
		return err
	}
}

func names(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	var ns []string
	for _, e := range entries {
		ns = append(ns, e.Name())
	}
	return ns, err
}

func copyFiles(from, to string, names []string) error {
	for _, name := range names {
		if err := copyFile(filepath.Join(from, name), filepath.Join(to, name)); err != nil {
			return err
		}
	}
	return nil
}

// copyFile copies what is not a hole: log files are 128 MiB of which little was written.
func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer out.Close()
	if err := out.Truncate(info.Size()); err != nil {
		return err
	}
	for at := int64(0); ; {
		start, err := in.Seek(at, seekData)
		if errors.Is(err, syscall.ENXIO) {
			return nil // no data from here on
		}
		if err != nil {
			return err
		}
		if at, err = in.Seek(start, seekHole); err != nil {
			return err
		}
		if _, err := io.Copy(io.NewOffsetWriter(out, start), io.NewSectionReader(in, start, at-start)); err != nil {
			return err
		}
	}
}
