package flat

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"github.com/chainmetrics/chainmetrics/events/feed/row"
)

// Files are flat files whose rows follow each other.
type Files struct {
	Paths  []string  // "-" is Input
	Input  io.Reader // standard input
	Rows   row.Options
	Events Config
	Sort   bool // the rows are put in order first
	Chunk  int  // rows that are sorted in memory at once, 50,000 where it is 0
	Now    func() time.Time

	opened bool
	read   atomic.Int64
}

// ErrOnce says that standard input would have to be read a second time.
var ErrOnce = errors.New("standard input cannot be read a second time: give it once more")

// Open begins with the first file. It fails with [ErrOnce].
func (f *Files) Open(ctx context.Context) (*Opened, error) {
	if f.opened && slices.Contains(f.Paths, "-") {
		return nil, ErrOnce
	}
	f.opened = true
	f.read.Store(0)
	o := &Opened{files: f, left: f.Paths}
	var rows row.Rows = reading(o.NextRow)
	if f.Sort {
		o.sorted = row.Sort(ctx, rows, f.Events.order, cmp.Or(f.Chunk, row.Chunk))
		rows = o.sorted
	}
	o.Entries = NewEntries(f.Events, rows, f.Now)
	return o, nil
}

// Read is how many bytes of the files were read since they were opened. It may be called concurrently.
func (f *Files) Read() int64 { return f.read.Load() }

// Opened gives the entries of files.
type Opened struct {
	*Entries
	files  *Files
	left   []string // that were not opened yet
	reader *row.Reader
	sorted *row.Sorted
}

// reading is a function that gives rows.
type reading func() (row.Row, error)

// Next gives the next row.
func (next reading) Next() (row.Row, error) { return next() }

// NextRow gives the next row as it stands in the files, and [io.EOF] after the last: for those who make no entries of rows.
func (o *Opened) NextRow() (row.Row, error) {
	for {
		if o.reader == nil {
			if len(o.left) == 0 {
				return row.Row{}, io.EOF
			}
			options := o.files.Rows
			options.Count = &o.files.read
			reader, err := row.Open(o.left[0], o.files.Input, options)
			if err != nil {
				return row.Row{}, err
			}
			o.reader, o.left = reader, o.left[1:]
		}
		next, err := o.reader.Next()
		if !errors.Is(err, io.EOF) {
			return next, err
		}
		if err := o.reader.Close(); err != nil {
			return row.Row{}, fmt.Errorf("close: %w", err)
		}
		o.reader = nil
	}
}

// Close closes what is open, and removes temporary files.
func (o *Opened) Close() error {
	var failed []error
	if o.sorted != nil {
		failed = append(failed, o.sorted.Close())
	}
	if o.reader != nil {
		failed = append(failed, o.reader.Close())
	}
	return errors.Join(failed...)
}
