package row

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"

	"github.com/lanrat/extsort"
)

// Rows gives rows one by one, and [io.EOF] after the last.
type Rows interface {
	Next() (Row, error)
}

// Key says where a row belongs: by major, then by order. Of rows with the same key the one that was read first comes first.
type Key func(Row) (major, order uint64, err error)

// Chunk is how many rows are usually sorted in memory at once.
const Chunk = 50_000

// keyed is a row with what orders it.
type keyed struct {
	row                  Row
	major, order, number uint64
}

// Sorted gives rows in order of their keys.
type Sorted struct {
	rows   <-chan keyed
	failed <-chan error
	read   chan error // why reading the rows has ended
	stop   context.CancelFunc
	done   chan struct{} // closed once the rows are read no more
	ended  error
}

// Sort reads all rows. A chunk of them is sorted in memory while the next one is read; where they are more, they go through a
// temporary file. A row without key ends it.
func Sort(ctx context.Context, rows Rows, key Key, chunk int) *Sorted {
	ctx, stop := context.WithCancel(ctx)
	input := make(chan keyed)
	s := &Sorted{read: make(chan error, 1), stop: stop, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		defer close(input)
		s.read <- feed(ctx, rows, key, input)
	}()
	sorter, sorted, failed := extsort.Generic(input, decode, encode, compare, &extsort.Config{ChunkSize: chunk, ChanBuffSize: 0})
	s.rows, s.failed = sorted, failed
	go sorter.Sort(ctx)
	return s
}

func feed(ctx context.Context, rows Rows, key Key, input chan<- keyed) error {
	for number := uint64(0); ; number++ {
		r, err := rows.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		k := keyed{row: r, number: number}
		if k.major, k.order, err = key(r); err != nil {
			return err
		}
		select {
		case input <- k:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Next gives the next row in order.
func (s *Sorted) Next() (Row, error) {
	if s.read != nil { // the first row comes when all were read
		select {
		case s.ended = <-s.read:
		case s.ended = <-s.failed:
			if s.ended == nil { // everything was sorted, so that reading has ended
				s.ended = <-s.read
			}
		}
		s.read = nil
	}
	if s.ended != nil {
		return Row{}, s.ended
	}
	if k, ok := <-s.rows; ok {
		return k.row, nil
	}
	if s.ended = <-s.failed; s.ended == nil {
		s.ended = io.EOF
	}
	return Row{}, s.ended
}

var _ Rows = (*Sorted)(nil)

// Close removes the temporary files.
func (s *Sorted) Close() error {
	s.stop()
	for range s.rows { // until the sorter has noticed
	}
	<-s.done
	return nil
}

func compare(a, b keyed) int {
	return cmp.Or(cmp.Compare(a.major, b.major), cmp.Compare(a.order, b.order), cmp.Compare(a.number, b.number))
}

// stored is the form of a row in a temporary file.
type stored struct {
	Row                  Row
	Major, Order, Number uint64
}

func encode(k keyed) ([]byte, error) { return json.Marshal(stored{k.row, k.major, k.order, k.number}) }

func decode(data []byte) (keyed, error) {
	var s stored
	err := json.Unmarshal(data, &s)
	return keyed{row: s.Row, major: s.Major, order: s.Order, number: s.Number}, err
}
