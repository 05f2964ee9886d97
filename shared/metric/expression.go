package metric

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"

	"github.com/chainmetrics/chainmetrics/shared/decimal"
)

// Names of the variables of expressions.
const (
	variableEvent   = "event"
	variableBlock   = "block"
	variableElement = "it"
)

const (
	maxExpressionLength = 4096      // bytes
	maxCost             = 1_000_000 // steps that one event may cost a metric, which take about a tenth of a second
)

// vocabulary is what an expression may name.
type vocabulary struct {
	env       *cel.Env
	variables []string
	element   bool // the one of an element is among them
	fields    bool // they have fields
}

// eventVocabulary is that of expressions over events, in which the variable of an element may be known.
func eventVocabulary(withElement bool) (vocabulary, error) {
	envs, err := environments()
	if withElement {
		return vocabulary{envs[1], []string{variableEvent, variableBlock, variableElement}, true, true}, err
	}
	return vocabulary{envs[0], []string{variableEvent, variableBlock}, false, true}, err
}

// environments are the two that expressions are compiled in: without and with the variable of an element. They are made
// once, since that takes longer than compiling an expression.
var environments = sync.OnceValues(func() (envs [2]*cel.Env, err error) {
	options := append(library(),
		cel.Variable(variableEvent, cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable(variableBlock, cel.MapType(cel.StringType, cel.DynType)))
	if envs[0], err = cel.NewCustomEnv(options...); err != nil {
		return envs, err
	}
	envs[1], err = envs[0].Extend(cel.Variable(variableElement, cel.DynType))
	return envs, err
})

// expression is a compiled CEL expression. It is safe for use by many goroutines.
type expression struct {
	field       string // the name, where the expression is event.NAME alone; then the program is not needed
	program     cel.Program
	gives       *cel.Type
	fields      map[string]bool // the names of fields that its text has
	reads       map[string]bool // the names of those of an event or block that it looks at
	readsAll    bool            // it may look at any
	names       map[string]bool // of the variables that its text has
	usesElement bool
	usesBlock   bool
}

// fault is a mistake in an expression.
type fault struct {
	line, column int // from 1, in characters; zero where the whole is meant
	text         string
}

// scope holds the values of the variables while one event is evaluated, and what that has cost so far.
type scope struct {
	event, block map[string]any
	element      any
	values       map[string]decimal.Decimal // of metrics, by their names
	steps        uint64
}

// spend counts steps: never time, so that evaluating the event again gives the same. It fails with errCost.
func (s *scope) spend(steps uint64) error {
	if s.steps += steps; s.steps > maxCost {
		return errCost
	}
	return nil
}

var _ interpreter.Activation = (*scope)(nil)

// ResolveName gives the value of a variable.
func (s *scope) ResolveName(name string) (any, bool) {
	if s.values != nil {
		value, ok := s.values[name]
		return number{value}, ok
	}
	switch name {
	case variableEvent:
		return s.event, true
	case variableBlock:
		if s.block == nil {
			return types.WrapErr(errOutsideBlock), true
		}
		return s.block, true
	case variableElement:
		return s.element, true
	}
	return nil, false
}

// Parent is nil: there is one scope.
func (s *scope) Parent() interpreter.Activation { return nil }

// compileExpression compiles text. It gives all mistakes that it finds.
func compileExpression(text string, words vocabulary) (*expression, []fault) {
	if len(text) > maxExpressionLength {
		return nil, []fault{{text: fmt.Sprintf("is longer than %d bytes", maxExpressionLength)}}
	}
	parsed, issues := words.env.Parse(text)
	if issues.Err() != nil {
		return nil, faults(issues, words)
	}
	r := newRewriter(parsed.NativeRep(), text)
	r.rewrite(parsed.NativeRep().Expr())
	r.rereads = r.usesEvent && r.looks
	if len(r.faults) > 0 {
		return nil, r.faults
	}
	checked, issues := words.env.Check(parsed)
	if issues.Err() != nil {
		return nil, faults(issues, words)
	}
	r.fold(checked.NativeRep())
	if len(r.faults) > 0 {
		return nil, r.faults
	}
	options := []cel.ProgramOption{cel.EvalOptions(cel.OptOptimize)}
	if r.loops || words.element && r.rereads { // nothing else can take long
		options = append(options, cel.CostTracking(costs{}), cel.CostLimit(maxCost))
	}
	program, err := words.env.Program(checked, options...)
	if err != nil {
		return nil, []fault{{text: err.Error()}}
	}
	reads, readsAll := readBy(checked.NativeRep().Expr())
	return &expression{
		field:       fieldOf(checked.NativeRep().Expr()),
		program:     program,
		gives:       checked.OutputType(),
		fields:      r.fields,
		names:       r.names,
		reads:       reads,
		readsAll:    readsAll,
		usesElement: r.usesElement,
		usesBlock:   r.usesBlock,
	}, nil
}

// fieldOf gives NAME of event.NAME, empty for any other expression.
func fieldOf(e ast.Expr) string {
	if e.Kind() != ast.SelectKind || e.AsSelect().IsTestOnly() {
		return ""
	}
	if operand := e.AsSelect().Operand(); operand.Kind() != ast.IdentKind || operand.AsIdent() != variableEvent {
		return ""
	}
	return e.AsSelect().FieldName()
}

// may tells whether the expression may give a value of one of these types.
func (e *expression) may(give ...*cel.Type) bool {
	if e.gives.Kind() == types.DynKind || e.gives.Kind() == types.TypeParamKind {
		return true
	}
	for _, t := range give {
		if t.Kind() == e.gives.Kind() && t.TypeName() == e.gives.TypeName() {
			return true
		}
	}
	return false
}

// evaluate gives the value, or an error whose text is one of a bounded number.
func (e *expression) evaluate(s *scope) (ref.Val, error) {
	if e.field != "" {
		value, ok := s.event[e.field]
		if !ok {
			return nil, missingField(e.field)
		}
		return adapter{}.NativeToValue(value), nil
	}
	value, details, err := e.program.Eval(s)
	if cost := details.ActualCost(); cost != nil { // that of an evaluation which fails counts too
		if err := s.spend(*cost); err != nil {
			return nil, err
		}
	}
	if err != nil {
		return nil, e.reason(err)
	}
	return value, nil
}

// missingFieldError says that a field, or an element of a list, is missing.
type missingFieldError struct{ reason string }

func (e missingFieldError) Error() string { return e.reason }

func missingField(name string) error { return missingFieldError{fmt.Sprintf("no field %q", name)} }

// Beginnings of errors of CEL, which has no other way to tell them apart.
const (
	celNoKey      = "no such key: "
	celNoElement  = "index out of bounds: "
	celNoOverload = "no such overload"
	celNoIndex    = "unsupported index type "
)

func (e *expression) reason(err error) error {
	if _, cancelled := errors.AsType[interpreter.EvalCancelledError](err); cancelled {
		return errCost
	}
	root := err
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		root = inner
	}
	switch root {
	case errNumberRange, errDivision, errNotNumber, errDifferentType, errCost, errOutsideBlock, errWrongType: //nolint:errorlint // root
		return root
	case errNoElement:
		return missingFieldError{errNoElement.Error()}
	}
	text := root.Error()
	if name, ok := strings.CutPrefix(text, celNoKey); ok {
		if e.fields[name] {
			return missingField(name)
		}
		return missingFieldError{errNoField.Error()}
	}
	if strings.HasPrefix(text, celNoElement) {
		return missingFieldError{errNoElement.Error()}
	}
	if signature, ok := strings.CutPrefix(text, celNoOverload); ok {
		return noOverload(strings.TrimPrefix(signature, ": "))
	}
	if strings.HasPrefix(text, celNoIndex) {
		return errWrongType
	}
	return errEvaluation
}

