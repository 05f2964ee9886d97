package metric

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/cel"

	"github.com/chainmetrics/chainmetrics/shared/bucket"
)

// Aggregates that are the same for every metric type that knows them.
const (
	Sum      = "sum"      // of the values
	Count    = "count"    // of the observations; there is no value
	Distinct = "distinct" // the number of different elements of the values
)

// Bounds of what a definition may ask for.
const (
	maxNameLength = 40
	maxEntryName  = 63   // of chains and event types
	maxTextLength = 2000 // bytes
	maxScale      = 100
	maxDimensions = 16
)

var (
	complexities = []string{"small", "medium", "large"}
	fills        = []string{"none", "zero", "previous"}

	metricName = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)

	// As entries are read: others never come.
	chainName     = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)
	eventTypeName = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
)

// Paths of fields in definitions.
const (
	pathStream     = "calculation_logic.stream"
	pathDimensions = pathStream + ".dimensions"
)

// FieldError is a mistake in one field of a definition.
type FieldError struct {
	Field   string // the path of the field, such as calculation_logic.stream.where
	Line    int    // within the field's text, from 1; zero where the whole field is meant
	Column  int    // in characters, from 1
	Problem string // what is wrong, and what to write instead
}

// Error gives path and problem.
func (e *FieldError) Error() string {
	if e.Line > 1 {
		return fmt.Sprintf("%s: line %d, %s", e.Field, e.Line, e.located())
	}
	return e.Field + ": " + e.located()
}

func (e *FieldError) located() string {
	if e.Line == 0 {
		return e.Problem
	}
	return "character " + strconv.Itoa(e.Column) + ": " + e.Problem
}

// Validate tells everything that is wrong with a definition, apart from what its metric type does not have, as one error
// that joins [FieldError]s. Fields that have defaults may be empty, except for those whose default the type has.
func (d Definition) Validate() error {
	_, mistakes := check(d)
	return joined(mistakes)
}

func joined(mistakes []*FieldError) error {
	all := make([]error, len(mistakes))
	for i, mistake := range mistakes {
		all[i] = mistake
	}
	return errors.Join(all...)
}

// withDefaults fills in what definitions of every type may leave out, and puts the bucket sizes in order.
func (d Definition) withDefaults() Definition {
	if d.Complexity == "" {
		d.Complexity = complexities[0]
	}
	if d.Fill == "" {
		d.Fill = fills[0]
	}
	d.BucketSizes = slices.Sorted(slices.Values(d.BucketSizes))
	return d
}

// SameCalculation tells whether buckets of d are also the buckets of other. Names, descriptions, units, owners, tags,
// complexity and how reading fills and accumulates may differ.
func (d Definition) SameCalculation(other Definition) bool {
	a, b := d.withDefaults(), other.withDefaults()
	return a.Type == b.Type &&
		a.Aggregate == b.Aggregate &&
		a.RelativeError == b.RelativeError &&
		slices.Equal(slices.Sorted(slices.Values(a.Chains)), slices.Sorted(slices.Values(b.Chains))) &&
		slices.Equal(a.BucketSizes, b.BucketSizes) &&
		a.Calculation.same(b.Calculation)
}

func (c Calculation) same(other Calculation) bool {
	if c.Stream == nil || other.Stream == nil {
		return c.Stream == other.Stream
	}
	a, b := *c.Stream, *other.Stream
	return a.EventType == b.EventType && a.Each == b.Each && a.Where == b.Where && a.Value == b.Value &&
		a.Scale == b.Scale && a.Time == b.Time && maps.Equal(a.Dimensions, b.Dimensions)
}

// checker collects mistakes.
type checker struct {
	mistakes []*FieldError
}

func (c *checker) refuse(field, format string, arguments ...any) {
	c.mistakes = append(c.mistakes, &FieldError{Field: field, Problem: fmt.Sprintf(format, arguments...)})
}

