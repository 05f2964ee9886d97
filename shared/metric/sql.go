package metric

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/chainmetrics/chainmetrics/shared/decimal"
)

// Bounds of the rows that a query may give for a window.
const (
	defaultRows = 100_000
	mostRows    = 10_000_000
)

const pathSQL = "calculation_logic.sql"

// valueColumn is the column of a query that is no dimension.
const valueColumn = "value"

// SQL takes observations from the rows that a query gives for each window, at the window's start.
type SQL struct {
	// Template is one SELECT, in which {start_time}, {end_time} and {chain} stand for the window's start, its end, which is not in it,
	// and its chain. It gives a column named value, which a counter may leave out, and those that the dimensions name.
	Template string `json:"template"`
	// EventTypes are those of the archived events that it reads. With none the windows are due by the clock.
	EventTypes []string `json:"event_types,omitempty"`
	Dimensions []string `json:"dimensions,omitempty"`
	// Connection names another database; empty: it is the one that has the buckets, as a role that may read the archive's views.
	Connection string `json:"connection,omitempty"`
	MaxRows    int    `json:"max_rows,omitempty"` // of a window; more are an error
}

// Statement gives the template, which must be valid, as a query with the parameters $1, the start, $2, the end, and $3, the chain.
func (s SQL) Statement() string {
	t, _ := parseTemplate(s.Template)
	return t.statement
}

var connectionName = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)

// sql checks a query, and makes the program of its rows.
func (c *checker) sql(d Definition, takes Takes) *Program {
	s := d.Calculation.SQL
	t, mistakes := parseTemplate(s.Template)
	c.faults(pathSQL+".template", mistakes)
	if len(mistakes) == 0 && !t.usesChain && len(d.Chains) > 1 {
		c.refuse(pathSQL+".template", "gives the same for each of %d chains: write chain = {chain}, for example", len(d.Chains))
	}
	if t != nil && s.Connection == "" {
		c.archiveReads(s, t.reads)
	}
	for i, eventType := range s.EventTypes {
		c.eventType(pathSQL+".event_types", eventType)
		if slices.Contains(s.EventTypes[:i], eventType) {
			c.refuse(pathSQL+".event_types", "%.80q is given twice: write it once", eventType)
		}
	}
	if s.Connection != "" && (!connectionName.MatchString(s.Connection) || len(s.Connection) > maxNameLength) {
		c.refuse(pathSQL+".connection", "%.60q is no name: write lower-case letters and digits, in words joined by _, at most %d characters",
			s.Connection, maxNameLength)
	}
	switch {
	case s.Connection != "" && len(s.EventTypes) > 0:
		c.refuse(pathSQL+".event_types", "belong to the archive, not to a connection, whose windows are due by the clock: leave them out")
	case len(s.EventTypes) == 0 && d.StartDate.IsZero():
		c.refuse("start_date", "is missing: without event_types nothing tells where history begins: write start_date: 2009-01-03, for example")
	}
	c.dimensionNames(pathSQL+".dimensions", s.Dimensions)
	if s.MaxRows < 0 || s.MaxRows > mostRows {
		c.refuse(pathSQL+".max_rows", "%d is no sensible number of rows: write one from 1 to %d", s.MaxRows, mostRows)
	}
	return &Program{chains: slices.Clone(d.Chains), takes: takes, columns: d.Calculation.DimensionNames()}
}

// archiveViews are the views of the archive, with the type of the events that each has; empty: of all types.
var archiveViews = map[string]string{
	"blocks": "block", "transactions": "transaction", "logs": "log", "token_transfers": "token_transfer", "archived_events": "",
}

// archiveReads refuses a query of the archive that does not say of which events: what comes late would be missed, and what the archive
// has dropped would count for nothing.
func (c *checker) archiveReads(s *SQL, reads []string) {
	for _, view := range reads {
		eventType, known := archiveViews[view]
		switch {
		case !known:
		case len(s.EventTypes) == 0:
			c.refuse(pathSQL+".event_types", "is missing: the template reads %s: write event_types: [%s], for example", view,
				cmp.Or(eventType, "transaction"))
		case eventType != "" && !slices.Contains(s.EventTypes, eventType):
			c.refuse(pathSQL+".event_types", "lacks %s: the template reads %s, of which what comes late would be missed", eventType, view)
		}
	}
}

// dimensionNames checks a list of names.
func (c *checker) dimensionNames(field string, names []string) {
	if len(names) > maxDimensionNames {
		c.refuse(field, "has %d dimensions: write at most %d", len(names), maxDimensionNames)
	}
	for i, name := range names {
		c.dimensionName(field, name)
		switch {
		case name == valueColumn:
			c.refuse(field, "value is the number itself: leave it out")
		case slices.Contains(names[:i], name):
			c.refuse(field, "%.60q is given twice: write it once", name)
		}
	}
}

