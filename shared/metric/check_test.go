package metric

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chainmetrics/chainmetrics/shared/decimal"
)

// checked is a definition with some checks, in its sixth line.
func checked(checks string) string {
	return "name: m\ntype: counter\ncalculation_logic: {stream: {event_type: block}}\nchains: [bitcoin]\nbucket_sizes: [daily]\nchecks: " + checks
}

func TestParsesChecks(t *testing.T) {
	t.Parallel()
	const file = `
- not_null: true
- min: -0.50
  severity: block
- max: "1e30"
- max_change: 0
  severity: warn
- monotonic: decreasing
- expression: |
    value <= 2 * previous
      || value < 5
`
	want := []Check{
		{NotNull: true, Severity: "warn"},
		{Min: "-0.50", Severity: "block"},
		{Max: "1e30", Severity: "warn"},
		{MaxChange: "0", Severity: "warn"},
		{Monotonic: "decreasing", Severity: "warn"},
		{Expression: "value <= 2 * previous\n  || value < 5\n", Severity: "warn"},
	}
	definitions, err := Parse("f", []byte(checked(file)), metricTypes)
	if err != nil {
		t.Fatal(err)
	}
	stored, err := json.Marshal(definitions[0])
	if err != nil {
		t.Fatal(err)
	}
	d, err := DecodeDefinition(stored)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, d.Checks); diff != "" {
		t.Error(diff)
	}
	var names []string
	for _, check := range d.Checks {
		names = append(names, check.Name())
	}
	wantNames := []string{"not_null", "min -0.50", "max 1e30", "max_change 0", "monotonic decreasing", "value <= 2 * previous || value < 5"}
	if diff := cmp.Diff(wantNames, names); diff != "" {
		t.Error(diff)
	}
}

