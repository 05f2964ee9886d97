package metric

import (
	"errors"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/env"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"github.com/chainmetrics/chainmetrics/shared/decimal"
)

// Names under which an expression's operators and literals are checked. CEL's own equality calls values of different types
// unequal, and it has numbers other than decimals.
const (
	functionEqual   = "@equal"
	functionUnequal = "@unequal"
	functionWithin  = "@within"
	functionPlace   = "@place"
	functionTurn    = "@turn"
	variableNumber  = "@number"
)

var operatorNames = map[string]string{
	operators.Equals:    functionEqual,
	operators.NotEquals: functionUnequal,
	operators.In:        functionWithin,
}

// brief are the operators and functions that take the same time for every value.
var brief = []string{
	operators.LogicalAnd, operators.LogicalOr, operators.LogicalNot, operators.NotStrictlyFalse, operators.Conditional,
	operators.Index, operators.Negate, operators.Subtract, operators.Multiply, operators.Divide, operators.Modulo,
}

// symbols are the operators as they are written.
var symbols = map[string]string{
	functionEqual:           "==",
	functionUnequal:         "!=",
	functionWithin:          "in",
	functionPlace:           "[]",
	operators.Index:         "[]",
	operators.Add:           "+",
	operators.Subtract:      "-",
	operators.Negate:        "-",
	operators.Multiply:      "*",
	operators.Divide:        "/",
	operators.Modulo:        "%",
	operators.Less:          "<",
	operators.LessEquals:    "<=",
	operators.Greater:       ">",
	operators.GreaterEquals: ">=",
	operators.LogicalAnd:    "&&",
	operators.LogicalOr:     "||",
	operators.LogicalNot:    "!",
	operators.Conditional:   "?:",
}

// callables are the functions that can be written by name.
var callables = []string{
	"contains", "decimal", "endsWith", "matches", "size", "startsWith", "string",
	operators.All, operators.Exists, operators.ExistsOne, operators.Filter, operators.Has, operators.Map,
}

// Reasons of metric errors. They tell what is wrong, never with what content.
var (
	errNumberRange   = errors.New("number out of range")
	errDivision      = errors.New("division by zero")
	errNotNumber     = errors.New("text is no number")
	errDifferentType = errors.New("cannot compare values of different types")
	errCost          = errors.New("takes too long")
	errOutsideBlock  = errors.New("the event has no block")
	errNoElement     = errors.New("no such element")
	errNoField       = errors.New("no such field")
	errWrongType     = errors.New("wrong type of value")
	errEvaluation    = errors.New("cannot be evaluated")
)

