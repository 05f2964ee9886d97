package functions_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/examples"
	"github.com/chainmetrics/chainmetrics/functions"
	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/decimal"
	"github.com/chainmetrics/chainmetrics/shared/metric"
)

// kind is a metric type with one of its aggregates.
type kind struct {
	aggregate.Type
	aggregate  metric.Aggregate
	definition metric.Definition
}

func (k kind) String() string { return k.definition.Type + " " + k.definition.Aggregate }

// kinds are all metric types with each of their aggregates.
func kinds() (all []kind) {
	for _, t := range functions.Types {
		may := t.Definitions()
		for _, a := range may.Aggregates {
			all = append(all, kind{t, a, metric.Definition{Type: may.Name, Aggregate: a.Name, RelativeError: may.RelativeError}})
		}
	}
	return all
}

// TestAnySplitGivesTheSameState cuts observations into parts, encodes and decodes each, merges them in any order and in any
// tree, and compares encodings and values.
func TestAnySplitGivesTheSameState(t *testing.T) {
	t.Parallel()
	for _, k := range kinds() {
		for _, n := range []int{0, 1, 2, 100, 8191, 8193, 30_000} {
			t.Run(fmt.Sprintf("%s of %d", k, n), func(t *testing.T) {
				t.Parallel()
				random := rand.New(rand.NewPCG(uint64(n), 7))
				observations := make([]metric.Observation, n)
				for i := range observations {
					observations[i] = observation(t, random, n)
				}
				whole := k.NewState(k.definition)
				for _, o := range observations {
					observe(t, whole, o)
				}
				value, detail := whole.Value()
				if detail != nil && !json.Valid(detail) {
					t.Errorf("detail is %s", detail)
				}
				for range 3 {
					merged := mergeInAnyTree(t, k, split(t, k, observations, random), random)
					if !bytes.Equal(merged.Encode(), whole.Encode()) {
						t.Fatal("the merged parts are not the whole")
					}
					mergedValue, mergedDetail := merged.Value()
					if !mergedValue.Equal(value) || !bytes.Equal(mergedDetail, detail) {
						t.Fatalf("the merged parts show %s %s, the whole %s %s", mergedValue, mergedDetail, value, detail)
					}
				}
			})
		}
	}
}

// observation makes one of a few thousand times and places, so that some are the same.
func observation(t *testing.T, random *rand.Rand, n int) metric.Observation {
	t.Helper()
	texts := []string{"0", "-1", "1e-18", "123456789012345678901234567890", fmt.Sprintf("%de-%d", random.Int64()-1<<62, random.IntN(30))}
	number, err := decimal.Parse(texts[random.IntN(len(texts))])
	if err != nil {
		t.Fatal(err)
	}
	return metric.Observation{
		Time:     time.UnixMicro(1_231_006_505_000_000 + random.Int64N(50)).UTC(),
		Place:    metric.Place{Event: events.ID{Major: random.Uint64N(5), Minor: random.Uint64N(5)}, Element: random.IntN(3)},
		Number:   number,
		Elements: []string{strconv.Itoa(random.IntN(n)), strconv.Itoa(random.Int())},
	}
}

func split(t *testing.T, k kind, observations []metric.Observation, random *rand.Rand) [][]byte {
	t.Helper()
	parts := make([]aggregate.State, 1+random.IntN(9))
	for i := range parts {
		parts[i] = k.NewState(k.definition)
	}
	for _, i := range random.Perm(len(observations)) {
		observe(t, parts[random.IntN(len(parts))], observations[i])
	}
	encoded := make([][]byte, len(parts))
	for i, part := range parts {
		encoded[i] = part.Encode()
	}
	return encoded
}

func mergeInAnyTree(t *testing.T, k kind, parts [][]byte, random *rand.Rand) aggregate.State {
	t.Helper()
	var states []aggregate.State
	for _, part := range parts {
		state, err := k.DecodeState(k.definition, part)
		if err != nil {
			t.Fatal(err)
		}
		states = append(states, state)
	}
	for len(states) > 1 {
		random.Shuffle(len(states), func(i, j int) { states[i], states[j] = states[j], states[i] })
		last := len(states) - 1
		if err := states[random.IntN(last)].Merge(states[last]); err != nil {
			t.Fatal(err)
		}
		states = states[:last]
	}
	return states[0]
}

