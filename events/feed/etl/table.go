package etl

import (
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

	next   row.Row
	number uint64 // of the block that next belongs to
	ended  bool
}

// advance reads the next row.
func (t *table) advance() error {
	before := t.number
	for {
		if t.reader == nil {
			if len(t.left) == 0 {
				t.ended = true
				return nil
			}
			var err error
			if t.reader, err = t.files.open(t.left[0]); err != nil {
				return err
			}
			t.left = t.left[1:]
		}
		r, err := t.reader.Next()
		if errors.Is(err, io.EOF) {
			if err := t.close(); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		if found := kindOf(r); found != t.kind {
			return r.Refuse("it is no %s, as other rows of its file", t.kind)
		}
		column := columnBlock
		if t.kind == kindBlock {
			column = "number"
		}
		text, _ := r.Value(column)
		if t.number, err = strconv.ParseUint(text, 10, 63); err != nil {
			return r.Refuse("%s %.40q is no block number", column, text)
		}
		if t.number < before {
			return r.Refuse("block %d comes after block %d: files have to be given, and their rows to be, in order of blocks", t.number, before)
		}
		t.next = r
		return nil
	}
}

func (t *table) close() error {
	if t.reader == nil {
		return nil
	}
	err := t.reader.Close()
	t.reader = nil
	return err
}

// of gives the events of the rows of a block, in their order in it.
func (t *table) of(number uint64) ([]map[string]any, error) {
	type placed struct {
		order uint64
		event map[string]any
	}
	var found []placed
	for !t.ended && t.number <= number {
		if t.number < number {
			return nil, t.next.Refuse("no file has block %d, to which it belongs", t.number)
		}
		event, err := fields(t.next, t.kind)
		if err != nil {
			return nil, err
		}
		order := uint64(len(found))
		for _, column := range orders[t.kind] {
			if text, ok := t.next.Value(column); ok {
				if order, err = strconv.ParseUint(text, 10, 63); err != nil {
					return nil, t.next.Refuse("%s %.40q is no place in a block", column, text)
				}
			}
		}
		found = append(found, placed{order, event})
		if err := t.advance(); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(found, func(a, b placed) int {
		switch {
		case a.order < b.order:
			return -1
		case a.order > b.order:
			return 1
		}
		return 0
	})
	all := make([]map[string]any, len(found))
	for i, p := range found {
		all[i] = p.event
	}
	return all, nil
}