func TestChecksAreRefused(t *testing.T) {
	t.Parallel()
	const kinds = "not_null, min, max, max_change, monotonic, expression"
	for name, test := range map[string]struct {
		checks string
		want   []string
	}{
		"no list":         {"{min: 0}", []string{"f:6: m: checks: write a list, such as [{min: 0}]"}},
		"no mapping":      {"[min]", []string{"f:6: m: checks: write its fields below it: " + kinds + ", severity"}},
		"no kind":         {"\n- min: 0\n- severity: block", []string{"f:8: m: checks: says nothing to check: write one of " + kinds}},
		"two kinds":       {"[{min: 0, max: 5}]", []string{"f:6: m: checks: has both min and max: write each as a check of its own"}},
		"unknown":         {"[{minimum: 0}]", []string{`f:6: m: unknown field "minimum": write one of ` + kinds + ", severity"}},
		"misspelt":        {"[{monotonik: increasing}]", []string{`f:6: m: unknown field "monotonik": did you mean "monotonic"?`}},
		"kind twice":      {"[{min: 0, min: 1}]", []string{"f:6: m: min: is given twice: write it once"}},
		"severity":        {"\n- min: 0\n  severity: blok", []string{`f:8: m: severity: unknown severity "blok": did you mean "block"?`}},
		"not null":        {"[{not_null: false}]", []string{"f:6: m: not_null: false checks nothing: write true, or leave the check out"}},
		"no boolean":      {"[{not_null: 1}]", []string{`f:6: m: not_null: "1" is neither true nor false: write one of them`}},
		"no number":       {"\n- min: many\n- max: .inf", []string{`f:7: m: min: "many" is no number: write one such as 0.5`, `f:8: m: max: ".inf" is no number: write one such as 0.5`}},
		"number of YAML":  {"[{min: 0x10}]", []string{`f:6: m: min: "0x10" is no number: write one such as 0.5`}},
		"huge":            {"[{min: 1e2000}]", []string{`f:6: m: min: "1e2000" is no number: write one such as 0.5`}},
		"empty":           {"[{min: ''}]", []string{"f:6: m: min: is empty: write a number such as 0.5"}},
		"null":            {"[{min: }]", []string{"f:6: m: min: write a number such as 0.5, or leave it out"}},
		"negative change": {"[{max_change: -1}]", []string{"f:6: m: max_change: is less than 0: write a part of the value before, such as 0.5"}},
		"direction":       {"[{monotonic: up}]", []string{`f:6: m: monotonic: "up" is no direction: write one of increasing, decreasing`}},
		"twice":           {"\n- min: 0\n- {min: 0, severity: block}", []string{`f:8: m: checks: "min 0" is given twice: write it once`}},
		"expression twice": {
			"[{expression: value > 1}, {expression: 'value  >  1'}]",
			[]string{`f:6: m: checks: "value > 1" is given twice: write it once`},
		},
		"two smallest":     {"[{min: 0}, {min: -5, severity: block}]", nil},
		"nothing between":  {"\n- max: 1\n- min: 2", []string{"f:8: m: min: no value is at least 2 and at most 1"}},
		"nothing below":    {"\n- min: 2\n- max: 1.9", []string{"f:8: m: max: no value is at least 2 and at most 1.9"}},
		"one between":      {"[{min: 2}, {max: 2.0}]", nil},
		"number":           {"[{expression: value + 1}]", []string{"f:6: m: expression: gives a decimal: write an expression that gives a condition, such as value <= 2 * previous"}},
		"other names":      {"[{expression: vale > 0}]", []string{`f:6: m: expression: character 1: unknown name "vale": did you mean "value"?`}},
		"event":            {"[{expression: value > event.x}]", []string{`f:6: m: expression: character 9: unknown name "event": known are value, previous and the functions`}},
		"nothing of value": {"[{expression: previous > 0}]", []string{"f:6: m: expression: does not look at value: write a condition such as value <= 2 * previous"}},
		"second line":      {"\n- expression: |\n    value > 0 &&\n    value > true", []string{"f:9: m: expression: character 7: > does not take (decimal, bool)"}},
		"too many":         {"[{min: 0}" + strings.Repeat(", {min: 0}", 20) + "]", append([]string{"f:6: m: checks: has 21 checks: write at most 20"}, slices.Repeat([]string{`f:6: m: checks: "min 0" is given twice: write it once`}, 20)...)},
		"misplaced":        {"[]\nmin: 0", []string{`f:7: m: unknown field "min": it belongs into a check, below checks`}},
		"long":             {"[{expression: value > 0 " + strings.Repeat(" ", 2000) + " && value > 1}]", []string{"f:6: m: expression: has 2023 bytes: write at most 1000"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			if _, err := Parse("f", []byte(checked(test.checks)), metricTypes); err != nil {
				got = strings.Split(err.Error(), "\n")
			}
			for i, want := range test.want {
				if i < len(got) && strings.HasPrefix(got[i], want) {
					got[i] = want
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// bucketOf is a bucket as checks see it: a value, the one before, which may be empty, and the value of a dimension.
func bucketOf(t *testing.T, value, previous, kind string) CheckedBucket {
	t.Helper()
	number := func(text string) decimal.Decimal {
		n, err := decimal.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	b := CheckedBucket{Dimensions: "{}", Value: number(value)}
	if previous != "" {
		b.Previous = new(number(previous))
	}
	if kind != "" {
		b.Dimensions = EncodeDimensions(map[string]string{"type": kind})
	}
	return b
}

func TestChecks(t *testing.T) {
	t.Parallel()
	many := strings.Repeat("9", 900)
	for name, test := range map[string]struct {
		checks  string
		buckets [][3]string // value, the one before, dimension
		want    string
	}{
		"bucket":                  {"not_null: true", [][3]string{{"0", "", ""}}, ""},
		"no bucket":               {"not_null: true", nil, "not_null warn: there is no bucket"},
		"no values":               {"min: 5", nil, ""},
		"at least":                {"min: 0.1", [][3]string{{"0.1", "", ""}}, ""},
		"less":                    {"min: 0.1", [][3]string{{"0.0999999999999999999", "", ""}}, "min 0.1 warn: 0.0999999999999999999 is less than 0.1"},
		"negative":                {"min: -1", [][3]string{{"-1.5", "", ""}}, "min -1 warn: -1.5 is less than -1"},
		"at most":                 {"max: 0", [][3]string{{"0", "", ""}}, ""},
		"more":                    {"max: 0, severity: block", [][3]string{{"0.5", "", ""}}, "max 0 block: 0.5 is greater than 0"},
		"one of several":          {"min: 0", [][3]string{{"1", "", "a"}, {"-1", "", "b"}}, `min 0 warn: -1 is less than 0, {"type":"b"}`},
		"two of several":          {"min: 0", [][3]string{{"-2", "", "a"}, {"-1", "", "b"}, {"0", "", "c"}}, `min 0 warn: -2 is less than 0, {"type":"a"}, and 1 more bucket`},
		"all of several":          {"min: 0", [][3]string{{"-2", "", "a"}, {"-1", "", "b"}, {"-3", "", "c"}}, `min 0 warn: -2 is less than 0, {"type":"a"}, and 2 more buckets`},
		"change":                  {"max_change: 0.5", [][3]string{{"15", "10", ""}}, ""},
		"change down":             {"max_change: 0.5", [][3]string{{"5", "10", ""}}, ""},
		"great change":            {"max_change: 0.5", [][3]string{{"15.1", "10", ""}}, "max_change 0.5 warn: 15.1 after 10 is a change by more than 0.5 of it"},
		"great change down":       {"max_change: 0.5", [][3]string{{"4.9", "10", ""}}, "max_change 0.5 warn: 4.9 after 10 is a change by more than 0.5 of it"},
		"change of a negative":    {"max_change: 0.5", [][3]string{{"-15", "-10", ""}}, ""},
		"great change of it":      {"max_change: 0.5", [][3]string{{"-16", "-10", ""}}, "max_change 0.5 warn: -16 after -10 is a change by more than 0.5 of it"},
		"change of the sign":      {"max_change: 1.5", [][3]string{{"6", "-10", ""}}, "max_change 1.5 warn: 6 after -10 is a change by more than 1.5 of it"},
		"change of nothing":       {"max_change: 100", [][3]string{{"0.001", "0", ""}}, "max_change 100 warn: 0.001 after 0 is a change by more than 100 of it"},
		"no change of nothing":    {"max_change: 0", [][3]string{{"0", "0", ""}}, ""},
		"change from no bucket":   {"max_change: 0", [][3]string{{"7", "", ""}}, ""},
		"change beyond numbers":   {"max_change: 1e900", [][3]string{{"1", "1e900", ""}}, "max_change 1e900 warn: 1 after 1000000000000000000000000000000000000000…: number out of range"},
		"increase":                {"monotonic: increasing", [][3]string{{"5", "4", ""}}, ""},
		"equal":                   {"monotonic: increasing", [][3]string{{"5", "5.0", ""}}, ""},
		"decrease":                {"monotonic: increasing", [][3]string{{"4", "5", ""}}, "monotonic increasing warn: 4 after 5 is a decrease"},
		"increase after nothing":  {"monotonic: increasing", [][3]string{{"4", "", ""}}, ""},
		"wanted decrease":         {"monotonic: decreasing", [][3]string{{"4", "5", "a"}, {"4", "4", "b"}}, ""},
		"unwanted increase":       {"monotonic: decreasing", [][3]string{{"4", "5", "a"}, {"6", "5", "b"}}, `monotonic decreasing warn: 6 after 5 is an increase, {"type":"b"}`},
		"condition":               {"expression: value * value < 50", [][3]string{{"-7", "", ""}}, ""},
		"condition that is false": {"expression: value * value < 49", [][3]string{{"-7", "3", ""}}, "value * value < 49 warn: -7 does not hold"},
		"condition on both":       {"expression: value <= 2 * previous", [][3]string{{"7", "3", ""}}, "value <= 2 * previous warn: 7 after 3 does not hold"},
		"condition on nothing":    {"expression: value <= 2 * previous", [][3]string{{"7", "", ""}}, ""},
		"condition without value": {"expression: value / previous < 2", [][3]string{{"7", "0", ""}}, "value / previous < 2 warn: 7 after 0: division by zero"},
		"long values":             {"max: 5", [][3]string{{many, "", strings.Repeat("é", 400)}}, "max 5 warn: " + many[:40] + `… is greater than 5, {"type":"` + strings.Repeat("é", 95) + "…"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			definitions, err := Parse("f", []byte(checked("[{"+test.checks+"}]")), metricTypes)
			if err != nil {
				t.Fatal(err)
			}
			checks, err := CompileChecks(definitions[0])
			if err != nil {
				t.Fatal(err)
			}
			var buckets []CheckedBucket
			for _, b := range test.buckets {
				buckets = append(buckets, bucketOf(t, b[0], b[1], b[2]))
			}
			var got []string
			for _, f := range checks.Failures(slices.Values(buckets)) {
				got = append(got, f.Check.Name()+" "+f.Check.Severity+": "+f.Message)
			}
			if diff := cmp.Diff(test.want, strings.Join(got, "; ")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestSeveralChecks are told in the order of the definition.
func TestSeveralChecks(t *testing.T) {
	t.Parallel()
	d := Definition{Name: "m", Checks: []Check{{Max: "5"}, {NotNull: true}, {Min: "0", Severity: "block"}, {Monotonic: "increasing"}}}
	checks, err := CompileChecks(d)
	if err != nil {
		t.Fatal(err)
	}
	want := []CheckFailure{
		{Check{Max: "5", Severity: "warn"}, `6 is greater than 5, {"type":"b"}`},
		{Check{Min: "0", Severity: "block"}, `-1 is less than 0, {"type":"a"}`},
		{Check{Monotonic: "increasing", Severity: "warn"}, `-1 after 3 is a decrease, {"type":"a"}`},
	}
	buckets := []CheckedBucket{bucketOf(t, "-1", "3", "a"), bucketOf(t, "6", "", "b")}
	if diff := cmp.Diff(want, checks.Failures(slices.Values(buckets))); diff != "" {
		t.Error(diff)
	}
	if _, err := CompileChecks(Definition{Name: "m", Checks: []Check{{Min: "x"}}}); err == nil || err.Error() != `compile checks of m: checks.0.min: "x" is no number: write one such as 0.5` {
		t.Errorf("got %v", err)
	}
	if d.Checks[0].Severity != "" {
		t.Error("the definition was changed")
	}
}
