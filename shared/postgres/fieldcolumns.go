package postgres

import (
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/aggregate"
)

// mostFieldColumns is how many fields have columns of their own. To read more takes longer than to read all in one.
const mostFieldColumns = 8

// fieldColumns are the columns in which the fields of archived events are read, one row after the other.
type fieldColumns struct {
	names  []string             // of fields in a column each; nil: all are in one
	exact  pgtype.DriverBytes   // not null where jsonb cannot hold the fields: then all are here
	values []pgtype.DriverBytes // null where there is no such field
}

// columnsOfFields gives the columns that have at least the fields that are needed.
func columnsOfFields(query aggregate.EventQuery) *fieldColumns {
	names := []string{}
	for _, name := range query.Fields {
		if name != events.FieldType && name != events.FieldChain { // which are no fields, though objects may have them
			names = append(names, name)
		}
	}
	unnamable := slices.ContainsFunc(names, func(name string) bool { return strings.Contains(name, "\x00") })
	if query.AllFields || unnamable || len(names) > mostFieldColumns {
		return &fieldColumns{values: make([]pgtype.DriverBytes, 1)}
	}
	return &fieldColumns{names: names, values: make([]pgtype.DriverBytes, len(names))}
}

// in puts the columns into a statement, and the names behind its arguments.
func (c *fieldColumns) in(statement string, arguments []any) (string, []any) {
	columns := []string{"exact_fields"}
	if c.names == nil {
		columns = append(columns, "fields")
	}
	for _, name := range c.names {
		arguments = append(arguments, name)
		columns = append(columns, "fields -> $"+strconv.Itoa(len(arguments)))
	}
	return strings.ReplaceAll(statement, "{fields}", strings.Join(columns, ", ")), arguments
}

// targets are what the columns are scanned into.
func (c *fieldColumns) targets() []any {
	targets := []any{&c.exact}
	for i := range c.values {
		targets = append(targets, &c.values[i])
	}
	return targets
}

// decode gives the fields of the row that was scanned. It may give them in a map that is empty.
func (c *fieldColumns) decode(empty map[string]any) (map[string]any, error) {
	switch {
	case c.exact != nil:
		return events.DecodeFields(string(c.exact))
	case c.names == nil:
		return events.DecodeFields(string(c.values[0]))
	}
	for i, name := range c.names {
		if c.values[i] == nil {
			continue
		}
		value, err := events.DecodeField(string(c.values[i]))
		if err != nil {
			return nil, err
		}
		empty[name] = value
	}
	return empty, nil
}
