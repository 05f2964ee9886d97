package metric

import (
	"errors"
	"fmt"
	"iter"
	"unicode/utf8"

	"cel.dev/cel-go/common/types"

	"github.com/chainmetrics/chainmetrics/shared/decimal"
)

// Checks are those of a definition, compiled. They are safe for use by many goroutines.
type Checks struct{ all []compiledCheck }

type compiledCheck struct {
	Check
	bound     decimal.Decimal // of min, max and max_change
	condition *expression     // of an expression
}

// CompileChecks compiles the checks of a definition. It fails as [Definition.Validate] does.
func CompileChecks(d Definition) (*Checks, error) {
	c := &checker{}
	all := c.checks(d.withDefaults().Checks)
	if err := joined(c.mistakes); err != nil {
		return nil, fmt.Errorf("compile checks of %s: %w", d.Name, err)
	}
	return &Checks{all}, nil
}

// CheckedBucket is a bucket as checks see it.
type CheckedBucket struct {
	Dimensions string // as in bucket.Key
	Value      decimal.Decimal
	Previous   *decimal.Decimal // the value of the same dimensions in the window before; nil: there is none
}

// CheckFailure is a check that a window fails.
type CheckFailure struct {
	Check   Check
	Message string // on the first bucket that fails, and how many others do; of at most some hundred characters
}

// Failures gives the checks that a window with some buckets fails, in the order of the definition.
func (c *Checks) Failures(buckets iter.Seq[CheckedBucket]) (failures []CheckFailure) {
	first, failed, held := make([]string, len(c.all)), make([]int, len(c.all)), 0
	for b := range buckets {
		held++
		for i, check := range c.all {
			reason := check.reason(b)
			if reason == "" {
				continue
			}
			if failed[i]++; failed[i] > 1 {
				continue
			}
			if first[i] = reason; b.Dimensions != EncodeDimensions(nil) {
				first[i] += ", " + shortened(b.Dimensions, shownDimensions)
			}
		}
	}
	for i, check := range c.all {
		switch more := failed[i] - 1; {
		case check.NotNull && held == 0:
			failures = append(failures, CheckFailure{check.Check, "there is no bucket"})
		case more == 0:
			failures = append(failures, CheckFailure{check.Check, first[i]})
		case more == 1:
			failures = append(failures, CheckFailure{check.Check, first[i] + ", and 1 more bucket"})
		case more > 1:
			failures = append(failures, CheckFailure{check.Check, fmt.Sprintf("%s, and %d more buckets", first[i], more)})
		}
	}
	return failures
}

// How many characters of what may be long are shown.
const (
	shownNumber     = 40
	shownDimensions = 200
)

// reason says why a bucket fails the check; it is empty where it passes.
func (c compiledCheck) reason(b CheckedBucket) string {
	switch {
	case c.Min != "":
		if b.Value.Cmp(c.bound) < 0 {
			return shown(b.Value) + " is less than " + shortened(c.Min, shownNumber)
		}
	case c.Max != "":
		if b.Value.Cmp(c.bound) > 0 {
			return shown(b.Value) + " is greater than " + shortened(c.Max, shownNumber)
		}
	case c.Expression != "":
		return c.conditionReason(b)
	case b.Previous == nil:
	case c.MaxChange != "":
		return c.changeReason(b)
	case c.Monotonic == increasing:
		if b.Value.Cmp(*b.Previous) < 0 {
			return b.both() + " is a decrease"
		}
	case c.Monotonic == decreasing:
		if b.Value.Cmp(*b.Previous) > 0 {
			return b.both() + " is an increase"
		}
	}
	return ""
}

func (c compiledCheck) changeReason(b CheckedBucket) string {
	change, err := b.Value.Sub(*b.Previous)
	if err != nil {
		return b.both() + ": " + errNumberRange.Error()
	}
	allowed, err := c.bound.Mul(*b.Previous)
	if err != nil {
		return b.both() + ": " + errNumberRange.Error()
	}
	if absolute(change).Cmp(absolute(allowed)) <= 0 {
		return ""
	}
	return b.both() + " is a change by more than " + shortened(c.MaxChange, shownNumber) + " of it"
}

func (c compiledCheck) conditionReason(b CheckedBucket) string {
	of := shown(b.Value)
	values := map[string]decimal.Decimal{variableValue: b.Value}
	if c.condition.names[variablePrevious] {
		if b.Previous == nil {
			return ""
		}
		of, values[variablePrevious] = b.both(), *b.Previous
	}
	result, err := c.condition.evaluate(&scope{values: values})
	if err == nil {
		switch holds, ok := result.(types.Bool); {
		case !ok:
			err = errors.New("not a boolean")
		case bool(holds):
			return ""
		}
	}
	if err != nil {
		return of + ": " + err.Error()
	}
	return of + " does not hold"
}

// both gives the value and the one before.
func (b CheckedBucket) both() string { return shown(b.Value) + " after " + shown(*b.Previous) }

func absolute(d decimal.Decimal) decimal.Decimal {
	if d.Sign() < 0 {
		return d.Neg()
	}
	return d
}

func shown(d decimal.Decimal) string { return shortened(d.String(), shownNumber) }

// shortened gives at most so many bytes of a text.
func shortened(text string, most int) string {
	if len(text) <= most {
		return text
	}
	for !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most] + "…"
}