// Column is a column that a query gives.
type Column struct{ Name, Type string } // the type as pg_type has it, such as int8

// Types of columns that are numbers, and of those that are numbers but not exact.
var (
	exactTypes   = []string{"int2", "int4", "int8", "numeric"}
	inexactTypes = []string{"float4", "float8"}
)

// CheckColumns fails where a query does not give the columns that its definition needs, or others.
func (p *Program) CheckColumns(columns []Column) error {
	var wrong []error
	refuse := func(format string, arguments ...any) { wrong = append(wrong, fmt.Errorf(format, arguments...)) }
	names := make([]string, len(columns))
	for i, column := range columns {
		names[i] = column.Name
		switch {
		case slices.Contains(names[:i], column.Name):
			refuse("two columns are named %.60q: name one of them otherwise", column.Name)
		case column.Name == valueColumn:
			wrong = append(wrong, p.checkValueColumn(column))
		case !slices.Contains(p.columns, column.Name):
			refuse("column %.60q is neither value nor one of the dimensions: leave it out, or write it into dimensions", column.Name)
		}
	}
	for _, name := range p.columns {
		if !slices.Contains(names, name) {
			refuse("no column is named %s, as a dimension is: select it, as %s", name, name)
		}
	}
	if p.needsValue && !slices.Contains(names, valueColumn) {
		refuse("no column is named value: select a number, as value")
	}
	return errors.Join(wrong...)
}

func (p *Program) checkValueColumn(column Column) error {
	switch {
	case p.takes == Nothing:
		return errors.New("the aggregate takes no value: leave the column value out")
	case p.takes == Elements || slices.Contains(exactTypes, column.Type):
		return nil
	case slices.Contains(inexactTypes, column.Type):
		return fmt.Errorf("column value is a %s, which is not exact: cast it, as value::numeric", column.Type)
	}
	return fmt.Errorf("column value is a %s, not a number: cast it, as value::numeric", column.Type)
}

// Row gives the observation of a row, whose columns are as JSON has them, its numbers as [json.Number]. There is none where the value
// is null.
func (p *Program) Row(columns map[string]any, at time.Time) (o Observation, ok bool, err error) {
	dimensions := make(map[string]string, len(p.columns))
	for _, name := range p.columns {
		if dimensions[name], err = columnText(columns[name]); err != nil {
			return o, false, fmt.Errorf("column %s: %w", name, err)
		}
	}
	o = Observation{Time: at, Dimensions: EncodeDimensions(dimensions), Number: decimal.FromInt64(1)}
	if len(o.Dimensions) > maxDimensionsLength {
		return o, false, fmt.Errorf("dimensions%w", errTooLarge)
	}
	value, given := columns[valueColumn]
	switch {
	case !given:
		return o, true, nil
	case value == nil:
		return o, false, nil
	case p.takes == Elements:
		o.Elements, err = columnElements(nil, value)
	default:
		n, isNumber := value.(json.Number)
		if !isNumber { // NaN and the infinities are texts in JSON
			return o, false, fmt.Errorf("column value: %.60v is no number", value)
		}
		o.Number, err = decimal.Parse(n.String())
	}
	if err != nil {
		return o, false, fmt.Errorf("column value: %w", err)
	}
	return o, true, nil
}

var (
	errNullColumn = errors.New("is null: write coalesce(…, 'none'), for example")
	errColumnText = errors.New("is no text, number or boolean")
)

// columnText gives the text of a value, as [canonicalText] does for events.
func columnText(value any) (string, error) {
	switch v := value.(type) {
	case nil:
		return "", errNullColumn
	case string:
		return v, checkText(v)
	case bool:
		if v {
			return "true", nil
		}
		return "false", nil
	case json.Number:
		n, err := decimal.Parse(v.String())
		return n.String(), err
	}
	return "", errColumnText
}

// columnElements appends the texts of a value, or of the elements of an array.
func columnElements(texts []string, value any) ([]string, error) {
	if list, ok := value.([]any); ok {
		for _, element := range list {
			var err error
			if texts, err = columnElements(texts, element); err != nil {
				return nil, err
			}
		}
		return texts, nil
	}
	text, err := columnText(value)
	if err == nil && len(text) > maxElementLength {
		err = fmt.Errorf("an element is longer than %d bytes", maxElementLength)
	}
	return append(texts, text), err
}
