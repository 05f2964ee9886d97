package flat

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"

	"github.com/lanrat/extsort"

	"github.com/chainmetrics/chainmetrics/events/feed/row"
)

// chunk is how many rows are usually sorted in memory at once.
const chunk = 50_000

// Sorted gives rows by block or time, then by order where a column has it, then as they were read.
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
func Sort(ctx context.Context, config Config, rows Rows, chunk int) *Sorted {
	ctx, stop := context.WithCancel(ctx)
	input := make(chan keyed)
	s := &Sorted{read: make(chan error, 1), stop: stop, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		defer close(input)
		s.read <- feed(ctx, config, rows, input)
	}()
	sorter, sorted, failed := extsort.Generic(input, decode, encode, compare, &extsort.Config{ChunkSize: chunk, ChanBuffSize: 0})
	s.rows, s.failed = sorted, failed
	go sorter.Sort(ctx)
	return s
}

func feed(ctx context.Context, config Config, rows Rows, input chan<- keyed) error {
	for number := uint64(0); ; number++ {
		r, err := rows.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		k, err := config.key(r)
		if err != nil {
			return err
		}
		k.number = number
		select {
		case input <- k:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Next gives the next row in order.
func (s *Sorted) Next() (row.Row, error) {
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
		return row.Row{}, s.ended
	}
	if k, ok := <-s.rows; ok {
		return k.row, nil
	}
	if s.ended = <-s.failed; s.ended == nil {
		s.ended = io.EOF
	}
	return row.Row{}, s.ended
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
	Row                  row.Row
	Major, Order, Number uint64
}

func encode(k keyed) ([]byte, error) { return json.Marshal(stored{k.row, k.major, k.order, k.number}) }

func decode(data []byte) (keyed, error) {
	var s stored
	err := json.Unmarshal(data, &s)
	return keyed{row: s.Row, major: s.Major, order: s.Order, number: s.Number}, err
}
