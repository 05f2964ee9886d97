// Package etl makes block entries of exports in the public schemas of ethereum-etl and bitcoin-etl.
package etl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/events/feed/row"
)

// Files are exported files of one chain: blocks, and what happened in them. Those of one kind follow each other in order of
// blocks.
type Files struct {
	Paths []string
	Rows  row.Options
	Sort  bool // rows are put in order of blocks first
	Chain string
	// Parent gives the hash of the block at a height where no file has it, empty where that is not known. bitcoin-etl does not
	// export the hashes of parents.
	Parent func(ctx context.Context, number uint64) (string, error)
	Now    func() time.Time

	read atomic.Int64
}

// Read is how many bytes of the files were read since they were opened. It may be called concurrently.
func (f *Files) Read() int64 { return f.read.Load() }

func (f *Files) open(path string) (*row.Reader, error) {
	options := f.Rows
	options.Count = &f.read
	return row.Open(path, nil, options)
}

// Open looks what the files hold, and begins with the first block. It fails where a file is of no known kind, or none has
// blocks.
func (f *Files) Open(ctx context.Context) (*Entries, error) {
	if slices.Contains(f.Paths, "-") {
		return nil, errors.New("files of blocks are read side by side: name them, instead of standard input")
	}
	tables, empty := map[string]*table{}, ""
	for _, path := range f.Paths {
		if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
			return nil, fmt.Errorf("%s is no file that can be read twice", path)
		}
		kind, err := f.kind(path)
		if errors.Is(err, io.EOF) || errors.Is(err, row.ErrEmpty) { // there was nothing to export
			empty = path
			continue
		}
		if err != nil {
			return nil, err
		}
		if tables[kind] == nil {
			tables[kind] = &table{kind: kind, files: f}
		}
		tables[kind].left = append(tables[kind].left, path)
	}
	e := &Entries{files: f, blocks: tables[kindBlock], ctx: ctx}
	if tables[kindTransaction] == nil {
		e.empty = empty
	}
	if e.blocks == nil {
		return nil, errors.New("no file has blocks: what happened in blocks needs the blocks too")
	}
	for _, kind := range []string{kindTransaction, kindLog, kindTransfer} { // the order of events in a block
		if tables[kind] != nil {
			e.others = append(e.others, tables[kind])
		}
	}
	f.read.Store(0)
	for _, t := range append(slices.Clone(e.others), e.blocks) {
		if err := t.begin(ctx); err != nil {
			return nil, errors.Join(err, e.Close())
		}
	}
	return e, nil
}

// kind tells what a file holds, with [io.EOF] where it has no rows.
func (f *Files) kind(path string) (string, error) {
	reader, err := f.open(path)
	if err != nil {
		return "", err
	}
	r, err := reader.Next()
	if err := errors.Join(err, reader.Close()); err != nil {
		return "", err
	}
	if kind := kindOf(r); kind != "" {
		return kind, nil
	}
	return "", r.Refuse("its columns are those of no blocks, transactions, logs or token transfers in the schemas of ethereum-etl or " +
		"bitcoin-etl")
}

// Entries joins the rows of each block into one entry, with the id 0-<number + 1>.
type Entries struct {
	ctx    context.Context //nolint:containedctx // of Next, which has none
	files  *Files
	blocks *table
	others []*table

	empty string // a file without rows, where none has transactions
	last  string // hash of the block before
	from  uint64 // number of the block before
	some  bool   // there was one
}

// Next gives the entry of the next block and its row, and [io.EOF] after the last. It fails with a [*row.Error] that says
// what is wrong with a row: blocks have to be consecutive, each the child of the one before, with as many transactions as it
// counts where these are exported.
func (e *Entries) Next() (events.Entry, row.Row, error) {
	if e.blocks.ended {
		for _, t := range e.others {
			if !t.ended {
				return events.Entry{}, t.next, t.next.Refuse("no file has block %d, to which it belongs", t.at.block)
			}
		}
		return events.Entry{}, row.Row{}, io.EOF
	}
	r, number := e.blocks.next, e.blocks.at.block
	block, err := e.block(r, number)
	if err != nil {
		return events.Entry{}, r, err
	}
	if count, ok := r.Value("transaction_count"); ok && count != "0" && e.empty != "" {
		return events.Entry{}, r, r.Refuse("it counts %s transactions, while no file has any, and %s is empty: leave it out, if it is "+
			"none of transactions", count, e.empty)
	}
	for _, t := range e.others {
		found, err := t.of(number, block.Hash)
		if err != nil {
			return events.Entry{}, r, err
		}
		if count, ok := r.Value("transaction_count"); ok && t.kind == kindTransaction && count != strconv.Itoa(len(found)) {
			return events.Entry{}, r, r.Refuse("it counts %s transactions, the files have %d of block %d", count, len(found), number)
		}
		for _, event := range found {
			block.Events = append(block.Events, event)
		}
	}
	if err := e.blocks.advance(); err != nil {
		return events.Entry{}, r, err
	}
	e.last, e.from, e.some = block.Hash, number, true
	entry, err := events.NewBlockEntry(events.ID{Minor: number + 1}, block, e.files.Now())
	if err != nil {
		return events.Entry{}, r, r.Refuse("%w", err)
	}
	return entry, r, nil
}

// block reads a block's own row.
func (e *Entries) block(r row.Row, number uint64) (events.Block, error) {
	if e.some && number != e.from+1 {
		return events.Block{}, r.Refuse("it is block %d after block %d: none may be missing or there twice", number, e.from)
	}
	values, err := fields(r, kindBlock)
	if err != nil {
		return events.Block{}, err
	}
	text, _ := r.Value(events.FieldTimestamp)
	at, err := row.ParseTime(text)
	if err != nil {
		return events.Block{}, r.Refuse("timestamp %.40q: %w", text, err)
	}
	parent, err := e.parent(r, number)
	if err != nil {
		return events.Block{}, err
	}
	hash, _ := r.Value(events.FieldHash)
	return events.Block{
		Chain: e.files.Chain, Number: number, Hash: hash, ParentHash: parent, Time: at.Truncate(time.Second), Fields: values,
	}, nil
}

func (e *Entries) parent(r row.Row, number uint64) (string, error) {
	named, ok := r.Value(columnParent)
	switch {
	case ok && e.some && named != e.last:
		return "", r.Refuse("its parent_hash is %s, the block before it is %s", named, e.last)
	case ok:
		return named, nil
	case e.some:
		return e.last, nil
	case number > 0:
		known, err := e.files.Parent(e.ctx, number-1)
		if err != nil || known != "" {
			return known, err
		}
	}
	return strings.Repeat("0", 64), nil // of the first block of all, and of the first that is known
}

// Close closes what is open.
func (e *Entries) Close() error {
	failed := []error{e.blocks.close()}
	for _, t := range e.others {
		failed = append(failed, t.close())
	}
	return errors.Join(failed...)
}
