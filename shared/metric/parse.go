package metric

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/chainmetrics/chainmetrics/shared/bucket"
)

// maxFileSize is the length in bytes of the longest file of definitions.
const maxFileSize = 1 << 20

// ParseError is a mistake in a file of definitions.
type ParseError struct {
	File    string
	Line    int    // from 1
	Metric  string // empty where the definition has no name
	Problem string // what is wrong, and what to write instead
}

// Error gives "file:line: metric: problem".
func (e *ParseError) Error() string {
	if e.Metric == "" {
		return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Problem)
	}
	return fmt.Sprintf("%s:%d: %s: %s", e.File, e.Line, e.Metric, e.Problem)
}

// Parse reads definitions from YAML, one in each document, fills in their defaults and validates them. It fails with all
// mistakes at once, as one error that joins [ParseError]s in the order of their lines.
//
// Each of the checks is asked about every definition that is right so far, for what only the caller knows. A [FieldError]
// among what it returns is reported at the line of its field, any other error at the line of the definition.
func Parse(file string, data []byte, types []Type, checks ...func(Definition) error) ([]Definition, error) {
	p := parser{file: file, types: types}
	if len(data) > maxFileSize {
		p.refuse(1, "the file has %d bytes: write at most %d in one", len(data), maxFileSize)
		return nil, p.err()
	}
	var definitions []Definition
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var document yaml.Node
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			p.syntax(err)
			return nil, p.err()
		}
		if root := content(&document); root != nil {
			definitions = append(definitions, p.definition(root, checks))
		}
	}
	if len(definitions) == 0 {
		p.refuse(1, "no definition: write name: and type: of a metric, for example")
	}
	if err := p.err(); err != nil {
		return nil, err
	}
	return definitions, nil
}

// content gives what a document holds, or nil where it is empty.
func content(document *yaml.Node) *yaml.Node {
	if len(document.Content) == 0 {
		return nil
	}
	root := document.Content[0]
	if root.Kind == yaml.ScalarNode && root.ShortTag() == "!!null" {
		return nil
	}
	return root
}

// parser collects the mistakes of a file.
type parser struct {
	file     string
	types    []Type
	mistakes []*ParseError
	lines    map[string]int // of the metrics, by name

	// Of the definition that is being read:
	metric string
	nodes  map[string]*yaml.Node // the values of fields, by path
	wrong  map[string]bool       // the paths of fields that cannot be read, which are not missing therefore
}

func (p *parser) err() error {
	slices.SortStableFunc(p.mistakes, func(a, b *ParseError) int { return a.Line - b.Line })
	all := make([]error, len(p.mistakes))
	for i, mistake := range p.mistakes {
		all[i] = mistake
	}
	return errors.Join(all...)
}

func (p *parser) refuse(line int, format string, arguments ...any) {
	p.mistakes = append(p.mistakes, &ParseError{
		File: p.file, Line: line, Metric: p.metric, Problem: fmt.Sprintf(format, arguments...),
	})
}

// refuseValue refuses what the field at path holds.
func (p *parser) refuseValue(node *yaml.Node, path, format string, arguments ...any) {
	p.wrong[path] = true
	p.refuse(node.Line, "%s: %s", short(path), fmt.Sprintf(format, arguments...))
}

