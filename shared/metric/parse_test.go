package metric

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chainmetrics/chainmetrics/shared/bucket"
)

const goodFile = `# Two metrics
name: btc_new_outputs
type: counter
description: New outputs
calculation_logic:
  stream:
    event_type: transaction
    each: event.outputs
    where: |
      !event.is_coinbase &&
        it.value > 0
    value: it.value
    scale: -8
    time: block.median_time
    dimensions:
      type: it.type
chains: &chains [bitcoin]
bucket_sizes: [weekly, hourly, 10-minutely]
max_dimensions: 20
tags: [outputs]
cumulative: true
---
# nothing here
---
name: btc_addresses
type: counter
calculation_logic: {stream: {event_type: transaction, value: event.addresses}}
aggregate: distinct
chains: [bitcoin, litecoin]
bucket_sizes: [daily]
complexity: large
unit: addresses
owner: data-team
fill: previous
`

// metricTypes are some as functions offer them.
var metricTypes = []Type{
	{Name: "counter", Aggregates: []Aggregate{
		{Name: "sum", Takes: Number, Additive: true}, {Name: "count", Takes: Nothing, Additive: true}, {Name: "distinct", Takes: Elements},
	}},
	{
		Name: "level", Aggregates: []Aggregate{{Name: "last", Takes: Number}, {Name: "first", Takes: Number}},
		NeedsValue: true, RelativeError: 0.02,
	},
}

var counterType = metricTypes[0]

