package bitcoin

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// keySize is the length of the key in xor.dat, with which Bitcoin Core 28 and later obfuscates its block files.
const keySize = 8

// file is one block file. Bytes are those of Bitcoin Core before it applied the key.
type file struct {
	path string
	key  [keySize]byte
	next int64 // everything before it was scanned: the end of the last whole record

	size     int64     // when it was scanned last
	modified time.Time // likewise
	settled  bool      // it was scanned once more after it had come to be like that
}

// isSettled tells whether a file has nothing that was not scanned. The size alone does not tell: Bitcoin Core makes files
// longer ahead of what it writes. A time as coarse as that of a file system may miss a write right after a scan, so a
// file is scanned twice with the same size and time.
func (f *file) isSettled(info fs.FileInfo) bool { return f.settled && f.isAs(info) }

// scanned notes how a file was before it was scanned to its end.
func (f *file) scanned(info fs.FileInfo) {
	f.settled = f.isAs(info)
	f.size, f.modified = info.Size(), info.ModTime()
}

func (f *file) isAs(info fs.FileInfo) bool {
	return info.Size() == f.size && info.ModTime().Equal(f.modified)
}

// source is an open file.
type source struct {
	*os.File
	key [keySize]byte
}

func (f *file) open() (*source, error) {
	handle, err := os.Open(f.path)
	if err != nil {
		return nil, fmt.Errorf("open block file: %w", err)
	}
	return &source{File: handle, key: f.key}, nil
}

// ReadAt reads plain bytes.
func (s *source) ReadAt(into []byte, offset int64) (int, error) {
	n, err := s.File.ReadAt(into, offset)
	if s.key != [keySize]byte{} {
		for i := range into[:n] {
			into[i] ^= s.key[(offset+int64(i))%keySize]
		}
	}
	return n, err
}

// findFiles gives the block files that a path, a folder or a glob names, in the order in which Bitcoin Core wrote them.
func findFiles(pattern string) ([]string, error) {
	info, err := os.Stat(pattern)
	switch {
	case err == nil && info.IsDir():
		pattern = filepath.Join(pattern, "blk*.dat")
	case err == nil:
		return []string{pattern}, nil
	}
	paths, err := filepath.Glob(pattern)
	if err != nil {
		return nil, fmt.Errorf("find block files %s: %w", pattern, err)
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("find block files: nothing is named %s", pattern)
	}
	slices.SortFunc(paths, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) // blk99999.dat before blk100000.dat
	})
	return paths, nil
}

// readKey reads the key beside a block file: zeros where there is none.
func readKey(path string) (key [keySize]byte, err error) {
	name := filepath.Join(filepath.Dir(path), "xor.dat")
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return key, nil
	}
	if err != nil {
		return key, fmt.Errorf("read key of block files: %w", err)
	}
	if len(data) != keySize {
		return key, fmt.Errorf("read key of block files %s: it has %d bytes, not %d", name, len(data), keySize)
	}
	return [keySize]byte(data), nil
}