// noOverload words "function(type, type)".
func noOverload(signature string) error {
	function, operands, ok := strings.Cut(signature, "(")
	if !ok {
		return errWrongType
	}
	if symbol, ok := symbols[function]; ok {
		function = symbol
	}
	return fmt.Errorf("%s does not take (%s", function, strings.ReplaceAll(operands, "null_type", "null"))
}

// rewriter turns the numbers of an expression into decimals, and its equality into one that refuses to compare values of
// different types.
type rewriter struct {
	ast         *ast.AST
	source      []rune
	factory     ast.ExprFactory
	nextID      int64
	numbers     map[int64]decimal.Decimal // by the id of the literal
	fields      map[string]bool
	names       map[string]bool
	faults      []fault
	loops       bool
	usesElement bool
	usesBlock   bool
	// rereads: a function looks at the whole of a value that is not the element's own. Evaluated for each element, that takes
	// as long as a loop within a loop.
	usesEvent, looks, rereads bool
}

func newRewriter(parsed *ast.AST, text string) *rewriter {
	return &rewriter{
		ast:     parsed,
		source:  []rune(text),
		factory: ast.NewExprFactory(),
		nextID:  ast.MaxID(parsed) + 1,
		numbers: map[int64]decimal.Decimal{},
		fields:  map[string]bool{},
		names:   map[string]bool{},
	}
}

