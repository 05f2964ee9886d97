// Package flat makes stream entries of the rows of flat files: one event per row.
package flat

import (
	"errors"
	"strings"

	"github.com/chainmetrics/chainmetrics/events"
)

// Config says what the columns of a file mean. Every column becomes a field of the event under its own name, besides the
// fields type, chain and timestamp.
type Config struct {
	Chain      string
	Type       string // the event type of every row; or
	TypeColumn string // the column that has it, of which capitals are made small letters
	Time       string // the column that has the chain time, in UTC unless it says otherwise
	Block      string // the column that has the block number; empty: ids are made of the time
	Order      string // the column that has a row's place within its block or time; empty: in order of the file
}

// Validate names everything that is wrong at once.
func (c Config) Validate() error {
	var wrong []error
	if c.Chain == "" {
		wrong = append(wrong, errors.New("the chain is missing: say it with --chain ethereum, for example"))
	}
	switch {
	case c.Type == "" && c.TypeColumn == "":
		wrong = append(wrong, errors.New("the event type is missing: say it with --type, or name its column with --type-column"))
	case c.Type != "" && c.TypeColumn != "":
		wrong = append(wrong, errors.New("--type and --type-column exclude each other"))
	}
	if c.Time == "" {
		wrong = append(wrong, errors.New("the column of the time is missing: name it with --time"))
	}
	return errors.Join(wrong...)
}

// taken are the names of the fields that an entry has besides those of the columns.
func (c Config) taken(name string) bool {
	switch name {
	case events.FieldType:
		return c.TypeColumn != name
	case events.FieldTimestamp:
		return c.Time != name
	case events.FieldChain, events.FieldTraceparent, events.FieldTracestate:
		return true
	}
	return strings.HasPrefix(name, "chainmetrics.")
}
