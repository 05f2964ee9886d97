package metric

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/cel"

	"github.com/chainmetrics/chainmetrics/shared/bucket"
)

// Bounds of what a definition may ask for.
const (
	maxNameLength     = 40
	maxEntryName      = 63   // of chains and event types
	maxTextLength     = 2000 // bytes
	maxScale          = 100
	maxDimensionNames = 16
	maxSets           = 10_000_000
	defaultSets       = 100_000
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

// Validate tells everything that is wrong with a definition of the type, as one error that joins [FieldError]s. Fields that
// have defaults may be empty, except for those whose default the type has.
func (d Definition) Validate(t Type) error {
	_, mistakes := checkTyped(d, t)
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
	if d.MaxDimensions == 0 && d.Calculation.Derived == nil && len(d.Calculation.DimensionNames()) > 0 {
		d.MaxDimensions = defaultSets
	}
	if s := d.Calculation.SQL; s != nil && s.MaxRows == 0 {
		query := *s
		query.MaxRows = defaultRows
		d.Calculation.SQL = &query
	}
	d.BucketSizes = slices.Sorted(slices.Values(d.BucketSizes))
	d.Checks = slices.Clone(d.Checks)
	for i := range d.Checks {
		d.Checks[i].Severity = cmp.Or(d.Checks[i].Severity, severities[0])
	}
	return d
}

// SameCalculation tells whether a bucket of d is also the bucket of other. Names, descriptions, units, owners, tags, complexity,
// the schedule, who is told of failures, checks, how reading fills and accumulates, chains and bucket sizes may differ, and the largest
// number of sets of dimensions, which holds for what comes; nothing else.
func (d Definition) SameCalculation(other Definition) bool {
	return reflect.DeepEqual(d.onlyCalculation(), other.onlyCalculation())
}

// onlyCalculation clears what may differ between definitions of the same buckets. A field that is not named here is taken
// to change them.
func (d Definition) onlyCalculation() Definition {
	d = d.withDefaults()
	d.Name, d.Description, d.Unit, d.Owner, d.Tags = "", "", "", "", nil
	d.Complexity, d.Fill, d.Cumulative, d.MaxDimensions = "", "", false, 0
	d.Schedule, d.Alerting, d.Checks, d.Chains, d.BucketSizes = Schedule{}, Alerting{}, nil, nil, nil
	if d.Calculation.Stream != nil {
		stream := *d.Calculation.Stream
		if len(stream.Dimensions) == 0 {
			stream.Dimensions = nil
		}
		d.Calculation.Stream = &stream
	}
	if d.Calculation.SQL != nil {
		query := *d.Calculation.SQL
		query.MaxRows = 0
		query.Dimensions, query.EventTypes = slices.Sorted(slices.Values(query.Dimensions)), slices.Sorted(slices.Values(query.EventTypes))
		d.Calculation.SQL = &query
	}
	if d.Calculation.Derived != nil {
		derived := *d.Calculation.Derived
		derived.Dimensions = slices.Sorted(slices.Values(derived.Dimensions))
		derived.Dependencies = slices.Sorted(slices.Values(derived.Dependencies))
		d.Calculation.Derived = &derived
	}
	return d
}

// Covers tells whether d has all windows that other has: its chains and bucket sizes, from the same start on.
func (d Definition) Covers(other Definition) bool {
	return d.SameStart(other.Schedule) &&
		!slices.ContainsFunc(other.Chains, func(chain string) bool { return !slices.Contains(d.Chains, chain) }) &&
		!slices.ContainsFunc(other.BucketSizes, func(size bucket.Size) bool { return !slices.Contains(d.BucketSizes, size) })
}

// checker collects mistakes.
type checker struct {
	mistakes []*FieldError
}

// faults takes over mistakes in the text of a field.
func (c *checker) faults(field string, mistakes []fault) {
	for _, f := range mistakes {
		c.mistakes = append(c.mistakes, &FieldError{Field: field, Line: f.line, Column: f.column, Problem: f.text})
	}
}

func (c *checker) refuse(field, format string, arguments ...any) {
	c.mistakes = append(c.mistakes, &FieldError{Field: field, Problem: fmt.Sprintf(format, arguments...)})
}

// checkTyped validates a definition of a type and compiles it. There is a program where there are no mistakes.
func checkTyped(d Definition, t Type) (*Program, []*FieldError) {
	a, _ := t.Aggregate(d.Aggregate)
	program, mistakes := check(d, a.Takes)
	c := &checker{mistakes: mistakes}
	t.check(c, d)
	if len(c.mistakes) > 0 {
		return nil, c.mistakes
	}
	program.needsValue = t.NeedsValue || a.Takes == Elements
	return program, nil
}

// check validates what definitions of every type have, and compiles it for an aggregate that takes this of an observation;
// zero where that is unknown. There is a program where there are no mistakes.
func check(d Definition, takes Takes) (*Program, []*FieldError) {
	d = d.withDefaults()
	c := &checker{}
	c.name(d.Name)
	if d.Type == "" {
		c.refuse("type", "is missing: write type: counter, for example")
	}
	c.texts(d)
	c.chains(d.Chains)
	c.sizes(d.BucketSizes)
	c.maxDimensions(d)
	c.choice("complexity", d.Complexity, complexities)
	c.choice("fill", d.Fill, fills)
	c.schedule(d.Schedule)
	c.alerting(d.Alerting)
	c.checks(d.Checks)
	for i, tag := range d.Tags {
		if tag == "" || slices.Contains(d.Tags[:i], tag) {
			c.refuse("tags", "%q is empty or given twice: leave it out", tag)
		}
	}
	program := c.calculation(d, takes)
	if len(c.mistakes) > 0 {
		return nil, c.mistakes
	}
	return program, nil
}

// calculation checks and compiles where observations come from.
func (c *checker) calculation(d Definition, takes Takes) *Program {
	var programs []*Program
	if d.Calculation.Stream != nil {
		programs = append(programs, c.stream(d, takes))
	}
	if d.Calculation.SQL != nil {
		programs = append(programs, c.sql(d, takes))
	}
	if d.Calculation.Derived != nil {
		programs = append(programs, c.derived(d))
	}
	switch len(programs) {
	case 0:
		c.refuse("calculation_logic", "has no stream: write stream: with event_type: block, for example, below it")
		return nil
	case 1:
		return programs[0]
	}
	c.refuse("calculation_logic", "has several of stream, sql and derived: write one of them")
	return nil
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

func (c *checker) maxDimensions(d Definition) {
	switch calculation := d.Calculation; {
	case d.MaxDimensions < 0 || d.MaxDimensions > maxSets:
		c.refuse("max_dimensions", "%d is no sensible number of sets: write one from 1 to %d", d.MaxDimensions, maxSets)
	case d.MaxDimensions > 0 && calculation.Derived != nil:
		c.refuse("max_dimensions", "a derived metric has those of its dependencies: leave it out")
	case d.MaxDimensions > 0 && calculation.SQL != nil && len(calculation.SQL.Dimensions) == 0:
		c.refuse(pathSQL+".dimensions", "is missing: write the names of columns, or leave max_dimensions out")
	case d.MaxDimensions > 0 && calculation.Stream != nil && len(calculation.Stream.Dimensions) == 0:
		c.refuse(pathDimensions, "is missing: write dimensions: {to: event.to_address}, for example, or leave max_dimensions out")
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

// stream checks and compiles the expressions.
func (c *checker) stream(d Definition, takes Takes) *Program {
	s := d.Calculation.Stream
	if s.EventType == "" {
		c.refuse(pathStream+".event_type", "is missing: write event_type: transaction, for example")
	} else {
		c.eventType(pathStream+".event_type", s.EventType)
	}
	if s.Scale < -maxScale || s.Scale > maxScale {
		c.refuse(pathStream+".scale", "%d is no sensible power of ten: write one from %d to %d", s.Scale, -maxScale, maxScale)
	}
	p := &Program{
		eventTypes: []string{s.EventType},
		chains:     slices.Clone(d.Chains),
		takes:      takes,
		scale:      s.Scale,
	}
	element := s.Each != ""
	p.each = c.expression("each", s.Each, false, "a list, such as event.outputs", cel.ListType(cel.DynType))
	p.where = c.expression("where", s.Where, element, wantedCondition, cel.BoolType)
	p.time = c.expression("time", s.Time, element, "Unix seconds or a text such as 2009-01-03T18:15:05Z", decimalType, cel.StringType)
	if takes == Number {
		p.value = c.expression("value", s.Value, element, "a number, such as event.value", decimalType)
	} else {
		p.value = c.expression("value", s.Value, element, "texts, numbers, booleans or lists of them",
			decimalType, cel.StringType, cel.BoolType, cel.ListType(cel.DynType))
	}
	if len(s.Dimensions) > maxDimensionNames {
		c.refuse(pathDimensions, "has %d dimensions: write at most %d", len(s.Dimensions), maxDimensionNames)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Dimensions)) {
		field := pathDimensions + "." + name
		switch {
		case !c.dimensionName(field, name):
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

func (c *checker) eventType(field, name string) {
	if !eventTypeName.MatchString(name) || len(name) > maxEntryName {
		c.refuse(field, "%.80q is no event type: write lower-case letters, digits and underscores, a letter first, at most %d",
			name, maxEntryName)
	}
}

// dimensionName checks a name, and tells whether it is one.
func (c *checker) dimensionName(field, name string) bool {
	switch {
	case !metricName.MatchString(name) || len(name) > maxNameLength:
		c.refuse(field, "%.60q is no name of a dimension: write lower-case letters and digits, in words joined by _, "+
			"at most %d characters", name, maxNameLength)
	case name == "chain":
		c.refuse(field, "chain is a dimension of every metric: leave it out")
	default:
		return true
	}
	return false
}

// expression compiles the expression of a field of the stream, which gives one of the types; nil where there is none.
func (c *checker) expression(name, text string, withElement bool, wanted string, give ...*cel.Type) *expression {
	if text == "" {
		return nil
	}
	words, err := eventVocabulary(withElement)
	if err != nil {
		c.refuse(pathStream+"."+name, "%v", err)
		return nil
	}
	return c.compile(pathStream+"."+name, text, words, wanted, give...)
}

func (c *checker) compile(field, text string, words vocabulary, wanted string, give ...*cel.Type) *expression {
	before := len(c.mistakes)
	if c.text(field, text); len(c.mistakes) > before {
		return nil
	}
	e, mistakes := compileExpression(text, words)
	c.faults(field, mistakes)
	if e != nil && !e.may(give...) {
		c.refuse(field, "gives a %s: write an expression that gives %s", e.gives.TypeName(), wanted)
	}
	return e
}