func (r *rewriter) refuse(e ast.Expr, format string, arguments ...any) {
	at := r.ast.SourceInfo().GetStartLocation(e.ID())
	r.faults = append(r.faults, fault{line: at.Line(), column: at.Column() + 1, text: fmt.Sprintf(format, arguments...)})
}

// rewrite prepares an expression and all within it for checking.
func (r *rewriter) rewrite(e ast.Expr) {
	switch e.Kind() {
	case ast.LiteralKind:
		r.rewriteLiteral(e)
	case ast.IdentKind:
		r.names[e.AsIdent()] = true
		r.usesElement = r.usesElement || e.AsIdent() == variableElement
		r.usesBlock = r.usesBlock || e.AsIdent() == variableBlock
		r.usesEvent = r.usesEvent || e.AsIdent() == variableEvent || e.AsIdent() == variableBlock
	case ast.SelectKind:
		r.fields[e.AsSelect().FieldName()] = true
		r.rewrite(e.AsSelect().Operand())
	case ast.CallKind:
		r.rewriteCall(e)
	case ast.ListKind:
		for _, element := range e.AsList().Elements() {
			r.rewrite(element)
		}
	case ast.MapKind:
		for _, entry := range e.AsMap().Entries() {
			key := entry.AsMapEntry().Key()
			if !isText(key) {
				r.refuse(key, "the keys of a map are texts: write them in quotes")
			}
			r.rewrite(entry.AsMapEntry().Value())
		}
	case ast.ComprehensionKind:
		r.loops = true
		c := e.AsComprehension()
		switch c.IterVar() {
		case variableEvent, variableBlock, variableElement:
			r.refuse(e, "%q is the name of a variable already: choose another one for the elements", c.IterVar())
		}
		for _, part := range []ast.Expr{c.IterRange(), c.AccuInit(), c.LoopCondition(), c.LoopStep(), c.Result()} {
			r.rewrite(part)
		}
		// CEL takes nothing for a turn whose step is a constant or a variable.
		e.SetKindCase(r.factory.NewComprehension(e.ID(), c.IterRange(), c.IterVar(), c.AccuVar(), c.AccuInit(),
			r.call(functionTurn, c.LoopCondition()), c.LoopStep(), c.Result()))
	case ast.StructKind:
		r.refuse(e, "%s{…} makes no value: expressions know texts, numbers, booleans, lists, maps", e.AsStruct().TypeName())
	case ast.UnspecifiedExprKind:
	}
}

func (r *rewriter) rewriteLiteral(e ast.Expr) {
	var (
		d   decimal.Decimal
		err error
	)
	switch literal := e.AsLiteral().(type) {
	case types.Int:
		d = decimal.FromInt64(int64(literal))
	case types.Double:
		d, err = r.fraction(e)
	case types.Uint:
		r.refuse(e, "numbers are decimals: write %d", uint64(literal))
		return
	case types.Bytes:
		r.refuse(e, "there are no bytes: write a text, without b before the quote")
		return
	case types.String:
		r.fields[string(literal)] = true // a field's name where it stands in brackets
		return
	default:
		return
	}
	if errors.Is(err, errUnread) {
		r.refuse(e, "this number cannot be read as it is written: write it as 0.5 or -0.5, without anything between its parts")
		return
	}
	if err != nil {
		r.refuse(e, "this number is out of range: write one of at most a thousand digits")
		return
	}
	r.numbers[e.ID()] = d
	e.SetKindCase(r.factory.NewIdent(e.ID(), variableNumber))
}

// writtenFraction is a fraction as CEL reads it: a sign, white space, the whole part, and the rest.
var writtenFraction = regexp.MustCompile(`^(-?)[ \t\r\n\f]*([0-9]*)(\.[0-9]+(?:[eE][+-]?[0-9]+)?|[eE][+-]?[0-9]+)`)

