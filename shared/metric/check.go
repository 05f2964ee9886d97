package metric

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"cel.dev/cel-go/cel"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/decimal"
)

// Check is what the buckets of a window have to be before it becomes final: one of the kinds. Those that compare with the window before
// hold where that has no bucket of the same dimensions.
type Check struct {
	NotNull    bool   `json:"not_null,omitempty"` // the window has a bucket
	Min        string `json:"min,omitempty"`      // no value is less than this decimal, which is as it was written
	Max        string `json:"max,omitempty"`
	MaxChange  string `json:"max_change,omitempty"` // how far a value may be from the one before, as a part of that
	Monotonic  string `json:"monotonic,omitempty"`  // increasing: no value is less than the one before; decreasing: none is greater
	Expression string `json:"expression,omitempty"` // CEL, in which value and previous are numbers
	Severity   string `json:"severity"`             // warn (default); block: a window that fails is not final
}

const (
	kindNotNull    = "not_null"
	kindExpression = "expression"

	increasing = "increasing"
	decreasing = "decreasing"

	variableValue    = "value"
	variablePrevious = "previous"
)

var (
	checkKinds = []string{kindNotNull, "min", "max", "max_change", "monotonic", kindExpression}
	severities = []string{events.SeverityWarn, events.SeverityBlock}
	directions = []string{increasing, decreasing}
)

const (
	pathChecks = "checks"
	maxChecks  = 20
)

// checkPath is the path of a check, by its place in the list.
func checkPath(place int) string { return pathChecks + "." + strconv.Itoa(place) }

// argument is a kind with what it says.
type argument struct{ kind, text string }

// arguments are those that a check has: one, where it is right.
func (c Check) arguments() []argument {
	all := []argument{
		{"min", c.Min}, {"max", c.Max}, {"max_change", c.MaxChange}, {"monotonic", c.Monotonic}, {kindExpression, c.Expression},
	}
	all = slices.DeleteFunc(all, func(a argument) bool { return a.text == "" })
	if c.NotNull {
		all = slices.Insert(all, 0, argument{kind: kindNotNull})
	}
	return all
}

// Name is the kind and its argument as they are written, or the expression's text, on one line.
func (c Check) Name() string {
	switch all := c.arguments(); {
	case len(all) == 0:
		return ""
	case all[0].kind == kindExpression:
		return strings.Join(strings.Fields(c.Expression), " ")
	default:
		return strings.TrimSpace(all[0].kind + " " + all[0].text)
	}
}

// checks refuses checks that are wrong, and compiles the others.
func (c *checker) checks(all []Check) (compiled []compiledCheck) {
	if len(all) > maxChecks {
		c.refuse(pathChecks, "has %d checks: write at most %d", len(all), maxChecks)
	}
	names := make([]string, len(all))
	for i, check := range all {
		path, arguments := checkPath(i), check.arguments()
		names[i] = check.Name()
		switch {
		case len(arguments) == 0:
			c.refuse(path, "says nothing to check: write one of %s", strings.Join(checkKinds, ", "))
		case len(arguments) > 1:
			c.refuse(path, "has both %s and %s: write each as a check of its own", arguments[0].kind, arguments[1].kind)
		case slices.Contains(names[:i], names[i]):
			c.refuse(path, "%.60q is given twice: write it once", names[i])
		default:
			compiled = append(compiled, c.check(path+"."+arguments[0].kind, check, compiled))
		}
		if !slices.Contains(severities, check.Severity) {
			c.refuse(path+".severity", "unknown severity %.60q: %s", check.Severity, instead(check.Severity, severities))
		}
	}
	return compiled
}

// check compiles a check of one kind, whose argument is at the path, and refuses one that cannot hold beside those before it.
func (c *checker) check(path string, check Check, before []compiledCheck) compiledCheck {
	compiled := compiledCheck{Check: check}
	switch {
	case check.Min != "" || check.Max != "":
		compiled.bound = c.bound(path, cmp.Or(check.Min, check.Max))
		for _, other := range before {
			if check.Max != "" && other.Min != "" && other.bound.Cmp(compiled.bound) > 0 {
				c.refuse(path, "no value is at least %.60s and at most %.60s", other.Min, check.Max)
			}
			if check.Min != "" && other.Max != "" && other.bound.Cmp(compiled.bound) < 0 {
				c.refuse(path, "no value is at least %.60s and at most %.60s", check.Min, other.Max)
			}
		}
	case check.MaxChange != "":
		if compiled.bound = c.bound(path, check.MaxChange); compiled.bound.Sign() < 0 {
			c.refuse(path, "is less than 0: write a part of the value before, such as 0.5")
		}
	case check.Monotonic != "":
		if !slices.Contains(directions, check.Monotonic) {
			c.refuse(path, "%.60q is no direction: %s", check.Monotonic, instead(check.Monotonic, directions))
		}
	case check.Expression != "":
		compiled.condition = c.checkExpression(path, check.Expression)
	}
	return compiled
}

// maxCheckLength is the length in bytes of the longest expression of a check.
const maxCheckLength = 1000

func (c *checker) bound(path, text string) decimal.Decimal {
	n, err := decimal.Parse(text)
	if err != nil {
		c.refuse(path, "%.60q is no number: write one such as 0.5", text)
	}
	return n
}

func (c *checker) checkExpression(path, text string) *expression {
	if len(text) > maxCheckLength { // it is part of a key
		c.refuse(path, "has %d bytes: write at most %d", len(text), maxCheckLength)
		return nil
	}
	words, err := numberVocabulary([]string{variableValue, variablePrevious})
	if err != nil {
		c.refuse(path, "%v", err)
		return nil
	}
	e := c.compile(path, text, words, "a condition, such as value <= 2 * previous", cel.BoolType)
	if e != nil && !e.names[variableValue] {
		c.refuse(path, "does not look at value: write a condition such as value <= 2 * previous")
	}
	return e
}