// check validates a definition and compiles it. There is a program where there are no mistakes.
func check(d Definition) (*Program, []*FieldError) {
	d = d.withDefaults()
	c := &checker{}
	c.name(d.Name)
	if d.Type == "" {
		c.refuse("type", "is missing: write type: counter, for example")
	}
	c.texts(d)
	c.chains(d.Chains)
	c.sizes(d.BucketSizes)
	c.choice("complexity", d.Complexity, complexities)
	c.choice("fill", d.Fill, fills)
	for i, tag := range d.Tags {
		if tag == "" || slices.Contains(d.Tags[:i], tag) {
			c.refuse("tags", "%q is empty or given twice: leave it out", tag)
		}
	}
	if d.Calculation.Stream == nil {
		c.refuse("calculation_logic", "has no stream: write stream: with event_type: block, for example, below it")
		return nil, c.mistakes
	}
	program := c.stream(d)
	if len(c.mistakes) > 0 {
		return nil, c.mistakes
	}
	return program, nil
}

func (c *checker) name(name string) {
	switch {
	case name == "":
		c.refuse("name", "is missing: write a name such as btc_block_count")
	case len(name) > maxNameLength:
		c.refuse("name", "%.60q has %d characters: write one of at most %d", name, len(name), maxNameLength)
	case !metricName.MatchString(name):
		c.refuse("name", "%q is no name: write lower-case letters and digits, in words joined by _, such as btc_block_count", name)
	}
}

func (c *checker) texts(d Definition) {
	c.text("type", d.Type)
	c.text("description", d.Description)
	c.text("unit", d.Unit)
	c.text("aggregate", d.Aggregate)
	c.text("owner", d.Owner)
	for _, tag := range d.Tags {
		c.text("tags", tag)
	}
}

func (c *checker) text(field, text string) {
	switch {
	case strings.ContainsRune(text, 0):
		c.refuse(field, "contains a NUL character: leave it out")
	case !utf8.ValidString(text):
		c.refuse(field, "is no valid UTF-8: save the file as UTF-8")
	case len(text) > maxTextLength:
		c.refuse(field, "has %d bytes: write at most %d", len(text), maxTextLength)
	}
}

func (c *checker) chains(chains []string) {
	if len(chains) == 0 {
		c.refuse("chains", "is missing: write chains: [bitcoin], for example")
	}
	for i, chain := range chains {
		switch {
		case !chainName.MatchString(chain) || len(chain) > maxEntryName:
			c.refuse("chains", "%.80q is no name of a chain: write lower-case letters, digits and hyphens, at most %d",
				chain, maxEntryName)
		case slices.Contains(chains[:i], chain):
			c.refuse("chains", "%q is given twice: write it once", chain)
		}
	}
}

func (c *checker) sizes(sizes []bucket.Size) {
	if len(sizes) == 0 {
		c.refuse("bucket_sizes", "is missing: write bucket_sizes: [hourly, daily, weekly], for example")
	}
	for i, size := range sizes {
		if _, err := size.MarshalText(); err != nil {
			c.refuse("bucket_sizes", "%v: write one of %s", err, sizeList())
		} else if slices.Contains(sizes[:i], size) {
			c.refuse("bucket_sizes", "%q is given twice: write it once", size)
		}
	}
}

func sizeList() string {
	names := make([]string, 0, len(bucket.Sizes()))
	for _, size := range bucket.Sizes() {
		names = append(names, size.String())
	}
	return strings.Join(names, ", ")
}

func (c *checker) choice(field, value string, choices []string) {
	if slices.Contains(choices, value) {
		return
	}
	c.refuse(field, "unknown %s %.60q: %s", field, value, instead(value, choices))
}

// instead says what to write.
func instead(written string, choices []string) string {
	if near := nearest(written, choices); near != "" {
		return "did you mean " + quote(near) + "?"
	}
	return "write one of " + strings.Join(choices, ", ")
}

