package metric

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/decimal"
)

var chainTime = time.Date(2009, 1, 12, 3, 30, 25, 0, time.UTC)

const sampleTransaction = `{
	"hash": "f4184fc5", "is_coinbase": false, "value": 1e23, "fee": 10.5, "to": null, "nul": "a\u0000b",
	"block_timestamp": 1231731025, "when": "2009-01-12T03:30:25.1234567Z", "bigquery": "2009-01-12 03:30:25.5 UTC",
	"from": "alice", "quote": "a\"<b>\u2028", "long": "HALFHALF!", "half": "HALF", "huge": 1e900,
	"inputs": [{"addresses": ["alice"], "value": 50}],
	"outputs": [
		{"type": "pubkey", "value": 10, "addresses": ["bob", "carol"]},
		{"type": "pubkeyhash", "value": 40, "addresses": ["alice"]},
		{"type": "nulldata", "value": 0, "addresses": []}
	]
}`

func sample(t testing.TB) events.Event {
	t.Helper()
	return events.Event{
		Type: "transaction", Chain: "bitcoin", Time: chainTime, Place: events.ID{Major: 170, Minor: 1},
		Fields: fields(t, strings.ReplaceAll(sampleTransaction, "HALF", strings.Repeat("x", 512))),
		Block:  fields(t, `{"number": 170, "median_time": 1231730000.1234567}`),
	}
}

func definition(aggregate string, s Stream) Definition {
	if s.EventType == "" {
		s.EventType = "transaction"
	}
	return Definition{
		Name: "sample", Type: "counter", Aggregate: aggregate, Chains: []string{"bitcoin", "litecoin"},
		BucketSizes: []bucket.Size{bucket.Daily}, Calculation: Calculation{Stream: &s},
	}
}

// seen words observations: value or elements, dimensions where there are any, time where it is not the chain time.
func seen(observations []Observation) []string {
	var all []string
	for _, o := range observations {
		text := o.Number.String()
		if o.Elements != nil {
			text = "[" + strings.Join(o.Elements, " ") + "]"
		}
		if o.Dimensions != "{}" {
			text += " " + o.Dimensions
		}
		if !o.Time.Equal(chainTime) {
			text += " " + o.Time.Format(time.RFC3339Nano)
		}
		all = append(all, text)
	}
	return all
}