func TestParse(t *testing.T) {
	t.Parallel()
	want := []Definition{
		{
			Name: "btc_new_outputs", Type: "counter", Description: "New outputs", Aggregate: "sum",
			Calculation: Calculation{Stream: &Stream{
				EventType: "transaction", Each: "event.outputs",
				Where: "!event.is_coinbase &&\n  it.value > 0\n", Value: "it.value", Scale: -8, Time: "block.median_time",
				Dimensions: map[string]string{"type": "it.type"},
			}},
			MaxDimensions: 20,
			Chains:        []string{"bitcoin"}, BucketSizes: []bucket.Size{bucket.TenMinutely, bucket.Hourly, bucket.Weekly},
			Complexity: "small", Tags: []string{"outputs"}, Fill: "none", Cumulative: true,
		},
		{
			Name: "btc_addresses", Type: "counter", Aggregate: "distinct",
			Calculation: Calculation{Stream: &Stream{EventType: "transaction", Value: "event.addresses"}},
			Chains:      []string{"bitcoin", "litecoin"}, BucketSizes: []bucket.Size{bucket.Daily},
			Complexity: "large", Unit: "addresses", Owner: "data-team", Fill: "previous",
		},
	}
	got, err := Parse("good.yaml", []byte(goodFile), metricTypes)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, d := range got {
		stored, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		var back Definition
		if err := json.Unmarshal(stored, &back); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(d, back); diff != "" {
			t.Errorf("stored and read: %s", diff)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	with := func(lines ...string) string { // the lines replace those of the same fields
		base := []string{
			"name: m", "type: counter", "calculation_logic: {stream: {event_type: block}}", "chains: [bitcoin]", "bucket_sizes: [daily]",
		}
		for _, line := range lines {
			field, _, _ := strings.Cut(line, ":")
			if i := slices.IndexFunc(base, func(b string) bool { return strings.HasPrefix(b, field+":") }); i >= 0 {
				base[i] = line
			} else {
				base = append(base, line)
			}
		}
		return strings.Join(base, "\n")
	}
	stream := func(fields string) string { return "calculation_logic: {stream: {event_type: block, " + fields + "}}" }
	tests := map[string]struct {
		file string
		want []string
	}{
		"empty file":    {"", []string{"f:1: no definition: write name: and type: of a metric, for example"}},
		"only comments": {"# a\n---\n# b\n", []string{"f:1: no definition: write name: and type: of a metric, for example"}},
		"broken YAML":   {"name: m\ntype: [\n", []string{"f:2: no valid YAML: did not find expected node content"}},
		"no mapping": {
			"- name: m\n", []string{"f:1: a definition has fields: write name: and type:, and --- between definitions"},
		},
		"huge file": {strings.Repeat("#\n", 600_000), []string{"f:1: the file has 1200000 bytes: write at most 1048576 in one"}},
		"nothing but a name": {"name: m", []string{
			"f:1: m: type: is missing: write type: counter, for example",
			"f:1: m: chains: is missing: write chains: [bitcoin], for example",
			"f:1: m: bucket_sizes: is missing: write bucket_sizes: [hourly, daily, weekly], for example",
			"f:1: m: calculation_logic: has no stream: write stream: with event_type: block, for example, below it",
		}},
		"unknown fields": {with("descriptn: x", "query: y", stream("valu: 1")), []string{
			`f:3: m: unknown field "valu": did you mean "value"?`,
			`f:6: m: unknown field "descriptn": did you mean "description"?`,
			`f:7: m: unknown field "query": write one of name, type, description, unit, calculation_logic, aggregate, ` +
				`relative_error, max_dimensions, chains, bucket_sizes, complexity, owner, tags, fill, cumulative, ` +
				`start_date, catchup, schedule, schedule_timezone, grace, retries, retry_delay, max_active_runs, execution_timeout, ` +
				`depends_on_past, deadline, email_on_failure, email_on_retry, email, checks`,
		}},
		"misplaced fields": {with("where: event.x > 1", "stream: {}", stream("chains: [bitcoin]")), []string{
			`f:3: m: unknown field "chains": it belongs to the definition itself: write it at the left margin`,
			`f:6: m: unknown field "where": it belongs below calculation_logic, stream`,
			`f:7: m: unknown field "stream": it belongs below calculation_logic`,
		}},
		"a field twice": {with() + "\nname: n\n", []string{"f:6: m: name: is given twice: write it once"}},
		"a dimension twice": {with(stream("dimensions: {a: event.a, a: event.b}")), []string{
			"f:3: m: dimensions.a: is given twice: write it once",
		}},
		"a name twice": {with() + "\n---\n" + with(), []string{
			"f:7: m: name: is the name of the metric in line 1 already: choose another one",
		}},
		"bad name": {with("name: BtcCount"), []string{
			`f:1: name: "BtcCount" is no name: write lower-case letters and digits, in words joined by _, such as btc_block_count`,
		}},
		"long name": {with("name: " + strings.Repeat("a", 41)), []string{
			"f:1: " + strings.Repeat("a", 41) + `: name: "` + strings.Repeat("a", 41) + `" has 41 characters: write one of at most 40`,
		}},
		"no text":        {with("owner: 12"), []string{"f:6: m: owner: YAML takes 12 for no text: write it in quotes"}},
		"null":           {with("owner:"), []string{"f:6: m: owner: write a text, or leave it out"}},
		"NUL":            {with(`unit: "a\0b"`), []string{"f:6: m: unit: contains a NUL character: leave it out"}},
		"no list":        {with("chains: bitcoin"), []string{"f:4: m: chains: write a list, such as [bitcoin]"}},
		"empty list":     {with("chains: []"), []string{"f:4: m: chains: is missing: write chains: [bitcoin], for example"}},
		"number in list": {with("tags: [1]"), []string{`f:6: m: tags: "1" is no text: write it in quotes`}},
		"bad chain": {with("chains: [Bitcoin, bitcoin, bitcoin]"), []string{
			`f:4: m: chains: "Bitcoin" is no name of a chain: write lower-case letters, digits and hyphens, at most 63`,
			`f:4: m: chains: "bitcoin" is given twice: write it once`,
		}},
		"bad bucket sizes": {with("bucket_sizes:\n- daily\n- dayly\n- yearly"), []string{
			`f:7: m: bucket_sizes: unknown bucket size "dayly": did you mean "daily"?`,
			`f:8: m: bucket_sizes: unknown bucket size "yearly": write one of minutely, 10-minutely, hourly, daily, weekly, monthly`,
		}},
		"a size twice": {with("bucket_sizes: [daily, hourly, daily]"), []string{
			`f:5: m: bucket_sizes: "daily" is given twice: write it once`,
		}},
		"bad choices": {with("complexity: midium", "fill: last"), []string{
			`f:6: m: complexity: unknown complexity "midium": did you mean "medium"?`,
			`f:7: m: fill: unknown fill "last": write one of none, zero, previous`,
		}},
		"bad boolean":  {with("cumulative: 1"), []string{`f:6: m: cumulative: "1" is neither true nor false: write one of them`}},
		"bad scale":    {with(stream("scale: 1.5")), []string{`f:3: m: scale: "1.5" is no whole number: write one such as -8`}},
		"absurd scale": {with(stream("scale: 101")), []string{"f:3: m: scale: 101 is no sensible power of ten: write one from -100 to 100"}},
		"value of a count": {with(stream("value: event.x, scale: 2"), "aggregate: count"), []string{
			"f:3: m: value: aggregate count takes no value: leave it out, or write aggregate: sum or aggregate: distinct",
			"f:3: m: scale: aggregate count has nothing to scale: leave it out",
		}},
		"distinct nothing": {with(stream("scale: 2"), "aggregate: distinct"), []string{
			"f:3: m: value: is missing: write what is to be counted once, such as value: event.from_address",
			"f:3: m: scale: aggregate distinct has nothing to scale: leave it out",
		}},
		"running total of what does not add up": {
			with(stream("value: event.x"), "aggregate: distinct", "cumulative: true"),
			[]string{
				"f:7: m: cumulative: the buckets of aggregate distinct do not add up: leave it out, or write aggregate: sum or aggregate: count",
			},
		},
		"running total of a level": {
			with("type: level", stream("value: event.x"), "cumulative: true"),
			[]string{"f:6: m: cumulative: the buckets of aggregate last do not add up: leave it out"},
		},
		"no value":     {with("type: level"), []string{"f:3: m: value: is missing: write value: event.value, for example"}},
		"unknown type": {with("type: countre"), []string{`f:2: m: type: "countre" is no metric type: did you mean "counter"?`}},
		"aggregate of another type": {with("aggregate: last"), []string{
			`f:6: m: aggregate: "last" is no aggregate of a counter: write one of sum, count, distinct`,
		}},
		"error of a sum": {with("relative_error: 0.01"), []string{
			"f:6: m: relative_error: a counter estimates no quantiles: leave it out",
		}},
		"bad error": {with("type: level", stream("value: event.x"), "relative_error: 1%"), []string{
			`f:6: m: relative_error: "1%" is no number between 0 and 1: write one such as 0.01`,
		}},
		"absurd error": {with("type: level", stream("value: event.x"), "relative_error: 1e-4"), []string{
			"f:6: m: relative_error: 0.0001 is no sensible error: write one from 0.001 to 0.1, such as 0.02",
		}},
		"no sets": {with("max_dimensions: 0"), []string{
			`f:6: m: max_dimensions: "0" is no such number: write a whole one from 1 on`,
		}},
		"absurdly many sets": {with(stream("dimensions: {a: event.a}"), "max_dimensions: 10000001"), []string{
			"f:6: m: max_dimensions: 10000001 is no sensible number of sets: write one from 1 to 10000000",
		}},
		"sets without dimensions": {with("max_dimensions: 10"), []string{
			"f:3: m: dimensions: is missing: write dimensions: {to: event.to_address}, for example, or leave max_dimensions out",
		}},
		"sets of mistaken dimensions": {with(stream("dimension: {a: event.a}"), "max_dimensions: 10"), []string{
			`f:3: m: unknown field "dimension": did you mean "dimensions"?`,
		}},
		"bad event type": {with("calculation_logic: {stream: {event_type: a b}}"), []string{
			`f:3: m: event_type: "a b" is no event type: write lower-case letters, digits and underscores, a letter first, at most 63`,
		}},
		"types of expressions": {with(stream(`where: event.x + 1, time: true, each: size(event.x), value: event.x > 1, dimensions: {a: "[1]"}`)), []string{
			"f:3: m: each: gives a decimal: write an expression that gives a list, such as event.outputs",
			"f:3: m: where: gives a decimal: write an expression that gives a condition, such as event.value > 0",
			"f:3: m: time: gives a bool: write an expression that gives Unix seconds or a text such as 2009-01-03T18:15:05Z",
			"f:3: m: value: gives a bool: write an expression that gives a number, such as event.value",
			"f:3: m: dimensions.a: gives a list: write an expression that gives a text, a number or a boolean",
		}},
		"lines of an expression": {with("calculation_logic:\n  stream:\n    event_type: block\n    where: |\n      event.x > 1 &&\n      1 > true\n    value:\n      evnt.x"), []string{
			"f:8: m: where: character 3: > does not take (decimal, bool)",
			`f:10: m: value: character 1: unknown name "evnt": did you mean "event"?`,
		}},
		"empty expression": {with(stream(`where: ""`)), []string{"f:3: m: where: is empty: write an expression, or leave it out"}},
		"dimension without a name": {with(stream("dimensions: {1: event.x}")), []string{
			`f:3: m: dimensions: "1" is no name: write a word`,
		}},
		"bad dimensions": {with(stream("dimensions: {A: event.a, chain: event.b, c: '', d: it.x}")), []string{
			"f:3: m: dimensions.c: is empty: write an expression, or leave it out",
			`f:3: m: dimensions.A: "A" is no name of a dimension: write lower-case letters and digits, in words joined by _, at most 40 characters`,
			"f:3: m: dimensions.chain: chain is a dimension of every metric: leave it out",
			`f:3: m: dimensions.d: character 1: "it" is an element of the list that "each" gives: write each: event.outputs, for example`,
		}},
		"bad schedule": {with(stream(""), "start_date: monday\nschedule: 10 *\nschedule_timezone: Mars/Base\ngrace: -1m\n"+
			"retries: -1\nretry_delay: often\nmax_active_runs: 0\nexecution_timeout: 6m\ndeadline: 10000h"), []string{
			`f:6: m: start_date: "monday" is no day: write one such as 2009-01-03`,
			`f:8: m: schedule_timezone: unknown time zone "Mars/Base": write one such as Europe/Berlin`,
			"f:9: m: grace: -1m0s is out of bounds: write one up to 8784h0m0s",
			"f:10: m: retries: -1 is no sensible number: write one from 0 to 100",
			`f:11: m: retry_delay: "often" is no duration: write one such as 30s, 5m or 1h30m`,
			`f:12: m: max_active_runs: "0" is no such number: write a whole one from 1 on`,
			"f:13: m: execution_timeout: 6m0s is out of bounds: write one from 1s to 5m0s",
			"f:14: m: deadline: 10000h0m0s is out of bounds: write one up to 8784h0m0s",
		}},
		"schedule that never comes": {with(stream(""), `schedule: 0 0 30 2 *`), []string{
			`f:6: m: schedule: "0 0 30 2 *" never comes: write one such as 10 * * * *`,
		}},
		"schedule with a zone": {with(stream(""), `schedule: TZ=UTC 0 0 * * *`), []string{
			"f:6: m: schedule: has a time zone: write that as schedule_timezone",
		}},
		"a machine's zone": {with(stream(""), "schedule: 0 6 * * *\nschedule_timezone: Local"), []string{
			`f:7: m: schedule_timezone: "Local" is the zone of whatever machine reads it: write one such as Europe/Berlin`,
		}},
		"a machine's zone, as a file": {with(stream(""), "schedule: 0 6 * * *\nschedule_timezone: localtime"), []string{
			`f:7: m: schedule_timezone: "localtime" is the zone of whatever machine reads it: write one such as Europe/Berlin`,
		}},
		"zone without a schedule": {with(stream(""), `schedule_timezone: UTC`), []string{
			"f:6: m: schedule_timezone: has no schedule: write schedule: 10 * * * *, for example, or leave it out",
		}},
		"bad alerting": {with(stream(""), `email_on_failure: often
email_on_retry: 1
email: [ops@example.com, ops, "a@b c@d", "x@example.com\r\nBcc: y@example.com", ops@example.com, "\"a\tb\"@example.com", ""]`), []string{
			`f:6: m: email_on_failure: "often" is neither true nor false: write one of them`,
			`f:7: m: email_on_retry: "1" is neither true nor false: write one of them`,
			`f:8: m: email: "ops" is no address: write one such as ops@example.com`,
			`f:8: m: email: "a@b c@d" is no address: write one such as ops@example.com`,
			`f:8: m: email: "x@example.com\r\nBcc: y@example.com" is no address: write one such as ops@example.com`,
			`f:8: m: email: "ops@example.com" is given twice: write it once`,
			`f:8: m: email: "\"a\tb\"@example.com" is no address: write one such as ops@example.com`,
			`f:8: m: email: "" is no address: write one such as ops@example.com`,
		}},
		"too many addresses": {with(stream(""), "email: [a0@x.org"+strings.Repeat(", a@x.org", 20)+"]"), append([]string{
			`f:6: m: email: has 21 addresses: write at most 20, such as that of a list`,
		}, slices.Repeat([]string{`f:6: m: email: "a@x.org" is given twice: write it once`}, 19)...)},
		"no stream": {with("calculation_logic: 5"), []string{"f:3: m: calculation_logic: write its fields below it: stream, sql, derived"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := Parse("f", []byte(test.file), metricTypes)
			if err == nil {
				t.Fatalf("accepted: %v", got)
			}
			if diff := cmp.Diff(test.want, strings.Split(err.Error(), "\n")); diff != "" {
				t.Error(diff)
			}
			var mistake *ParseError
			if !errors.As(err, &mistake) || mistake.File != "f" || mistake.Line < 1 {
				t.Errorf("no ParseError: %v", err)
			}
		})
	}
}

// What only the caller knows is reported at its line, next to other mistakes.
func TestParseChecks(t *testing.T) {
	t.Parallel()
	_, err := Parse("f", []byte(goodFile+"---\nname: bad\n"), metricTypes, func(d Definition) error {
		if d.Name == "bad" {
			t.Error("was asked about a definition that is wrong already")
		}
		return errors.Join(
			&FieldError{Field: "aggregate", Problem: "too much"},
			fmt.Errorf("check: %w", &FieldError{Field: "calculation_logic.stream.where", Line: 2, Column: 5, Problem: "no"}),
			errors.New("wrong altogether"),
		)
	})
	var got []string
	for line := range strings.Lines(fmt.Sprint(err)) {
		if line = strings.TrimSpace(line); !strings.Contains(line, "f:36") {
			got = append(got, line)
		}
	}
	want := []string{
		"f:2: btc_new_outputs: aggregate: too much",
		"f:2: btc_new_outputs: wrong altogether",
		"f:11: btc_new_outputs: where: character 5: no",
		"f:25: btc_addresses: wrong altogether",
		"f:27: btc_addresses: where: character 5: no",
		"f:28: btc_addresses: aggregate: too much",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	d := definition("sum", Stream{Value: "event.value"})
	if err := d.Validate(counterType); err != nil {
		t.Error(err)
	}
	d.BucketSizes = []bucket.Size{bucket.Daily, 99}
	d.Calculation.Stream.Where = "true &&\n evnt"
	err := d.Validate(counterType)
	want := "bucket_sizes: unknown bucket size 99: write one of minutely, 10-minutely, hourly, daily, weekly, monthly\n" +
		`calculation_logic.stream.where: line 2, character 2: unknown name "evnt": did you mean "event"?`
	if fmt.Sprint(err) != want {
		t.Errorf("got %v", err)
	}
	var mistake *FieldError
	if _, err := Compile(d, counterType); !errors.As(err, &mistake) || mistake.Field != "bucket_sizes" {
		t.Errorf("got %v", err)
	}
	typed := map[string]struct {
		change func(*Definition)
		want   string
	}{
		"type": {func(d *Definition) { d.Type = "level" }, `compile metric sample: type: "level" is another metric type: write type: counter`},
		"aggregate": {
			func(d *Definition) { d.Aggregate = "median" },
			`compile metric sample: aggregate: "median" is no aggregate of a counter: write one of sum, count, distinct`,
		},
		"no aggregate": {
			func(d *Definition) { d.Aggregate = "" },
			`compile metric sample: aggregate: "" is no aggregate of a counter: write one of sum, count, distinct`,
		},
		"relative error": {
			func(d *Definition) { d.RelativeError = 0.01 },
			"compile metric sample: relative_error: a counter estimates no quantiles: leave it out",
		},
	}
	for name, test := range typed {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := definition("sum", Stream{})
			test.change(&d)
			if _, err := Compile(d, counterType); fmt.Sprint(err) != test.want {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}

func TestSameCalculation(t *testing.T) {
	t.Parallel()
	base := func() Definition {
		return definition("sum", Stream{Value: "event.value", Dimensions: map[string]string{"a": "event.a"}})
	}
	tests := map[string]struct {
		change func(*Definition)
		want   bool
	}{
		"nothing":     {func(*Definition) {}, true},
		"description": {func(d *Definition) { d.Description = "other" }, true},
		"unit":        {func(d *Definition) { d.Unit = "BTC" }, true},
		"owner":       {func(d *Definition) { d.Owner = "me" }, true},
		"tags":        {func(d *Definition) { d.Tags = []string{"a"} }, true},
		"fill":        {func(d *Definition) { d.Fill = "zero" }, true},
		"cumulative":  {func(d *Definition) { d.Cumulative = true }, true},
		"complexity":  {func(d *Definition) { d.Complexity = "large" }, true},
		"most sets":   {func(d *Definition) { d.MaxDimensions = 7 }, true},
		"error":       {func(d *Definition) { d.RelativeError = 0.05 }, false},
		"chain order": {func(d *Definition) { slices.Reverse(d.Chains) }, true},
		"type":        {func(d *Definition) { d.Type = "gauge" }, false},
		"aggregate":   {func(d *Definition) { d.Aggregate = "count" }, false},
		"chains":      {func(d *Definition) { d.Chains = d.Chains[:1] }, true},
		"sizes":       {func(d *Definition) { d.BucketSizes = append(d.BucketSizes, bucket.Hourly) }, true},
		"schedule":    {func(d *Definition) { d.Grace, d.DependsOnPast = Duration(time.Minute), true }, true},
		"checks":      {func(d *Definition) { d.Checks = []Check{{Min: "0"}} }, true},
		"recipients":  {func(d *Definition) { d.EmailOnRetry, d.Email = true, []string{"ops@example.com"} }, true},
		"event type":  {func(d *Definition) { d.Calculation.Stream.EventType = "block" }, false},
		"each":        {func(d *Definition) { d.Calculation.Stream.Each = "event.x" }, false},
		"where":       {func(d *Definition) { d.Calculation.Stream.Where = "event.x" }, false},
		"value":       {func(d *Definition) { d.Calculation.Stream.Value = "event.x" }, false},
		"scale":       {func(d *Definition) { d.Calculation.Stream.Scale = 1 }, false},
		"time":        {func(d *Definition) { d.Calculation.Stream.Time = "event.x" }, false},
		"dimensions":  {func(d *Definition) { d.Calculation.Stream.Dimensions = nil }, false},
		"stream":      {func(d *Definition) { d.Calculation.Stream = nil }, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			changed := base()
			test.change(&changed)
			if base().SameCalculation(changed) != test.want || changed.SameCalculation(base()) != test.want {
				t.Errorf("want %t", test.want)
			}
		})
	}
}

// TestEveryFieldChangesTheCalculation changes each field of a definition, so that a new one has to be thought of.
func TestEveryFieldChangesTheCalculation(t *testing.T) {
	t.Parallel()
	free := []string{
		"Name", "Description", "Unit", "Complexity", "Owner", "Tags", "Fill", "Cumulative", "MaxDimensions", "Chains", "BucketSizes",
		"Schedule", "Alerting", "Checks", "Calculation.SQL.MaxRows",
	}
	base := func() Definition {
		d := definition("sum", Stream{Dimensions: map[string]string{"a": "event.a"}})
		d.Calculation.SQL, d.Calculation.Derived = &SQL{}, &Derived{}
		return d
	}
	tested := 0
	var visit func(path string, fieldOf func(*Definition) reflect.Value)
	visit = func(path string, fieldOf func(*Definition) reflect.Value) {
		changed := base()
		field := fieldOf(&changed)
		switch kind := field.Kind(); {
		case path == "Schedule":
			field.Set(reflect.ValueOf(Schedule{DependsOnPast: true}))
		case path == "Alerting":
			field.Set(reflect.ValueOf(Alerting{EmailOnFailure: new(bool), Email: []string{"ops@example.com"}}))
		case kind == reflect.Pointer:
			visit(path, func(d *Definition) reflect.Value { return fieldOf(d).Elem() })
			return
		case kind == reflect.Struct:
			for i := range field.NumField() {
				name := strings.TrimPrefix(path+"."+field.Type().Field(i).Name, ".")
				visit(name, func(d *Definition) reflect.Value { return fieldOf(d).Field(i) })
			}
			return
		case kind == reflect.String:
			field.SetString(field.String() + "x")
		case kind == reflect.Bool:
			field.SetBool(!field.Bool())
		case kind == reflect.Int:
			field.SetInt(field.Int() + 1)
		case kind == reflect.Float64:
			field.SetFloat(field.Float() + 0.01)
		case kind == reflect.Slice:
			field.Set(reflect.Append(field, reflect.Zero(field.Type().Elem())))
		case kind == reflect.Map:
			field.SetMapIndex(reflect.ValueOf("b"), reflect.ValueOf("event.b"))
		default:
			t.Fatalf("%s: say here how to change a %s", path, field.Kind())
		}
		tested++
		if got, want := base().SameCalculation(changed), slices.Contains(free, path); got != want {
			t.Errorf("another %s: the same calculation is %t, want %t", path, got, want)
		}
	}
	visit("", func(d *Definition) reflect.Value { return reflect.ValueOf(d).Elem() })
	if tested < len(definitionFields)-reflect.TypeFor[Schedule]().NumField()-reflect.TypeFor[Alerting]().NumField() {
		t.Errorf("%d fields were changed, fewer than there are", tested)
	}
}

// FuzzParse: no file makes it panic; what it accepts compiles, and is the same after it was stored.
func FuzzParse(f *testing.F) {
	f.Add([]byte(goodFile))
	f.Add([]byte("name: m\ntype: counter\ncalculation_logic: &a {stream: *a}\nchains: *a\n"))
	f.Add([]byte(checked("[{not_null: true}, {min: 0, severity: block}, {max: 1e3}, {max_change: '0.5'}, {monotonic: increasing}, {expression: value > 1}]")))
	f.Add([]byte("name: m\n---\n- a\n---\n{name: [x], tags: {a: b}, calculation_logic: {stream: {where: >\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		definitions, err := Parse("f.yaml", file, metricTypes)
		if err != nil {
			for line := range strings.Lines(err.Error()) {
				if strings.TrimSpace(line) == "" {
					t.Fatalf("an empty message: %q", err)
				}
			}
			return
		}
		for _, d := range definitions {
			kind, _ := Named(d.Type, metricTypes)
			if _, err := Compile(d, kind); err != nil {
				t.Fatal(err)
			}
			stored, err := json.Marshal(d)
			if err != nil {
				t.Fatal(err)
			}
			var back Definition
			if err := json.Unmarshal(stored, &back); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(d, back); diff != "" || !d.SameCalculation(back) {
				t.Fatalf("stored and read: %s", diff)
			}
		}
	})
}