// fraction gives the number as it is written, since CEL's own value is rounded to a binary fraction. A number whose text is
// not found is refused.
func (r *rewriter) fraction(e ast.Expr) (decimal.Decimal, error) {
	at, ok := r.ast.SourceInfo().GetOffsetRange(e.ID())
	if !ok || at.Start < 0 || int(at.Start) >= len(r.source) {
		return decimal.Decimal{}, errUnread
	}
	written := writtenFraction.FindStringSubmatch(string(r.source[at.Start:]))
	if written == nil {
		return decimal.Decimal{}, errUnread
	}
	sign, whole, rest := written[1], strings.TrimLeft(written[2], "0"), written[3]
	if whole == "" {
		whole = "0"
	}
	d, err := decimal.Parse(sign + whole + rest)
	if err != nil && !errors.Is(err, decimal.ErrRange) {
		return decimal.Decimal{}, errUnread
	}
	return d, err
}

var errUnread = errors.New("no number is written here")

func (r *rewriter) rewriteCall(e ast.Expr) {
	call := e.AsCall()
	if call.IsMemberFunction() {
		r.rewrite(call.Target())
	}
	for _, argument := range call.Args() {
		r.rewrite(argument)
	}
	r.looks = r.looks || !slices.Contains(brief, call.FunctionName())
	switch name := call.FunctionName(); name {
	case operators.Index:
		r.rewriteIndex(e, call.Args()[0], call.Args()[1])
	case overloads.Matches:
		if !isText(call.Args()[len(call.Args())-1]) {
			r.refuse(e, "the pattern of matches must be written as a text, in quotes")
		}
	default:
		if renamed, ok := operatorNames[name]; ok {
			e.SetKindCase(r.factory.NewCall(e.ID(), renamed, call.Args()...))
		}
	}
}

// rewriteIndex leaves literal places of elements whole numbers of CEL, and turns computed ones into such.
func (r *rewriter) rewriteIndex(e, operand, index ast.Expr) {
	if n, ok := r.numbers[index.ID()]; ok {
		whole, ok := n.Int64()
		if !ok || whole < 0 {
			r.refuse(index, "elements of a list are counted 0, 1, 2, …")
			return
		}
		delete(r.numbers, index.ID())
		index.SetKindCase(r.factory.NewLiteral(index.ID(), types.Int(whole)))
		return
	}
	if isText(index) {
		return
	}
	e.SetKindCase(r.factory.NewCall(e.ID(), operators.Index, operand, r.call(functionPlace, index)))
}

// call makes a call that is not written, at the place of its argument.
func (r *rewriter) call(function string, argument ast.Expr) ast.Expr {
	made := r.factory.NewCall(r.nextID, function, argument)
	if at, ok := r.ast.SourceInfo().GetOffsetRange(argument.ID()); ok {
		r.ast.SourceInfo().SetOffsetRange(r.nextID, at)
	}
	r.nextID++
	return made
}

// fold puts the decimals in the place of their stand-ins, and refuses lists of mixed types, after checking.
func (r *rewriter) fold(checked *ast.AST) {
	ast.PostOrderVisit(checked.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		switch n, ok := r.numbers[e.ID()]; {
		case ok && e.Kind() == ast.IdentKind:
			e.SetKindCase(r.factory.NewLiteral(e.ID(), number{n}))
		case e.Kind() == ast.ListKind:
			r.refuseMixed(checked, e.AsList().Elements())
		}
	}))
}

func (r *rewriter) refuseMixed(checked *ast.AST, elements []ast.Expr) {
	var first *cel.Type
	for _, element := range elements {
		switch t := checked.GetType(element.ID()); {
		case t.Kind() == types.DynKind || t.Kind() == types.NullTypeKind || t.Kind() == types.TypeParamKind:
		case first == nil:
			first = t
		case t.Kind() != first.Kind():
			r.refuse(element, "a %s in a list of %ss: write elements of one type", t.TypeName(), first.TypeName())
		}
	}
}

func isText(e ast.Expr) bool {
	if e.Kind() != ast.LiteralKind {
		return false
	}
	_, ok := e.AsLiteral().(types.String)
	return ok
}
