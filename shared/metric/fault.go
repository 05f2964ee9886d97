package metric

import (
	"regexp"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
)

// Errors of CEL that are worded anew, in its terms.
var (
	undeclared    = regexp.MustCompile(`^undeclared reference to '([^']*)'`)
	noMatch       = regexp.MustCompile(`^found no matching overload for '([^']*)' applied to '(.*)'$`)
	invalidNumber = regexp.MustCompile(`^invalid (?:int|double) literal`)
	expecting     = regexp.MustCompile(` expecting \{.*$`)
)

// faults words the errors of CEL.
func faults(issues *cel.Issues, words vocabulary) []fault {
	var all []fault
	for _, err := range issues.Errors() {
		f := fault{text: err.Message}
		if err.Location != nil && err.Location.Line() > 0 {
			f.line, f.column = err.Location.Line(), err.Location.Column()+1
		}
		switch text := err.Message; {
		case undeclared.MatchString(text):
			f.text = unknownName(undeclared.FindStringSubmatch(text)[1], words)
		case noMatch.MatchString(text):
			match := noMatch.FindStringSubmatch(text)
			f.text = wrongOperands(match[1], match[2])
		case invalidNumber.MatchString(text):
			f.text = `this number is too large to be written so: write it as a text, decimal("…"), or as 1e21`
		default:
			first, _, _ := strings.Cut(text, "\n")
			first = strings.ReplaceAll(expecting.ReplaceAllString(first, ""), "'<EOF>'", "end of the expression")
			first = strings.TrimPrefix(first, "Syntax error: ")
			f.text = strings.ReplaceAll(first, "mismatched input", "unexpected")
		}
		if !slices.Contains(all, f) {
			all = append(all, f)
		}
	}
	return all
}

func unknownName(name string, words vocabulary) string {
	if name == variableElement && words.fields && !words.element {
		return `"it" is an element of the list that "each" gives: write each: event.outputs, for example`
	}
	text := "unknown name " + quote(name)
	known := "known are " + strings.Join(words.variables, ", ") + " and the functions " + strings.Join(callables, ", ")
	switch near := nearest(name, append(slices.Clone(words.variables), callables...)); {
	case near != "":
		return text + ": did you mean " + quote(near) + "?"
	case words.fields:
		return text + ": fields are written event." + plainName(name) + ", " + known
	}
	return text + ": " + known
}

func plainName(name string) string {
	if name == "" || strings.ContainsAny(name, "@.") {
		return "name"
	}
	return name
}

func wrongOperands(function, operands string) string {
	if symbol, ok := symbols[function]; ok {
		function = symbol
	}
	text := function + " does not take " + strings.ReplaceAll(operands, variableNumber, decimalType.TypeName())
	if strings.Contains(operands, "decimal") && strings.Contains(operands, "string") {
		text += ": decimal(text) reads a number from a text, string(number) writes one"
	}
	return text
}
