package metric

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"

	"github.com/chainmetrics/chainmetrics/shared/decimal"
)

const (
	pathDerived     = "calculation_logic.derived"
	maxDependencies = 16
)

// Derived takes the value of a bucket from those of other metrics' buckets of the same window and chain.
type Derived struct {
	Expression   string   `json:"expression"` // CEL, in which the names of the dependencies are their values
	Dependencies []string `json:"dependencies"`
	// Dimensions are those of a bucket. Each dependency has some of them, at least one has all; what has fewer counts for every set of
	// the others.
	Dimensions []string `json:"dimensions,omitempty"`
}

// derived checks and compiles an expression over other metrics.
func (c *checker) derived(d Definition) *Program {
	s := d.Calculation.Derived
	before := len(c.mistakes)
	switch {
	case len(s.Dependencies) == 0:
		c.refuse(pathDerived+".dependencies", "is missing: write the names of the metrics that the expression has")
	case len(s.Dependencies) > maxDependencies:
		c.refuse(pathDerived+".dependencies", "has %d metrics: write at most %d", len(s.Dependencies), maxDependencies)
	}
	for i, name := range s.Dependencies {
		switch {
		case !metricName.MatchString(name) || len(name) > maxNameLength:
			c.refuse(pathDerived+".dependencies", "%.60q is no name of a metric: write one such as btc_block_count", name)
		case name == d.Name:
			c.refuse(pathDerived+".dependencies", "%s would depend on itself: leave it out", name)
		case slices.Contains(s.Dependencies[:i], name):
			c.refuse(pathDerived+".dependencies", "%.60q is given twice: write it once", name)
		}
	}
	c.dimensionNames(pathDerived+".dimensions", s.Dimensions)
	if !d.StartDate.IsZero() || d.Catchup != nil {
		field := "start_date"
		if d.StartDate.IsZero() {
			field = "catchup"
		}
		c.refuse(field, "a derived metric begins where its dependencies do: leave it out")
	}
	if strings.TrimSpace(s.Expression) == "" {
		c.refuse(pathDerived+".expression", "is missing: write expression: fees / transactions, for example")
	}
	p := &Program{chains: slices.Clone(d.Chains), takes: Number, columns: d.Calculation.DimensionNames()}
	if len(c.mistakes) > before {
		return p
	}
	words, err := numberVocabulary(s.Dependencies)
	if err != nil {
		c.refuse(pathDerived+".dependencies", "%v", err)
		return p
	}
	p.value = c.compile(pathDerived+".expression", s.Expression, words, "a number, such as fees / transactions", decimalType)
	if p.value == nil {
		return p
	}
	for _, name := range s.Dependencies {
		if !p.value.names[name] {
			c.refuse(pathDerived+".dependencies", "the expression does not use %s: leave it out", name)
		}
	}
	return p
}

// numberVocabulary is that of expressions over numbers of some names.
func numberVocabulary(names []string) (vocabulary, error) {
	options := library()
	for _, name := range names {
		options = append(options, cel.Variable(name, decimalType))
	}
	env, err := cel.NewCustomEnv(options...)
	return vocabulary{env: env, variables: names}, err
}

// fitDerived refuses derived metrics of types whose buckets hold more than a number.
func (t Type) fitDerived(c *checker, a Aggregate) {
	if t.RelativeError != 0 || a.Takes != Number {
		c.refuse("type", "a derived metric has one number in each bucket: write type: gauge, or type: counter with aggregate: sum")
	}
}

// Derive gives the value of a bucket whose dependencies have these values, by their names. There is none where one is missing, or where
// the expression divides by zero.
func (p *Program) Derive(values map[string]decimal.Decimal) (value decimal.Decimal, ok bool, err error) {
	for name := range p.value.names {
		if _, ok := values[name]; !ok {
			return value, false, nil
		}
	}
	result, err := p.value.evaluate(&scope{values: values})
	switch {
	case errors.Is(err, errDivision):
		return value, false, nil
	case err != nil:
		return value, false, fmt.Errorf("expression: %w", err)
	}
	wrapped, ok := result.(number)
	if !ok {
		return value, false, errors.New("expression: not a number")
	}
	return wrapped.Decimal, true, nil
}

// DependencyError says why metrics cannot depend on each other as they do.
type DependencyError struct {
	Metric  string
	Problem string // what is wrong, and what to do instead
}

// Error gives metric and problem.
func (e *DependencyError) Error() string { return e.Metric + ": " + e.Problem }

// CheckDependencies tells everything that is wrong with what the derived ones of some metrics, which are all that there are, depend on,
// as one error that joins [DependencyError]s.
func CheckDependencies(all []Definition) error {
	byName := make(map[string]Definition, len(all))
	for _, d := range all {
		byName[d.Name] = d
	}
	var wrong []error
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		d := byName[name]
		if d.Calculation.Derived == nil {
			continue
		}
		for _, problem := range d.dependencyProblems(byName) {
			wrong = append(wrong, &DependencyError{Metric: name, Problem: problem})
		}
		if path := cycleFrom(name, byName); path != nil {
			wrong = append(wrong, &DependencyError{Metric: name, Problem: "depends on itself: " + strings.Join(path, " needs ")})
		}
	}
	return errors.Join(wrong...)
}

// dependencyProblems tells what a derived metric lacks of those that it depends on.
func (d Definition) dependencyProblems(byName map[string]Definition) (problems []string) {
	all := d.Calculation.DimensionNames()
	whole, known := false, true
	for _, name := range d.Calculation.Derived.Dependencies {
		dependency, ok := byName[name]
		if !ok {
			known = false
			problems = append(problems, "depends on "+name+", which is not defined: apply that first, or with it")
			continue
		}
		for _, size := range d.BucketSizes {
			if !slices.Contains(dependency.BucketSizes, size) {
				problems = append(problems, fmt.Sprintf("has %s buckets, which %s lacks: leave that size out, or add it there", size, name))
			}
		}
		for _, chain := range d.Chains {
			if !slices.Contains(dependency.Chains, chain) {
				problems = append(problems, fmt.Sprintf("has chain %s, which %s lacks: leave it out, or add it there", chain, name))
			}
		}
		of := dependency.Calculation.DimensionNames()
		for _, dimension := range of {
			if !slices.Contains(all, dimension) {
				problems = append(problems, fmt.Sprintf("lacks the dimension %s of %s: write it into dimensions", dimension, name))
			}
		}
		whole = whole || slices.Equal(of, all)
	}
	if known && !whole && len(problems) == 0 {
		problems = append(problems, "has more dimensions than any of its dependencies: leave in dimensions those that one of them has")
	}
	return problems
}

// cycleFrom gives the names on a way from a metric over its dependencies back to it; nil where there is none.
func cycleFrom(name string, byName map[string]Definition) []string {
	seen := make(map[string]bool)
	var walk func(at string) []string
	walk = func(at string) []string {
		derived := byName[at].Calculation.Derived
		if derived == nil || seen[at] {
			return nil
		}
		seen[at] = true
		for _, next := range derived.Dependencies {
			if next == name {
				return []string{at, name}
			}
			if rest := walk(next); rest != nil {
				return append([]string{at}, rest...)
			}
		}
		return nil
	}
	return walk(name)
}