var yamlError = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)`)

func (p *parser) syntax(err error) {
	line, problem := 1, err.Error()
	if match := yamlError.FindStringSubmatch(problem); match != nil {
		problem = match[2]
		if n, err := strconv.Atoi(match[1]); err == nil {
			line = n
		}
	}
	p.refuse(line, "no valid YAML: %s", problem)
}

// Fields of a definition and of what lies below it.
var (
	definitionFields = []string{
		"name", "type", "description", "unit", "calculation_logic", "aggregate", "relative_error", "max_dimensions",
		"chains", "bucket_sizes", "complexity", "owner", "tags", "fill", "cumulative",
		"start_date", "catchup", "schedule", "schedule_timezone", "grace", "retries", "retry_delay", "max_active_runs",
		"execution_timeout", "depends_on_past", "deadline", "email_on_failure", "email_on_retry", "email", pathChecks,
	}
	calculationFields = []string{"stream", "sql", "derived"}
	streamFields      = []string{"event_type", "each", "where", "value", "scale", "time", "dimensions"}
	sqlFields         = []string{"template", "event_types", "dimensions", "connection", "max_rows"}
	derivedFields     = []string{"expression", "dependencies", "dimensions"}
	checkFields       = append(slices.Clone(checkKinds), "severity")
)

func (p *parser) definition(root *yaml.Node, checks []func(Definition) error) Definition {
	p.metric, p.nodes, p.wrong = "", map[string]*yaml.Node{}, map[string]bool{}
	defer func() { p.metric = "" }()
	before := len(p.mistakes)
	if root.Kind != yaml.MappingNode {
		p.refuse(root.Line, "a definition has fields: write name: and type:, and --- between definitions")
		return Definition{}
	}
	p.metric = nameIn(root) // known from here on, wherever in the definition it stands
	d := p.fields(root)
	c := &checker{}
	kind, known := c.typeNamed(d.Type, p.types)
	if known {
		d = kind.withDefaults(d)
	}
	d = d.withDefaults()
	var mistakes []*FieldError
	if known {
		_, mistakes = checkTyped(d, kind)
	} else {
		_, mistakes = check(d, 0)
	}
	for _, mistake := range slices.Concat(mistakes, c.mistakes) {
		p.field(root, mistake)
	}
	if len(p.mistakes) == before {
		for _, check := range checks {
			p.report(root, check(d))
		}
	}
	p.unique(d.Name)
	return d
}

func nameIn(root *yaml.Node) string {
	for i := 0; i+1 < len(root.Content); i += 2 {
		if name := resolve(root.Content[i+1]).Value; root.Content[i].Value == "name" && metricName.MatchString(name) {
			return name
		}
	}
	return ""
}

func (p *parser) unique(name string) {
	line := p.nodes["name"]
	if line == nil {
		return
	}
	if p.lines == nil {
		p.lines = map[string]int{}
	}
	if first, ok := p.lines[name]; ok {
		p.refuse(line.Line, "name: is the name of the metric in line %d already: choose another one", first)
		return
	}
	p.lines[name] = line.Line
}

func (p *parser) report(root *yaml.Node, err error) {
	var mistake *FieldError
	switch joined, ok := err.(interface{ Unwrap() []error }); {
	case err == nil:
	case ok:
		for _, err := range joined.Unwrap() {
			p.report(root, err)
		}
	case errors.As(err, &mistake):
		p.field(root, mistake)
	default:
		p.refuse(root.Line, "%v", err)
	}
}

// field reports a mistake at the line of the field, or of the nearest one above it that the definition has.
func (p *parser) field(root *yaml.Node, mistake *FieldError) {
	line := root.Line
	for path := mistake.Field; path != ""; path = parent(path) {
		if p.wrong[path] {
			return // that was reported
		}
		if node := p.nodes[path]; node != nil {
			line = node.Line
			if node.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
				line++ // the text begins below the field
			}
			if mistake.Line > 1 && path == mistake.Field {
				line += mistake.Line - 1
			}
			break
		}
	}
	p.refuse(line, "%s: %s", short(mistake.Field), mistake.located())
}

// short gives the path of a field as messages name it.
func short(path string) string {
	for _, prefix := range []string{pathStream, pathSQL, pathDerived} {
		if rest, ok := strings.CutPrefix(path, prefix+"."); ok {
			return rest
		}
	}
	if rest, ok := strings.CutPrefix(path, pathChecks+"."); ok {
		_, field, _ := strings.Cut(rest, ".")
		return cmp.Or(field, pathChecks)
	}
	return path
}

func below(path, field string) string {
	if path == "" {
		return field
	}
	return path + "." + field
}

func parent(path string) string {
	return path[:max(0, strings.LastIndexByte(path, '.'))]
}

func resolve(node *yaml.Node) *yaml.Node {
	if node.Kind == yaml.AliasNode && node.Alias != nil {
		return node.Alias
	}
	return node
}

// fields reads the fields of a definition.
func (p *parser) fields(root *yaml.Node) Definition {
	p.mapping(root, "", definitionFields)
	if logic := p.nodes["calculation_logic"]; logic != nil && p.mapping(logic, "calculation_logic", calculationFields) {
		for path, known := range map[string][]string{pathStream: streamFields, pathSQL: sqlFields, pathDerived: derivedFields} {
			if node := p.nodes[path]; node != nil {
				p.mapping(node, path, known)
			}
		}
	}
	d := Definition{
		Name:          p.text("name"),
		Type:          p.text("type"),
		Description:   p.text("description"),
		Unit:          p.text("unit"),
		Aggregate:     p.text("aggregate"),
		RelativeError: p.fraction("relative_error"),
		MaxDimensions: p.positive("max_dimensions"),
		Chains:        p.texts("chains"),
		Complexity:    p.text("complexity"),
		Owner:         p.text("owner"),
		Tags:          p.texts("tags"),
		Fill:          p.text("fill"),
		Cumulative:    p.boolean("cumulative"),
		Schedule: Schedule{
			StartDate:        p.date("start_date"),
			Cron:             p.text("schedule"),
			Timezone:         p.text("schedule_timezone"),
			Grace:            p.duration("grace"),
			RetryDelay:       p.duration("retry_delay"),
			MaxActiveRuns:    p.positive("max_active_runs"),
			ExecutionTimeout: p.duration("execution_timeout"),
			DependsOnPast:    p.boolean("depends_on_past"),
			Deadline:         p.duration("deadline"),
		},
		Alerting: Alerting{EmailOnRetry: p.boolean("email_on_retry"), Email: p.texts("email")},
		Checks:   p.checks(),
	}
	if p.nodes["email_on_failure"] != nil {
		d.EmailOnFailure = new(p.boolean("email_on_failure"))
	}
	if p.nodes["catchup"] != nil {
		d.Catchup = new(p.boolean("catchup"))
	}
	if p.nodes["retries"] != nil {
		d.Retries = new(p.integer("retries"))
	}
	for _, node := range p.list("bucket_sizes") {
		size, err := bucket.ParseSize(node.Value)
		if err != nil {
			p.refuseValue(node, "bucket_sizes", "unknown bucket size %.60q: %s",
				node.Value, instead(node.Value, strings.Split(sizeList(), ", ")))
			continue
		}
		d.BucketSizes = append(d.BucketSizes, size)
	}
	if p.nodes[pathStream] != nil {
		d.Calculation.Stream = &Stream{
			EventType:  p.text(pathStream + ".event_type"),
			Each:       p.expression(pathStream + ".each"),
			Where:      p.expression(pathStream + ".where"),
			Value:      p.expression(pathStream + ".value"),
			Scale:      p.integer(pathStream + ".scale"),
			Time:       p.expression(pathStream + ".time"),
			Dimensions: p.dimensions(),
		}
	}
	if p.nodes[pathSQL] != nil {
		d.Calculation.SQL = &SQL{
			Template:   p.text(pathSQL + ".template"),
			EventTypes: p.texts(pathSQL + ".event_types"),
			Dimensions: p.texts(pathSQL + ".dimensions"),
			Connection: p.text(pathSQL + ".connection"),
			MaxRows:    p.positive(pathSQL + ".max_rows"),
		}
	}
	if p.nodes[pathDerived] != nil {
		d.Calculation.Derived = &Derived{
			Expression:   p.expression(pathDerived + ".expression"),
			Dependencies: p.texts(pathDerived + ".dependencies"),
			Dimensions:   p.texts(pathDerived + ".dimensions"),
		}
	}
	return d
}

// mapping enters the fields of a mapping into nodes, and refuses unknown and repeated ones.
func (p *parser) mapping(node *yaml.Node, path string, known []string) bool {
	if node.Kind != yaml.MappingNode {
		p.refuseValue(node, path, "write its fields below it: %s", strings.Join(known, ", "))
		return false
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], resolve(node.Content[i+1])
		field := below(path, key.Value)
		switch {
		case key.Kind != yaml.ScalarNode || !slices.Contains(known, key.Value):
			p.refuse(key.Line, "unknown field %.60q: %s", key.Value, fieldInstead(key.Value, known))
			p.wrong[below(path, nearest(key.Value, known))] = true
		case p.nodes[field] != nil:
			p.refuseValue(key, field, "is given twice: write it once")
		default:
			p.nodes[field] = value
		}
	}
	return true
}

func fieldInstead(field string, known []string) string {
	switch {
	case slices.Contains(known, field):
	case slices.Contains(definitionFields, field):
		return "it belongs to the definition itself: write it at the left margin"
	case slices.Contains(calculationFields, field):
		return "it belongs below calculation_logic"
	case slices.Contains(streamFields, field):
		return "it belongs below calculation_logic, stream"
	case slices.Contains(sqlFields, field):
		return "it belongs below calculation_logic, sql"
	case slices.Contains(derivedFields, field):
		return "it belongs below calculation_logic, derived"
	case slices.Contains(checkFields, field):
		return "it belongs into a check, below checks"
	}
	return instead(field, known)
}

// scalar gives the node of a field that holds a single value; nil where it is missing.
func (p *parser) scalar(path, wanted string) *yaml.Node {
	node := p.nodes[path]
	if node == nil {
		return nil
	}
	if node.Kind != yaml.ScalarNode || node.ShortTag() == "!!null" {
		p.refuseValue(node, path, "write %s, or leave it out", wanted)
		return nil
	}
	return node
}

func (p *parser) text(path string) string {
	node := p.scalar(path, "a text")
	if node == nil {
		return ""
	}
	if node.ShortTag() != "!!str" {
		p.refuseValue(node, path, "YAML takes %s for no text: write it in quotes", node.Value)
		return ""
	}
	return node.Value
}

// expression reads a text that YAML may take for something else, such as 1 or true.
func (p *parser) expression(path string) string {
	node := p.scalar(path, "an expression")
	if node == nil {
		return ""
	}
	if strings.TrimSpace(node.Value) == "" {
		p.refuseValue(node, path, "is empty: write an expression, or leave it out")
	}
	return node.Value
}

func (p *parser) boolean(path string) bool {
	node := p.scalar(path, "true or false")
	if node == nil {
		return false
	}
	if node.ShortTag() != "!!bool" {
		p.refuseValue(node, path, "%.60q is neither true nor false: write one of them", node.Value)
	}
	return node.ShortTag() == "!!bool" && strings.EqualFold(node.Value, "true")
}

func (p *parser) integer(path string) int {
	node := p.scalar(path, "a whole number such as -8")
	if node == nil {
		return 0
	}
	n, err := strconv.Atoi(node.Value)
	if err != nil {
		p.refuseValue(node, path, "%.60q is no whole number: write one such as -8", node.Value)
	}
	return n
}

// date reads a day, or a moment, in UTC unless it says otherwise.
func (p *parser) date(path string) time.Time {
	node := p.scalar(path, "a day such as 2009-01-03")
	if node == nil {
		return time.Time{}
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, node.Value); err == nil {
			return t.UTC()
		}
	}
	p.refuseValue(node, path, "%.60q is no day: write one such as 2009-01-03", node.Value)
	return time.Time{}
}

func (p *parser) duration(path string) Duration {
	node := p.scalar(path, "a duration such as 5m")
	if node == nil {
		return 0
	}
	var d Duration
	if err := d.UnmarshalText([]byte(node.Value)); err != nil {
		p.refuseValue(node, path, "%.60q is no duration: write one such as 30s, 5m or 1h30m", node.Value)
	}
	return d
}

func (p *parser) positive(path string) int {
	node := p.scalar(path, "a whole number such as 1000")
	if node == nil {
		return 0
	}
	n, err := strconv.Atoi(node.Value)
	if err != nil || n < 1 {
		p.refuseValue(node, path, "%.60q is no such number: write a whole one from 1 on", node.Value)
	}
	return n
}

func (p *parser) fraction(path string) float64 {
	node := p.scalar(path, "a number such as 0.01")
	if node == nil {
		return 0
	}
	f, err := strconv.ParseFloat(node.Value, 64)
	if err != nil || !(f > 0 && f < 1) {
		p.refuseValue(node, path, "%.60q is no number between 0 and 1: write one such as 0.01", node.Value)
		return 0
	}
	return f
}

func (p *parser) texts(path string) []string {
	var texts []string
	for _, node := range p.list(path) {
		texts = append(texts, node.Value)
	}
	return texts
}

// list gives the elements of a list of texts.
func (p *parser) list(path string) []*yaml.Node {
	node := p.nodes[path]
	if node == nil {
		return nil
	}
	if node.Kind != yaml.SequenceNode {
		p.refuseValue(node, path, "write a list, such as [%s]", listExample(path))
		return nil
	}
	var elements []*yaml.Node
	for _, element := range node.Content {
		element = resolve(element)
		if element.Kind != yaml.ScalarNode || element.ShortTag() != "!!str" {
			p.refuseValue(element, path, "%.60q is no text: write it in quotes", element.Value)
			continue
		}
		elements = append(elements, element)
	}
	return elements
}

func listExample(path string) string {
	switch path {
	case "chains":
		return "bitcoin"
	case "bucket_sizes":
		return "hourly, daily, weekly"
	case pathSQL + ".event_types":
		return "transaction"
	case pathSQL + ".dimensions", pathDerived + ".dimensions":
		return "type"
	}
	return "fees"
}

func (p *parser) dimensions() map[string]string {
	node := p.nodes[pathDimensions]
	if node == nil {
		return nil
	}
	if node.Kind != yaml.MappingNode {
		p.refuseValue(node, pathDimensions, "write names and expressions, such as {type: event.type}")
		return nil
	}
	dimensions := map[string]string{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], resolve(node.Content[i+1])
		path := pathDimensions + "." + key.Value
		switch {
		case key.Kind != yaml.ScalarNode || key.ShortTag() != "!!str":
			p.refuseValue(key, pathDimensions, "%.60q is no name: write a word", key.Value)
		case p.nodes[path] != nil:
			p.refuseValue(key, path, "is given twice: write it once")
		default:
			p.nodes[path] = value
			dimensions[key.Value] = p.expression(path)
		}
	}
	if len(dimensions) == 0 {
		return nil
	}
	return dimensions
}

// checks reads the list of checks. One that cannot be read keeps its place.
func (p *parser) checks() []Check {
	node := p.nodes[pathChecks]
	if node == nil {
		return nil
	}
	if node.Kind != yaml.SequenceNode {
		p.refuseValue(node, pathChecks, "write a list, such as [{min: 0}]")
		return nil
	}
	if len(node.Content) == 0 {
		return nil
	}
	all := make([]Check, len(node.Content))
	for i, element := range node.Content {
		path, before := checkPath(i), len(p.mistakes)
		if p.nodes[path] = resolve(element); p.mapping(p.nodes[path], path, checkFields) {
			all[i] = p.check(path)
		}
		p.wrong[path] = len(p.mistakes) > before
	}
	return all
}

func (p *parser) check(path string) Check {
	c := Check{
		NotNull:    p.boolean(path + ".not_null"),
		Min:        p.number(path + ".min"),
		Max:        p.number(path + ".max"),
		MaxChange:  p.number(path + ".max_change"),
		Monotonic:  p.text(path + ".monotonic"),
		Expression: p.expression(path + ".expression"),
		Severity:   p.text(path + ".severity"),
	}
	if node := p.nodes[path+".not_null"]; node != nil && !c.NotNull && !p.wrong[path+".not_null"] {
		p.refuseValue(node, path+".not_null", "false checks nothing: write true, or leave the check out")
	}
	return c
}

// number reads a number, or a text, as it is written.
func (p *parser) number(path string) string {
	node := p.scalar(path, "a number such as 0.5")
	if node == nil {
		return ""
	}
	if node.Value == "" {
		p.refuseValue(node, path, "is empty: write a number such as 0.5")
	}
	return node.Value
}
