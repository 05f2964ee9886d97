package metric

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/decimal"
)

// maxElementLength is the length in bytes of the longest element of a distinct count.
const maxElementLength = 1024

// Program evaluates the calculation of a definition. It is safe for use by many goroutines.
type Program struct {
	eventTypes []string
	chains     []string
	takes      Takes
	needsValue bool
	scale      int
	each       *expression // these four may be nil
	where      *expression
	value      *expression
	time       *expression
	dimensions []dimension // sorted by name
	columns    []string    // the names of the dimensions, sorted, where they are no expressions
}

// Compile makes the program of a definition of the type. It fails as [Definition.Validate] does, naming the metric.
func Compile(d Definition, t Type) (*Program, error) {
	program, mistakes := checkTyped(d, t)
	if err := joined(mistakes); err != nil {
		return nil, fmt.Errorf("compile metric %s: %w", d.Name, err)
	}
	return program, nil
}

// EventTypes are the types of the events that the program observes.
func (p *Program) EventTypes() []string { return slices.Clone(p.eventTypes) }

// Chains are the chains whose events the program observes.
func (p *Program) Chains() []string { return slices.Clone(p.chains) }

// UsesBlock tells whether the program looks at the fields of an event's block.
func (p *Program) UsesBlock() bool {
	return slices.ContainsFunc(p.expressions(), func(e *expression) bool { return e.usesBlock })
}

// Fields gives the names of the fields of an event, and of its block, that the program looks at, sorted; all is true where it
// may look at any.
func (p *Program) Fields() (names []string, all bool) {
	reads := make(map[string]bool)
	for _, e := range p.expressions() {
		maps.Copy(reads, e.reads)
		all = all || e.readsAll
	}
	return slices.Sorted(maps.Keys(reads)), all
}

func (p *Program) expressions() []*expression {
	all := []*expression{p.each, p.where, p.value, p.time}
	for _, d := range p.dimensions {
		all = append(all, d.expression)
	}
	return slices.DeleteFunc(all, func(e *expression) bool { return e == nil })
}

// Observe appends what an event adds to the metric: nothing where its type, its chain or where does not match, and one
// observation for each element where the definition has each. An aggregate that takes elements may get none of them.
//
// An error is a metric error: the event counts nowhere in this metric. Its text is one of a bounded number for each
// definition, without any content of the event. An event may cost a million steps: of loops and of comparisons within
// expressions, elements of each, elements of the value.
func (p *Program) Observe(observations []Observation, ev events.Event) ([]Observation, error) {
	if !slices.Contains(p.eventTypes, ev.Type) || !slices.Contains(p.chains, ev.Chain) {
		return observations, nil
	}
	s := scope{event: ev.Fields, block: ev.Block}
	if p.where != nil && !p.where.usesElement {
		if matches, err := p.where.matches(&s); err != nil || !matches {
			return observations, err
		}
	}
	if p.each == nil {
		observation, err := p.observation(&s, ev.Time)
		if err != nil {
			return observations, err
		}
		observation.Place.Event = ev.Place
		return append(observations, observation), nil
	}
	elements, err := p.observeElements(observations, &s, ev)
	if err != nil {
		return observations, err
	}
	return elements, nil
}

func (p *Program) observeElements(observations []Observation, s *scope, ev events.Event) ([]Observation, error) {
	value, err := p.each.evaluate(s)
	if err != nil {
		return nil, fmt.Errorf("each: %w", err)
	}
	list, ok := value.(traits.Lister)
	if !ok {
		return nil, errors.New("each: not a list")
	}
	place := Place{Event: ev.Place, Element: -1}
	for element := range elements(list) {
		if err := s.spend(1); err != nil {
			return nil, fmt.Errorf("each: %w", err)
		}
		s.element = element
		place.Element++
		if p.where != nil && p.where.usesElement {
			matches, err := p.where.matches(s)
			if err != nil {
				return nil, err
			}
			if !matches {
				continue
			}
		}
		observation, err := p.observation(s, ev.Time)
		if err != nil {
			return observations, err
		}
		observation.Place = place
		observations = append(observations, observation)
	}
	return observations, nil
}

// elements gives the elements of a list: as JSON has them where the list comes from an event.
func elements(list traits.Lister) func(yield func(any) bool) {
	return func(yield func(any) bool) {
		if native, ok := list.Value().([]any); ok {
			for _, element := range native {
				if !yield(element) {
					return
				}
			}
			return
		}
		for it := list.Iterator(); it.HasNext() == types.True; {
			if !yield(it.Next()) {
				return
			}
		}
	}
}

func (p *Program) observation(s *scope, chainTime time.Time) (Observation, error) {
	at, err := p.at(s, chainTime)
	if err != nil {
		return Observation{}, fmt.Errorf("time: %w", err)
	}
	dimensions, err := encodeDimensions(p.dimensions, s)
	if err != nil {
		return Observation{}, fmt.Errorf("dimensions%w", err)
	}
	observation := Observation{Time: at, Dimensions: dimensions}
	if p.takes == Elements {
		observation.Elements, err = p.elements(s)
	} else {
		observation.Number, err = p.number(s)
	}
	if err != nil {
		return Observation{}, fmt.Errorf("value: %w", err)
	}
	return observation, nil
}

func (p *Program) number(s *scope) (decimal.Decimal, error) {
	n := decimal.FromInt64(1)
	if p.value != nil {
		value, err := p.value.evaluate(s)
		if err != nil {
			return decimal.Decimal{}, err
		}
		wrapped, ok := value.(number)
		if !ok {
			return decimal.Decimal{}, errors.New("not a number")
		}
		n = wrapped.Decimal
	}
	scaled, err := n.Shift(p.scale)
	if err != nil {
		return decimal.Decimal{}, errNumberRange
	}
	return scaled, nil
}

func (p *Program) elements(s *scope) ([]string, error) {
	value, err := p.value.evaluate(s)
	if err != nil {
		return nil, err
	}
	return appendElements([]string{}, value, s)
}

// appendElements appends the texts of a value, or of the elements of a list and of the lists within it, each of which
// costs a step.
func appendElements(texts []string, value ref.Val, s *scope) ([]string, error) {
	if err := s.spend(1); err != nil {
		return nil, err
	}
	list, ok := value.(traits.Lister)
	if !ok {
		text, err := canonicalText(value)
		switch {
		case err != nil:
			return nil, err
		case len(text) > maxElementLength:
			return nil, fmt.Errorf("an element is longer than %d bytes", maxElementLength)
		}
		return append(texts, text), nil
	}
	for it := list.Iterator(); it.HasNext() == types.True; {
		var err error
		if texts, err = appendElements(texts, it.Next(), s); err != nil {
			return nil, err
		}
	}
	return texts, nil
}

var errNotText = errors.New("not a text, number or boolean")

// canonicalText gives the text of a dimension or an element. Values of different types may have the same text.
func canonicalText(value ref.Val) (string, error) {
	switch v := value.(type) {
	case types.String:
		return string(v), checkText(string(v))
	case number:
		return v.String(), nil
	case types.Bool:
		if v {
			return "true", nil
		}
		return "false", nil
	case *types.Err:
		return "", errNumberRange // the only element of an event that cannot be read
	}
	return "", errNotText
}

func checkText(text string) error {
	if strings.IndexByte(text, 0) >= 0 {
		return errors.New("contains a NUL character")
	}
	if strings.ToValidUTF8(text, "") != text {
		return errors.New("no valid UTF-8")
	}
	return nil
}
