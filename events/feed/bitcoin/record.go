package bitcoin

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	prefixSize  = 8         // magic number and length before each block
	headerSize  = 80        // of a block
	maximumSize = 4_000_000 // of a block
	chunkSize   = 64 << 10  // read at once in search of a record
)

// record is where a block lies in a file.
type record struct {
	offset int64 // of the block itself
	size   int
}

// scanner finds the records of a file: a magic number, the length of a block in four bytes, the block. Bitcoin Core
// writes them as blocks arrive, in any order of heights, and leaves zeros between and after them.
type scanner struct {
	src   io.ReaderAt
	size  int64 // of the file
	magic [4]byte
	chunk [chunkSize]byte
}

// scan offers every whole record at or after an offset to found, in file order, and gives the end of the last one that
// found took. What lies between records, what found refuses and a last record that is still being written are passed over.
func (s *scanner) scan(offset int64, found func(record, [headerSize]byte) bool) (end int64, err error) {
	end = offset
	for {
		offset, err = s.search(offset)
		if err != nil || s.size-offset < prefixSize+headerSize {
			return end, err
		}
		var head [prefixSize + headerSize]byte
		if _, err := s.src.ReadAt(head[:], offset); err != nil {
			return end, fmt.Errorf("read record at %d: %w", offset, err)
		}
		at := record{offset: offset + prefixSize, size: int(binary.LittleEndian.Uint32(head[4:]))}
		after := at.offset + int64(at.size)
		if at.size < headerSize || at.size > maximumSize || after > s.size ||
			!found(at, [headerSize]byte(head[prefixSize:])) {
			offset++
			continue
		}
		offset, end = after, after
	}
}

// search gives the offset of the next magic number, or the end of the file.
func (s *scanner) search(offset int64) (int64, error) {
	for window := len(s.magic); offset < s.size; window = chunkSize {
		n, err := s.src.ReadAt(s.chunk[:window], offset)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, fmt.Errorf("search records from %d: %w", offset, err)
		}
		if at := bytes.Index(s.chunk[:n], s.magic[:]); at >= 0 {
			return offset + int64(at), nil
		}
		if n < window {
			break
		}
		offset += int64(n - len(s.magic) + 1)
	}
	return s.size, nil
}
