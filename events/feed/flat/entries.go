package flat

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/events/feed/row"
)

// Entries turns rows into entries with ascending ids, <block number or milliseconds>-<order>. Orders count from 1.
type Entries struct {
	config Config
	rows   row.Rows
	now    func() time.Time
	last   keyed
}

// NewEntries reads from rows, which have to be in order.
func NewEntries(config Config, rows row.Rows, now func() time.Time) *Entries {
	return &Entries{config: config, rows: rows, now: now}
}

// Next gives the next entry and its row, and [io.EOF] after the last. It fails with a [*row.Error] that says what is
// wrong with the row.
func (e *Entries) Next() (events.Entry, row.Row, error) {
	r, err := e.rows.Next()
	if err != nil {
		return events.Entry{}, r, err
	}
	k, err := e.config.key(r)
	if err != nil {
		return events.Entry{}, r, err
	}
	switch first := e.last.row.Line == 0; {
	case !first && k.major < e.last.major:
		return events.Entry{}, r, k.row.Refuse("%s comes after %s, of line %d: let the feed put the rows in order with --sort",
			e.config.place(k.major), e.config.place(e.last.major), e.last.row.Line)
	case e.config.Order == "" && !first && k.major == e.last.major:
		k.order = e.last.order + 1
	case e.config.Order == "":
		k.order = 1
	case !first && k.major == e.last.major && k.order == e.last.order:
		return events.Entry{}, r, k.row.Refuse("%s has the %s of line %d too: name a column with --order that tells rows apart",
			e.config.place(k.major), e.config.Order, e.last.row.Line)
	case !first && k.major == e.last.major && k.order < e.last.order:
		return events.Entry{}, r, k.row.Refuse("its %s is less than that of line %d: let the feed put the rows in order with --sort",
			e.config.Order, e.last.row.Line)
	}
	e.last = k
	entry, err := e.config.entry(k, e.now())
	if err != nil {
		return events.Entry{}, r, k.row.Refuse("%w", err)
	}
	return entry, r, nil
}

// keyed is a row with what orders it.
type keyed struct {
	row          row.Row
	at           time.Time
	major, order uint64
}

func (c Config) place(major uint64) string {
	if c.Block != "" {
		return fmt.Sprintf("block %d", major)
	}
	return time.UnixMilli(int64(major)).UTC().Format("2006-01-02 15:04:05.999") //nolint:gosec // it was made of a time
}

// key reads a row's time, block and order.
func (c Config) key(r row.Row) (k keyed, err error) {
	for _, f := range r.Fields {
		if !utf8.ValidString(f.Name) || !utf8.ValidString(f.Value) {
			return k, r.Refuse("column %q is no valid UTF-8: save the file as UTF-8", f.Name)
		}
		if c.taken(f.Name) {
			return k, r.Refuse("column %q has the name of a field that every event has: give it another one with --rename %s=…",
				f.Name, f.Name)
		}
	}
	k = keyed{row: r}
	text, ok := r.Value(c.Time)
	if !ok {
		return k, r.Refuse("it has no %s, which is to be the time", c.Time)
	}
	if k.at, err = row.ParseTime(text); err != nil {
		return k, r.Refuse("%s %.40q: %w", c.Time, text, err)
	}
	k.major = uint64(k.at.UnixMilli())
	if c.Block != "" {
		if k.major, err = c.number(r, c.Block); err != nil {
			return k, err
		}
	}
	if c.Order != "" {
		order, err := c.number(r, c.Order)
		if err != nil {
			return k, err
		}
		k.order = order + 1
	}
	return k, nil
}

// order is the key by which rows are sorted.
func (c Config) order(r row.Row) (major, order uint64, err error) {
	k, err := c.key(r)
	return k.major, k.order, err
}

func (c Config) number(r row.Row, column string) (uint64, error) {
	text, ok := r.Value(column)
	if !ok {
		return 0, r.Refuse("it has no %s", column)
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n == math.MaxUint64 {
		return 0, r.Refuse("%s %.40q is no whole number", column, text)
	}
	return n, nil
}

func (c Config) entry(k keyed, now time.Time) (events.Entry, error) {
	eventType := c.Type
	fields := make([]events.Field, 0, len(k.row.Fields))
	for _, f := range k.row.Fields {
		switch f.Name {
		case c.TypeColumn:
			eventType = strings.ToLower(f.Value)
			if f.Name == events.FieldType {
				continue
			}
		case events.FieldTimestamp: // the time's own column
			continue
		}
		fields = append(fields, f)
	}
	return events.NewFlatEntry(events.ID{Major: k.major, Minor: k.order}, eventType, c.Chain, k.at, fields, now)
}