// TestTypesSayWhatTheyShow compares the names in value_json with those that the type says there are.
func TestTypesSayWhatTheyShow(t *testing.T) {
	t.Parallel()
	for _, k := range kinds() {
		level := k.Definitions().Level
		if level != "" && !slices.Contains(k.aggregate.Detail, level) {
			t.Errorf("%s: its level %s is not in value_json", k, level)
		}
		state := k.NewState(k.definition)
		for i := range 8193 { // a count of distinct elements shows its error only beyond
			observe(t, state, metric.Observation{Number: decimal.FromInt64(int64(i)), Elements: []string{strconv.Itoa(i)}})
		}
		var shown map[string]json.RawMessage
		if _, detail := state.Value(); detail != nil {
			if err := json.Unmarshal(detail, &shown); err != nil {
				t.Fatal(err)
			}
		}
		want := slices.Sorted(slices.Values(k.aggregate.Detail))
		if got := slices.Sorted(maps.Keys(shown)); !slices.Equal(got, want) {
			t.Errorf("%s shows %q, and says that it shows %q", k, got, want)
		}
	}
}

// TestExamples: the example metrics are right, say what they are, and show every metric type and bucket size.
func TestExamples(t *testing.T) {
	t.Parallel()
	files, err := fs.Glob(examples.Metrics, "metrics/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	types, sizes := map[string]bool{}, make(map[bucket.Size]bool)
	for _, file := range files {
		text, err := fs.ReadFile(examples.Metrics, file)
		if err != nil {
			t.Fatal(err)
		}
		definitions, err := metric.Parse(file, text, functions.Definitions())
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range definitions {
			if d.Description == "" {
				t.Errorf("%s: %s lacks a description", file, d.Name)
			}
			types[d.Type] = true
			for _, size := range d.BucketSizes {
				sizes[size] = true
			}
		}
	}
	if len(types) != len(functions.Types) || len(sizes) != len(bucket.Sizes()) {
		t.Errorf("the examples show the types %v and the sizes %v", types, sizes)
	}
}

// TestRefusedObservationsLeaveNothing observes numbers that no sum may hold.
func TestRefusedObservationsLeaveNothing(t *testing.T) {
	t.Parallel()
	for _, k := range kinds() {
		if k.aggregate.Takes != metric.Number {
			continue // it does not look at the number
		}
		state := k.NewState(k.definition)
		for _, text := range []string{"1e901", "-1e901"} {
			number, err := decimal.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			if err := state.Observe(metric.Observation{Number: number}); err == nil {
				t.Errorf("%s: %s was added", k, text)
			}
		}
		if empty := k.NewState(k.definition); !bytes.Equal(state.Encode(), empty.Encode()) {
			t.Errorf("%s: refused numbers left %x", k, state.Encode())
		}
	}
}

// TestStatesOfOtherTypesAreRefused merges every type's states into those of every other.
func TestStatesOfOtherTypesAreRefused(t *testing.T) {
	t.Parallel()
	for _, a := range functions.Types {
		for _, b := range functions.Types {
			into, from := a.NewState(definitionOf(a)), b.NewState(definitionOf(b))
			if err := into.Merge(from); (err == nil) != (a == b) {
				t.Errorf("%s into %s: %v", b.Definitions().Name, a.Definitions().Name, err)
			}
		}
	}
}

func definitionOf(t aggregate.Type) metric.Definition {
	may := t.Definitions()
	return metric.Definition{Type: may.Name, Aggregate: may.Aggregates[0].Name, RelativeError: may.RelativeError}
}

// FuzzDecodeState looks for bytes that are read as a state which is written differently, or that cannot be shown.
func FuzzDecodeState(f *testing.F) {
	for i, k := range kinds() {
		state := k.NewState(k.definition)
		f.Add(i, state.Encode())
		for n := range 3 {
			o := metric.Observation{
				Time: time.UnixMicro(int64(n)), Number: decimal.FromInt64(int64(-12 * n)), Elements: []string{"a", strconv.Itoa(n)},
			}
			if err := state.Observe(o); err != nil {
				f.Fatal(err)
			}
			f.Add(i, state.Encode())
		}
	}
	all := kinds()
	f.Fuzz(func(t *testing.T, i int, encoded []byte) {
		if i < 0 || i >= len(all) {
			return
		}
		state, err := all[i].DecodeState(all[i].definition, encoded)
		if err == nil && !bytes.Equal(state.Encode(), encoded) {
			t.Fatalf("%s: %x was read, and is written as %x", all[i], encoded, state.Encode())
		}
	})
}

func observe(t *testing.T, state aggregate.State, o metric.Observation) {
	t.Helper()
	if err := state.Observe(o); err != nil {
		t.Fatal(err)
	}
}