func TestObserve(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		aggregate string
		stream    Stream
		want      []string
		err       string
	}{
		"one without a value":         {"sum", Stream{}, []string{"1"}, ""},
		"count":                       {"count", Stream{}, []string{"1"}, ""},
		"value":                       {"sum", Stream{Value: "event.value + 1"}, []string{"100000000000000000000001"}, ""},
		"negative value":              {"sum", Stream{Value: "-event.fee"}, []string{"-10.5"}, ""},
		"scale":                       {"sum", Stream{Value: "event.value", Scale: -18}, []string{"100000"}, ""},
		"scale up":                    {"sum", Stream{Value: "event.fee", Scale: 8}, []string{"1050000000"}, ""},
		"scaled one":                  {"sum", Stream{Scale: -8}, []string{"0.00000001"}, ""},
		"scaled out of range":         {"sum", Stream{Value: "event.huge * 1e99", Scale: 100}, nil, "value: number out of range"},
		"of another type":             {"sum", Stream{EventType: "block"}, nil, ""},
		"where":                       {"sum", Stream{Where: "event.fee > 10"}, []string{"1"}, ""},
		"where not":                   {"sum", Stream{Where: "event.is_coinbase"}, nil, ""},
		"where a field is missing":    {"sum", Stream{Where: "event.missing > 10"}, nil, ""},
		"where an element is missing": {"sum", Stream{Where: `event.outputs[7].type == "pubkey"`}, nil, ""},
		"where types differ":          {"sum", Stream{Where: `event.fee > event.hash`}, nil, "where: > does not take (decimal, string)"},
		"where is no boolean":         {"sum", Stream{Where: "event.fee"}, nil, "where: not a boolean"},
		"where divides by zero":       {"sum", Stream{Where: "event.fee / 0 > 1"}, nil, "where: division by zero"},
		"value missing":               {"sum", Stream{Value: "event.gas_used"}, nil, `value: no field "gas_used"`},
		"value is no number":          {"sum", Stream{Value: "event.hash"}, nil, "value: not a number"},
		"value is null":               {"sum", Stream{Value: "event.to"}, nil, "value: not a number"},
		"block":                       {"sum", Stream{Value: "block.number"}, []string{"170"}, ""},

		"dimensions": {
			"sum",
			Stream{Dimensions: map[string]string{
				"whole": "event.value", "hash": "event.hash", "coinbase": "event.is_coinbase", "fee": "event.fee * 2.00",
			}},
			[]string{`1 {"coinbase":"false","fee":"21","hash":"f4184fc5","whole":"100000000000000000000000"}`},
			"",
		},
		"quoted dimension":    {"sum", Stream{Dimensions: map[string]string{"q": "event.quote"}}, []string{`1 {"q":"a\"<b>\u2028"}`}, ""},
		"dimension missing":   {"sum", Stream{Dimensions: map[string]string{"d": "event.x"}}, nil, `dimensions.d: no field "x"`},
		"dimension is null":   {"sum", Stream{Dimensions: map[string]string{"d": "event.to"}}, nil, "dimensions.d: not a text, number or boolean"},
		"dimension is a list": {"sum", Stream{Dimensions: map[string]string{"d": "event.outputs"}}, nil, "dimensions.d: not a text, number or boolean"},
		"NUL in a dimension":  {"sum", Stream{Dimensions: map[string]string{"d": "event.nul"}}, nil, "dimensions.d: contains a NUL character"},
		"dimension too long":  {"sum", Stream{Dimensions: map[string]string{"d": "event.long"}}, nil, "dimensions: longer than 1024 bytes"},
		"dimensions too long": {
			"sum", Stream{Dimensions: map[string]string{"a": "event.half", "b": "event.half"}}, nil, "dimensions: longer than 1024 bytes",
		},

		"time in seconds":     {"sum", Stream{Time: "event.block_timestamp - 25"}, []string{"1 2009-01-12T03:30:00Z"}, ""},
		"time in fractions":   {"sum", Stream{Time: "block.median_time"}, []string{"1 2009-01-12T03:13:20.123456Z"}, ""},
		"time as RFC 3339":    {"sum", Stream{Time: "event.when"}, []string{"1 2009-01-12T03:30:25.123456Z"}, ""},
		"time zone":           {"sum", Stream{Time: `"2009-01-12T05:30:26+02:00"`}, []string{"1 2009-01-12T03:30:26Z"}, ""},
		"time of BigQuery":    {"sum", Stream{Time: "event.bigquery"}, []string{"1 2009-01-12T03:30:25.5Z"}, ""},
		"7 days earlier":      {"sum", Stream{Time: "event.block_timestamp - 7*86400"}, []string{"1 2009-01-05T03:30:25Z"}, ""},
		"7 days later":        {"sum", Stream{Time: "event.block_timestamp + 7*86400"}, []string{"1 2009-01-19T03:30:25Z"}, ""},
		"too early":           {"sum", Stream{Time: "event.block_timestamp - 7*86400 - 0.000001"}, nil, "time: more than 7 days from the event's chain time"},
		"too late":            {"sum", Stream{Time: "event.block_timestamp + 7*86400 + 0.000001"}, nil, "time: more than 7 days from the event's chain time"},
		"absurdly late":       {"sum", Stream{Time: "event.huge"}, nil, "time: more than 7 days from the event's chain time"},
		"out of all range":    {"sum", Stream{Time: "event.huge * 1e99 * 10"}, nil, "time: more than 7 days from the event's chain time"},
		"no time":             {"sum", Stream{Time: "event.hash"}, nil, "time: neither Unix seconds nor a text such as 2009-01-03T18:15:05Z"},
		"time is null":        {"sum", Stream{Time: "event.to"}, nil, "time: neither Unix seconds nor a text such as 2009-01-03T18:15:05Z"},
		"time without a zone": {"sum", Stream{Time: `"2009-01-12T05:30:26"`}, nil, "time: neither Unix seconds nor a text such as 2009-01-03T18:15:05Z"},
		"time is missing":     {"sum", Stream{Time: "event.median_time"}, nil, `time: no field "median_time"`},

		"each": {
			"sum",
			Stream{Each: "event.outputs", Value: "it.value", Dimensions: map[string]string{"type": "it.type"}},
			[]string{`10 {"type":"pubkey"}`, `40 {"type":"pubkeyhash"}`, `0 {"type":"nulldata"}`},
			"",
		},
		"each where the element": {"sum", Stream{Each: "event.outputs", Where: "it.value > 5", Value: "it.value"}, []string{"10", "40"}, ""},
		"each where the event":   {"sum", Stream{Each: "event.none", Where: "event.is_coinbase"}, nil, ""},
		"each counted":           {"count", Stream{Each: "event.outputs"}, []string{"1", "1", "1"}, ""},
		"each of a made list":    {"sum", Stream{Each: "[event.fee, 3]", Value: "it * 2"}, []string{"21", "6"}, ""},
		"each of a filtered one": {"sum", Stream{Each: "event.outputs.filter(o, o.value > 10)", Value: "it.value"}, []string{"40"}, ""},
		"each of nothing":        {"sum", Stream{Each: "event.outputs[2].addresses"}, nil, ""},
		"each is no list":        {"sum", Stream{Each: "event.hash"}, nil, "each: not a list"},
		"each is missing":        {"sum", Stream{Each: "event.logs"}, nil, `each: no field "logs"`},
		"one element fails":      {"sum", Stream{Each: "event.outputs", Value: "it.addresses[0] == \"bob\" ? 1 : 2"}, nil, "value: no such element"},

		"distinct text":    {"distinct", Stream{Value: "event.hash"}, []string{"[f4184fc5]"}, ""},
		"distinct number":  {"distinct", Stream{Value: "event.fee * 2"}, []string{"[21]"}, ""},
		"distinct boolean": {"distinct", Stream{Value: "event.is_coinbase"}, []string{"[false]"}, ""},
		"distinct lists": {
			"distinct",
			Stream{Value: "event.inputs.map(i, i.addresses) + event.outputs.map(o, o.addresses)"},
			[]string{"[alice bob carol alice]"},
			"",
		},
		"distinct pair":    {"distinct", Stream{Value: "[event.from, event.hash]"}, []string{"[alice f4184fc5]"}, ""},
		"distinct nothing": {"distinct", Stream{Value: "event.outputs[2].addresses"}, []string{"[]"}, ""},
		"distinct unless null": {
			"distinct", Stream{Value: "event.to == null ? [event.from] : [event.from, event.to]"}, []string{"[alice]"}, "",
		},
		"distinct null": {"distinct", Stream{Value: "[event.from, event.to]"}, nil, "value: not a text, number or boolean"},
		"distinct map":  {"distinct", Stream{Value: "event.outputs"}, nil, "value: not a text, number or boolean"},
		"distinct NUL":  {"distinct", Stream{Value: "event.nul"}, nil, "value: contains a NUL character"},
		"distinct long": {"distinct", Stream{Value: "event.long"}, nil, "value: an element is longer than 1024 bytes"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			program, err := Compile(definition(test.aggregate, test.stream), counterType)
			if err != nil {
				t.Fatal(err)
			}
			got, err := program.Observe(nil, sample(t))
			if reason := fmt.Sprint(err); err != nil && reason != test.err || err == nil && test.err != "" {
				t.Fatalf("got error %v, want %s", err, test.err)
			}
			if diff := cmp.Diff(test.want, seen(got)); diff != "" {
				t.Error(diff)
			}
			observeOnlyRead(t, program, got, err)
		})
	}
}

