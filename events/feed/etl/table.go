package etl

import (
	"cmp"
	"context"
	"errors"
	"io"
	"slices"
	"strconv"

	"github.com/chainmetrics/chainmetrics/events/feed/row"
)

// table are the files of one kind, whose rows follow each other. Its next row is known.
type table struct {
	kind   string
	left   []string // files that were not opened yet
	files  *Files
	reader *row.Reader
	sorted *row.Sorted // nil: the rows are in order

	next  row.Row
	at    place // of next
	ended bool
}

// place is where a row belongs.
type place struct {
	block, order uint64
	ordered      bool // a column has its order in the block
}

// begin reads the first row.
func (t *table) begin(ctx context.Context) error {
	if t.files.Sort {
		t.sorted = row.Sort(ctx, reading(t.read), t.key, row.Chunk)
	}
	return t.advance()
}

// reading is a function that gives rows.
type reading func() (row.Row, error)

// Next gives the next row.
func (next reading) Next() (row.Row, error) { return next() }

// advance goes to the next row.
func (t *table) advance() (err error) {
	before := t.at.block
	if t.sorted != nil {
		t.next, err = t.sorted.Next()
	} else {
		t.next, err = t.read()
	}
	if errors.Is(err, io.EOF) {
		t.ended = true
		return nil
	}
	if err != nil {
		return err
	}
	if t.at, err = t.place(t.next); err != nil {
		return err
	}
	if t.at.block < before {
		return t.next.Refuse("block %d comes after block %d: let the feed put the rows in order with --sort", t.at.block, before)
	}
	return nil
}

// key is what rows are sorted by.
func (t *table) key(r row.Row) (block, order uint64, err error) {
	at, err := t.place(r)
	return at.block, at.order, err
}

func (t *table) place(r row.Row) (at place, err error) {
	if found := kindOf(r); found != t.kind {
		return at, r.Refuse("it is no %s, as other rows of its file", t.kind)
	}
	column := columnBlock
	if t.kind == kindBlock {
		column = "number"
	}
	text, _ := r.Value(column)
	if at.block, err = strconv.ParseUint(text, 10, 63); err != nil {
		return at, r.Refuse("%s %.40q is no block number", column, text)
	}
	for _, column := range orders[t.kind] {
		if text, at.ordered = r.Value(column); !at.ordered {
			continue
		}
		if at.order, err = strconv.ParseUint(text, 10, 63); err != nil {
			return at, r.Refuse("%s %.40q is no place in a block", column, text)
		}
		break
	}
	return at, nil
}

// read reads the next row as it stands in the files.
func (t *table) read() (row.Row, error) {
	for {
		if t.reader == nil {
			if len(t.left) == 0 {
				return row.Row{}, io.EOF
			}
			var err error
			if t.reader, err = t.files.open(t.left[0]); err != nil {
				return row.Row{}, err
			}
			t.left = t.left[1:]
		}
		r, err := t.reader.Next()
		if !errors.Is(err, io.EOF) {
			return r, err
		}
		err, t.reader = t.reader.Close(), nil
		if err != nil {
			return row.Row{}, err
		}
	}
}

func (t *table) close() error {
	var failed []error
	if t.sorted != nil {
		failed = append(failed, t.sorted.Close())
	}
	if t.reader != nil {
		failed = append(failed, t.reader.Close())
	}
	return errors.Join(failed...)
}

// of gives the events of the rows of a block, in their order in it.
func (t *table) of(number uint64, hash string) ([]map[string]any, error) {
	type placed struct {
		order uint64
		row   row.Row
		event map[string]any
	}
	var found []placed
	for !t.ended && t.at.block <= number {
		r := t.next
		if t.at.block < number {
			return nil, r.Refuse("no file has block %d, to which it belongs", t.at.block)
		}
		if named, ok := r.Value("block_hash"); ok && named != hash {
			return nil, r.Refuse("it belongs to a block %s, while block %d is %s", named, number, hash)
		}
		event, err := fields(r, t.kind)
		if err != nil {
			return nil, err
		}
		order := t.at.order
		if !t.at.ordered {
			order = uint64(len(found))
		}
		found = append(found, placed{order, r, event})
		if err := t.advance(); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(found, func(a, b placed) int { return cmp.Compare(a.order, b.order) })
	all := make([]map[string]any, len(found))
	for i, p := range found {
		if i > 0 && p.order == found[i-1].order {
			return nil, p.row.Refuse("%s %d of block %d is there twice", t.kind, p.order, number)
		}
		all[i] = p.event
	}
	return all, nil
}
