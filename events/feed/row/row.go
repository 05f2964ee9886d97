// Package row reads the rows of files that hold one thing per line: CSV and JSON lines.
package row

import (
	"fmt"

	"github.com/chainmetrics/chainmetrics/events"
)

// Row is one line of a file, or more where a CSV value has line breaks.
type Row struct {
	File   string
	Line   int // where the row begins, from 1
	Fields []events.Field
}

// Value gives the value of a field; ok is false where the row has none.
func (r Row) Value(name string) (value string, ok bool) {
	for _, f := range r.Fields {
		if f.Name == name {
			return f.Value, true
		}
	}
	return "", false
}

// Place names a row in messages: "sales.csv.gz, line 17".
func (r Row) Place() string { return fmt.Sprintf("%s, line %d", r.File, r.Line) }

// Error is something that is wrong with a row.
type Error struct {
	Row     Row
	Problem error
}

// Error gives file, line and problem.
func (e *Error) Error() string { return e.Row.Place() + ": " + e.Problem.Error() }

// Unwrap gives the problem.
func (e *Error) Unwrap() error { return e.Problem }

// Refuse makes an error of a row.
func (r Row) Refuse(format string, arguments ...any) error {
	return &Error{Row: r, Problem: fmt.Errorf(format, arguments...)}
}