// library is all that an expression can use: of CEL's standard library the parts without numbers, and decimals.
func library() []cel.EnvOption {
	element, key := cel.TypeParamType("A"), cel.TypeParamType("B")
	list, dictionary := cel.ListType(element), cel.MapType(key, element)
	return []cel.EnvOption{
		cel.StdLib(cel.StdLibSubset(env.NewLibrarySubset().AddIncludedFunctions(
			env.NewFunction(operators.LogicalAnd),
			env.NewFunction(operators.LogicalOr),
			env.NewFunction(operators.LogicalNot),
			env.NewFunction(operators.Conditional),
			env.NewFunction(operators.NotStrictlyFalse),
			env.NewFunction(operators.Index),
			env.NewFunction(overloads.Contains),
			env.NewFunction(overloads.StartsWith),
			env.NewFunction(overloads.EndsWith),
			env.NewFunction(overloads.Matches),
		))),
		cel.CustomTypeAdapter(adapter{}),
		cel.Variable(variableNumber, decimalType),

		cel.Function(operators.Add,
			cel.Overload("add_decimal", []*cel.Type{decimalType, decimalType}, decimalType,
				cel.BinaryBinding(arithmetic(decimal.Decimal.Add))),
			cel.Overload(overloads.AddString, []*cel.Type{cel.StringType, cel.StringType}, cel.StringType,
				cel.BinaryBinding(concatenate)),
			cel.Overload(overloads.AddList, []*cel.Type{list, list}, list,
				cel.BinaryBinding(concatenate))),
		arithmeticOperator(operators.Subtract, "subtract_decimal", decimal.Decimal.Sub),
		arithmeticOperator(operators.Multiply, "multiply_decimal", decimal.Decimal.Mul),
		arithmeticOperator(operators.Divide, "divide_decimal", decimal.Decimal.Quo),
		arithmeticOperator(operators.Modulo, "modulo_decimal", decimal.Decimal.Rem),
		cel.Function(operators.Negate,
			cel.Overload("negate_decimal", []*cel.Type{decimalType}, decimalType,
				cel.UnaryBinding(func(v ref.Val) ref.Val { return number{v.(number).Neg()} }))),

		comparison(operators.Less, "less", func(order int) bool { return order < 0 }),
		comparison(operators.LessEquals, "less_equals", func(order int) bool { return order <= 0 }),
		comparison(operators.Greater, "greater", func(order int) bool { return order > 0 }),
		comparison(operators.GreaterEquals, "greater_equals", func(order int) bool { return order >= 0 }),
		cel.Function(functionEqual,
			cel.Overload("equal", []*cel.Type{element, element}, cel.BoolType,
				cel.BinaryBinding(equal))),
		cel.Function(functionUnequal,
			cel.Overload("unequal", []*cel.Type{element, element}, cel.BoolType,
				cel.BinaryBinding(func(a, b ref.Val) ref.Val {
					result := equal(a, b)
					if same, ok := result.(types.Bool); ok {
						return !same
					}
					return result
				}))),
		cel.Function(functionWithin,
			cel.Overload("within_list", []*cel.Type{element, list}, cel.BoolType,
				cel.BinaryBinding(withinList)),
			cel.Overload("within_map", []*cel.Type{key, dictionary}, cel.BoolType,
				cel.BinaryBinding(func(k, m ref.Val) ref.Val {
					switch k.(type) {
					case types.String:
						_, found := m.(traits.Mapper).Find(k)
						return types.Bool(found)
					case types.Null: // which may be compared with everything
						return types.False
					case *types.Err:
						return k
					}
					return types.WrapErr(errDifferentType)
				}))),

		cel.Function(overloads.Size,
			cel.Overload("size_string_decimal", []*cel.Type{cel.StringType}, decimalType, cel.UnaryBinding(size)),
			cel.Overload("size_list_decimal", []*cel.Type{list}, decimalType, cel.UnaryBinding(size)),
			cel.Overload("size_map_decimal", []*cel.Type{dictionary}, decimalType, cel.UnaryBinding(size)),
			cel.MemberOverload("string_size_decimal", []*cel.Type{cel.StringType}, decimalType, cel.UnaryBinding(size)),
			cel.MemberOverload("list_size_decimal", []*cel.Type{list}, decimalType, cel.UnaryBinding(size)),
			cel.MemberOverload("map_size_decimal", []*cel.Type{dictionary}, decimalType, cel.UnaryBinding(size))),
		cel.Function("decimal",
			cel.Overload("decimal_string", []*cel.Type{cel.StringType}, decimalType, cel.UnaryBinding(parseNumber)),
			cel.Overload("decimal_decimal", []*cel.Type{decimalType}, decimalType, cel.UnaryBinding(same))),
		cel.Function("string",
			cel.Overload("string_decimal", []*cel.Type{decimalType}, cel.StringType,
				cel.UnaryBinding(func(v ref.Val) ref.Val { return types.String(v.(number).String()) })),
			cel.Overload("string_string", []*cel.Type{cel.StringType}, cel.StringType, cel.UnaryBinding(same))),
		cel.Function(functionPlace,
			cel.Overload("place_decimal", []*cel.Type{decimalType}, cel.IntType, cel.UnaryBinding(place)),
			cel.Overload("place_string", []*cel.Type{cel.StringType}, cel.StringType, cel.UnaryBinding(same))),
		cel.Function(functionTurn, // is asked before each turn of a loop, and costs a step
			cel.Overload("turn", []*cel.Type{cel.BoolType}, cel.BoolType, cel.UnaryBinding(same))),
	}
}

func arithmeticOperator(name, overload string, f func(a, b decimal.Decimal) (decimal.Decimal, error)) cel.EnvOption {
	return cel.Function(name, cel.Overload(overload, []*cel.Type{decimalType, decimalType}, decimalType,
		cel.BinaryBinding(arithmetic(f))))
}

func arithmetic(f func(a, b decimal.Decimal) (decimal.Decimal, error)) func(a, b ref.Val) ref.Val {
	return func(a, b ref.Val) ref.Val {
		d, err := f(a.(number).Decimal, b.(number).Decimal)
		switch {
		case errors.Is(err, decimal.ErrDivisionByZero):
			return types.WrapErr(errDivision)
		case err != nil:
			return types.WrapErr(errNumberRange)
		}
		return number{d}
	}
}

func comparison(name, overload string, holds func(order int) bool) cel.EnvOption {
	return cel.Function(name,
		cel.Overload(overload+"_decimal", []*cel.Type{decimalType, decimalType}, cel.BoolType,
			cel.BinaryBinding(func(a, b ref.Val) ref.Val {
				return types.Bool(holds(a.(number).Cmp(b.(number).Decimal)))
			})),
		cel.Overload(overload+"_string", []*cel.Type{cel.StringType, cel.StringType}, cel.BoolType,
			cel.BinaryBinding(func(a, b ref.Val) ref.Val {
				order, ok := a.(traits.Comparer).Compare(b).(types.Int)
				return types.Bool(ok && holds(int(order)))
			})))
}

// concatenate joins two texts or lists. What is longer than a metric may look at is not made.
func concatenate(a, b ref.Val) ref.Val {
	if steps(a)+steps(b) > maxCost {
		return types.WrapErr(errCost)
	}
	return a.(traits.Adder).Add(b)
}

// equality compares values, and counts the steps that it takes.
type equality struct{ steps uint64 }

// equal compares values of one type; null with any value. It fails on values of different types, also where they are
// elements of lists and maps, unless those differ anyway.
func equal(a, b ref.Val) ref.Val { return new(equality).values(a, b) }