// TestCostOfAnEventIsLimited gives long lists to definitions of which no single evaluation takes long.
func TestCostOfAnEventIsLimited(t *testing.T) {
	t.Parallel()
	long := make([]any, 20_000)
	for i := range long {
		long[i] = json.Number(fmt.Sprint(i))
	}
	nested := "[[1]]" + strings.Repeat(".map(a, a + a)", 12) // 4096 elements
	tests := map[string]struct {
		aggregate string
		stream    Stream
		err       string
	}{
		"value loops":       {"sum", Stream{Each: "event.l", Value: "event.l.map(a, a).size()"}, "value: takes too long"},
		"where loops":       {"sum", Stream{Each: "event.l", Where: "event.l.exists(a, a == it + 50)"}, "where: takes too long"},
		"where finds none":  {"sum", Stream{Each: "event.l", Where: "event.l.filter(a, a < 0)[0] == it"}, "where: takes too long"},
		"dimensions loop":   {"count", Stream{Each: "event.l", Dimensions: map[string]string{"d": "event.l.all(a, a < 0 || it >= 0)"}}, "dimensions.d: takes too long"},
		"time loops":        {"count", Stream{Each: "event.l", Time: "event.l.all(a, true) ? event.at : 0"}, "time: takes too long"},
		"in without a loop": {"sum", Stream{Each: "event.l", Where: "!(it + 0.5 in event.l)"}, "where: takes too long"},
		"a text again":      {"sum", Stream{Each: "event.l", Where: `event.t.contains("y") == (it < 0)`}, "where: takes too long"},
		"size of a text":    {"sum", Stream{Each: "event.l", Value: "size(event.t)"}, "value: takes too long"},
		"many elements": {
			"distinct", Stream{Each: "event.l", Value: nested}, "value: takes too long",
		},
		"too many elements": {
			"distinct", Stream{Value: "[[1]]" + strings.Repeat(".map(a, a + a)", 26)}, "value: takes too long",
		},
		"elements of lists": {
			"distinct", Stream{Value: "event.l.map(a, event.l)"}, "value: takes too long",
		},
		"elements without texts": {
			"distinct", Stream{Value: "event.l.map(a, event.l.filter(b, false))"}, "value: takes too long",
		},
		"each of lists": {"count", Stream{Each: nested + "[0]" + strings.Repeat(" + event.l", 50)}, "each: takes too long"},
		"one pass":      {"count", Stream{Each: "event.l", Where: "it % 2 == 1", Dimensions: map[string]string{"d": "it > 100"}}, ""},
		"one pass over all": {
			"distinct", Stream{Where: "event.l.exists(a, a == 19999)", Value: "event.l"}, "",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			program, err := Compile(definition(test.aggregate, test.stream), counterType)
			if err != nil {
				t.Fatal(err)
			}
			event := events.Event{Type: "transaction", Chain: "bitcoin", Time: chainTime, Fields: map[string]any{
				"l": long, "t": strings.Repeat("x", 1_000_000), "at": json.Number(fmt.Sprint(chainTime.Unix())),
			}}
			begin := time.Now()
			_, err = program.Observe(nil, event)
			if reason := fmt.Sprint(err); err != nil && reason != test.err || err == nil && test.err != "" {
				t.Errorf("got error %v, want %s", err, test.err)
			}
			if took := time.Since(begin); took > 20*time.Second {
				t.Errorf("took %s", took)
			}
			if _, again := program.Observe(nil, event); fmt.Sprint(again) != fmt.Sprint(err) {
				t.Errorf("the second time: %v, not %v", again, err)
			}
		})
	}
}