// stream checks and compiles the expressions, and whether they fit the aggregate.
func (c *checker) stream(d Definition) *Program {
	s := d.Calculation.Stream
	switch {
	case s.EventType == "":
		c.refuse(pathStream+".event_type", "is missing: write event_type: transaction, for example")
	case !eventTypeName.MatchString(s.EventType) || len(s.EventType) > maxEntryName:
		c.refuse(pathStream+".event_type", "%.80q is no event type: write lower-case letters, digits and underscores, "+
			"a letter first, at most %d", s.EventType, maxEntryName)
	}
	c.fit(d)
	p := &Program{
		eventType: s.EventType,
		chains:    slices.Clone(d.Chains),
		aggregate: d.Aggregate,
		scale:     s.Scale,
	}
	element := s.Each != ""
	p.each = c.expression("each", s.Each, false, "a list, such as event.outputs", cel.ListType(cel.DynType))
	p.where = c.expression("where", s.Where, element, "a condition, such as event.value > 0", cel.BoolType)
	p.time = c.expression("time", s.Time, element, "Unix seconds or a text such as 2009-01-03T18:15:05Z", decimalType, cel.StringType)
	if d.Aggregate == Distinct {
		p.value = c.expression("value", s.Value, element, "texts, numbers, booleans or lists of them",
			decimalType, cel.StringType, cel.BoolType, cel.ListType(cel.DynType))
	} else {
		p.value = c.expression("value", s.Value, element, "a number, such as event.value", decimalType)
	}
	if len(s.Dimensions) > maxDimensions {
		c.refuse(pathDimensions, "has %d dimensions: write at most %d", len(s.Dimensions), maxDimensions)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Dimensions)) {
		field := pathDimensions + "." + name
		switch {
		case !metricName.MatchString(name) || len(name) > maxNameLength:
			c.refuse(field, "%.60q is no name of a dimension: write lower-case letters and digits, in words joined by _, "+
				"at most %d characters", name, maxNameLength)
		case name == "chain":
			c.refuse(field, "chain is a dimension of every metric: leave it out")
		case strings.TrimSpace(s.Dimensions[name]) == "":
			c.refuse(field, "has no expression: write one such as event.type")
		default:
			e := c.expression("dimensions."+name, s.Dimensions[name], element, "a text, a number or a boolean",
				cel.StringType, decimalType, cel.BoolType)
			p.dimensions = append(p.dimensions, dimension{name: name, expression: e})
		}
	}
	return p
}

// fit refuses fields that mean nothing together.
func (c *checker) fit(d Definition) {
	s := d.Calculation.Stream
	switch d.Aggregate {
	case Count:
		if s.Value != "" {
			c.refuse(pathStream+".value", "a count has no value: leave it out, or write aggregate: sum or aggregate: distinct")
		}
		if s.Scale != 0 {
			c.refuse(pathStream+".scale", "a count has nothing to scale: leave it out")
		}
	case Distinct:
		if s.Value == "" {
			c.refuse(pathStream+".value", "is missing: write what is to be counted once, such as value: event.from_address")
		}
		if s.Scale != 0 {
			c.refuse(pathStream+".scale", "a count of distinct elements has nothing to scale: leave it out")
		}
	}
	if s.Scale < -maxScale || s.Scale > maxScale {
		c.refuse(pathStream+".scale", "%d is no sensible power of ten: write one from %d to %d", s.Scale, -maxScale, maxScale)
	}
}

// expression compiles the expression of a field, which gives one of the types; nil where there is none.
func (c *checker) expression(name, text string, withElement bool, wanted string, give ...*cel.Type) *expression {
	if text == "" {
		return nil
	}
	field := pathStream + "." + name
	before := len(c.mistakes)
	if c.text(field, text); len(c.mistakes) > before {
		return nil
	}
	e, mistakes := compileExpression(text, withElement)
	for _, f := range mistakes {
		c.mistakes = append(c.mistakes, &FieldError{Field: field, Line: f.line, Column: f.column, Problem: f.text})
	}
	if e != nil && !e.may(give...) {
		c.refuse(field, "gives a %s: write an expression that gives %s", e.gives.TypeName(), wanted)
	}
	return e
}