func withinList(v, list ref.Val) ref.Val { return new(equality).within(v, list) }

func (e *equality) exhausted() bool { return e.steps > maxCost }

func (e *equality) values(a, b ref.Val) ref.Val {
	e.steps++
	if types.IsError(b) { // an element that cannot be read
		return b
	}
	if !types.IsError(a) && (a == types.NullValue || b == types.NullValue) {
		return types.Bool(a == b)
	}
	switch x := a.(type) {
	case *types.Err:
		return x
	case traits.Lister:
		if y, ok := b.(traits.Lister); ok {
			return e.lists(x, y)
		}
	case traits.Mapper:
		if y, ok := b.(traits.Mapper); ok {
			return e.maps(x, y)
		}
	default:
		if a.Type().TypeName() == b.Type().TypeName() {
			e.steps += min(steps(a), steps(b)) - 1
			return a.Equal(b)
		}
	}
	return types.WrapErr(errDifferentType)
}

func (e *equality) lists(a, b traits.Lister) ref.Val {
	if a.Size() != b.Size() {
		return types.False
	}
	var result ref.Val = types.True
	for x, y := a.Iterator(), b.Iterator(); x.HasNext() == types.True; {
		switch same := e.values(x.Next(), y.Next()); {
		case e.exhausted():
			return types.WrapErr(errCost)
		case same == types.False:
			return same
		case same != types.True:
			result = same
		}
	}
	return result
}

func (e *equality) maps(a, b traits.Mapper) ref.Val {
	if a.Size() != b.Size() {
		return types.False
	}
	var result ref.Val = types.True
	for keys := a.Iterator(); keys.HasNext() == types.True; {
		key := keys.Next()
		x, _ := a.Find(key)
		y, found := b.Find(key)
		if !found {
			return types.False
		}
		switch same := e.values(x, y); {
		case e.exhausted():
			return types.WrapErr(errCost)
		case same == types.False:
			return same
		case same != types.True:
			result = same
		}
	}
	return result
}

func (e *equality) within(v, list ref.Val) ref.Val {
	var result ref.Val = types.False
	for elements := list.(traits.Lister).Iterator(); elements.HasNext() == types.True; {
		switch same := e.values(v, elements.Next()); {
		case e.exhausted():
			return types.WrapErr(errCost)
		case same == types.True:
			return same
		case same != types.False:
			result = same
		}
	}
	return result
}

func size(v ref.Val) ref.Val {
	n, ok := v.(traits.Sizer).Size().(types.Int)
	if !ok {
		return types.WrapErr(errWrongType)
	}
	return number{decimal.FromInt64(int64(n))}
}

func parseNumber(v ref.Val) ref.Val {
	text, ok := v.(types.String)
	if !ok {
		return types.WrapErr(errWrongType)
	}
	d, err := decimal.Parse(string(text))
	switch {
	case errors.Is(err, decimal.ErrRange):
		return types.WrapErr(errNumberRange)
	case err != nil:
		return types.WrapErr(errNotNumber)
	}
	return number{d}
}

func same(v ref.Val) ref.Val { return v }

// place gives the place of an element in a list; no list has an element at a fraction.
func place(v ref.Val) ref.Val {
	n, ok := v.(number).Int64()
	if !ok {
		return types.WrapErr(errNoElement)
	}
	return types.Int(n)
}

// costs counts what functions of the library cost that look at whole lists and texts; others cost one step.
type costs struct{}

// CallCost gives the number of steps, or nil for that of CEL, which is one for most.
func (costs) CallCost(function, _ string, args []ref.Val, _ ref.Val) *uint64 {
	var cost uint64
	switch function {
	case functionEqual, functionUnequal:
		cost = comparing(func(e *equality) { e.values(args[0], args[1]) })
	case functionWithin:
		list, ok := args[1].(traits.Lister)
		if !ok {
			return nil
		}
		cost = comparing(func(e *equality) { e.within(args[0], list.(ref.Val)) })
	case operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals:
		cost = min(steps(args[0]), steps(args[1]))
	case operators.Add:
		if _, ok := args[0].(types.String); !ok {
			return nil // lists are not copied
		}
		cost = steps(args[0]) + steps(args[1])
	case overloads.Size:
		if _, ok := args[0].(types.String); !ok {
			return nil
		}
		cost = steps(args[0])
	case operators.Multiply, operators.Divide, operators.Modulo:
		cost = 5
	default:
		return nil
	}
	return &cost
}

// comparing gives the steps of a comparison, which is made again, since the first has left only its result.
func comparing(compare func(*equality)) uint64 {
	var e equality
	compare(&e)
	return max(1, e.steps)
}

// steps gives how many it takes to look at a text, or at each element of a list or map.
func steps(v ref.Val) uint64 {
	switch v := v.(type) {
	case types.String:
		return 1 + uint64(len(v))/16
	case traits.Sizer:
		if n, ok := v.Size().(types.Int); ok && n > 0 {
			return 1 + uint64(n)
		}
	}
	return 1
}