func TestObserveOtherEvents(t *testing.T) {
	t.Parallel()
	program, err := Compile(definition("sum", Stream{Value: "block.number"}), counterType)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"bitcoin", "litecoin"}, program.Chains()); diff != "" || !slices.Equal(program.EventTypes(), []string{"transaction"}) {
		t.Errorf("%s %s", diff, program.EventTypes())
	}
	other := sample(t)
	other.Chain = "dogecoin"
	if got, err := program.Observe(nil, other); got != nil || err != nil {
		t.Errorf("another chain: got %v, %v", got, err)
	}
	flat := sample(t)
	flat.Block = nil
	if got, err := program.Observe(nil, flat); got != nil || fmt.Sprint(err) != "value: the event has no block" {
		t.Errorf("outside a block: got %v, %v", got, err)
	}
	fraction := sample(t)
	fraction.Time = time.Date(2009, 1, 12, 4, 30, 25, 123456789, time.FixedZone("", 3600))
	program, err = Compile(definition("sum", Stream{}), counterType)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := program.Observe(nil, fraction); err != nil || got[0].Time != time.Date(2009, 1, 12, 3, 30, 25, 123456000, time.UTC) {
		t.Errorf("got %v, %v", got, err)
	}
}

// Sums of what is observed are exact beyond 2^64, and a program may be used by many goroutines.
func TestObserveConcurrently(t *testing.T) {
	t.Parallel()
	program, err := Compile(definition("sum", Stream{Each: "event.outputs", Where: "it.value > 0", Value: "it.value * event.value + 1"}), counterType)
	if err != nil {
		t.Fatal(err)
	}
	event := sample(t)
	var wait sync.WaitGroup
	sums := make([]decimal.Decimal, 4)
	for i := range sums {
		wait.Go(func() {
			for range 200 {
				observations, err := program.Observe(nil, event)
				if err != nil {
					t.Error(err)
				}
				for _, o := range observations {
					if sums[i], err = sums[i].Add(o.Number); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wait.Wait()
	for _, sum := range sums {
		if sum.String() != "1000000000000000000000000400" {
			t.Errorf("got %s", sum)
		}
	}
}

func FuzzDimensions(f *testing.F) {
	f.Add("type", "pubkey", "text", "a\"\\\u2028<\x7f")
	f.Add("a", "", "b", "\xff")
	f.Fuzz(func(t *testing.T, name1, value1, name2, value2 string) {
		for _, text := range []string{name1, value1, name2, value2} {
			if checkText(text) != nil {
				return
			}
		}
		dimensions := map[string]string{name1: value1, name2: value2}
		encoded := EncodeDimensions(dimensions)
		decoded, err := DecodeDimensions(encoded)
		if err != nil {
			t.Fatalf("decode %s: %v", encoded, err)
		}
		if diff := cmp.Diff(dimensions, decoded); diff != "" || EncodeDimensions(decoded) != encoded {
			t.Fatalf("%s: %s", encoded, diff)
		}
		var buffer strings.Builder
		encoder := json.NewEncoder(&buffer)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(value1); err != nil {
			t.Fatal(err)
		}
		if quoted := appendQuoted(nil, value1); string(quoted)+"\n" != buffer.String() {
			t.Fatalf("%q is quoted as %s and as %s", value1, quoted, buffer.String())
		}
	})
}

func BenchmarkObserve(b *testing.B) {
	event := sample(b)
	for name, d := range map[string]Definition{
		"count":    definition("count", Stream{}),
		"sum":      definition("sum", Stream{Where: "!event.is_coinbase", Value: "event.fee", Scale: -8}),
		"each":     definition("count", Stream{Each: "event.outputs", Dimensions: map[string]string{"type": "it.type"}}),
		"distinct": definition("distinct", Stream{Value: "event.inputs.map(i, i.addresses) + event.outputs.map(o, o.addresses)"}),
		"time":     definition("sum", Stream{Time: "block.median_time"}),
	} {
		b.Run(name, func(b *testing.B) {
			program, err := Compile(d, counterType)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			var observations []Observation
			for b.Loop() {
				if observations, err = program.Observe(observations[:0], event); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
