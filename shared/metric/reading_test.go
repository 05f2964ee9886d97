package metric

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadBy(t *testing.T) {
	t.Parallel()
	const all = "all"
	for text, want := range map[string]string{
		`1 + 1`:                                     "",
		`event.a + event.b * event.a`:               "a b",
		`event["a"] == event.b`:                     "a b",
		`event.a["b"].c`:                            "a",
		`event.a[event.b].c`:                        "a b",
		`event.a[0].b + event.c[1]`:                 "a c",
		`has(event.a)`:                              "a",
		`has(event.a.b) ? event.c : "d"`:            "a c",
		`event.a == "b" && "c" in event.d`:          "a d",
		`block.a + event.b`:                         "a b",
		`has(block.a) && block["b"] > 1`:            "a b",
		`it.a + event.b`:                            "b",
		`event.it == 1`:                             "it",
		`event.event.block`:                         "event",
		`event.a.exists(x, x.b == event.c)`:         "a c",
		`event.a.map(x, event.b > x, x.c)[0]`:       "a b",
		`event.a.all(x, event.b.exists(y, x == y))`: "a b",
		`{"a": event.b}["c"]`:                       "b",
		`[event.a, event.b][0].c`:                   "a b",
		`(event.a ? event.b : event.c).d`:           "a b c",
		`event[event.a]`:                            all,
		`event["a" + "b"]`:                          all,
		`(event.a > 1 ? event : block).b`:           all,
		`"a" in event`:                              all,
		`size(event)`:                               all,
		`event == block`:                            all,
		`event.exists(name, name == "a")`:           all,
		`event.a.exists(x, x in event)`:             all,
		`[event][0].a`:                              all,
		`{"a": block}["a"].b`:                       all,
		`event.a + block[it]`:                       all,
	} {
		e, mistakes := compileExpression(text, words(true))
		if len(mistakes) > 0 {
			t.Fatalf("%s: %v", text, mistakes)
		}
		got := strings.Join(slices.Sorted(maps.Keys(e.reads)), " ")
		if e.readsAll {
			got = all
		}
		if got != want {
			t.Errorf("%s looks at %q, want %q", text, got, want)
		}
	}
}

func TestFields(t *testing.T) {
	t.Parallel()
	for want, stream := range map[string]Stream{
		"[] false":  {},
		"[] true":   {Where: "size(event) > 1"},
		"[a] false": {Where: "event.a > 1", Value: "event.a"},
		"[a b c d e f] false": {
			Each: "event.b", Where: "it > event.f", Value: "event.a", Time: "block.d",
			Dimensions: map[string]string{"x": "event.c", "y": "it.g + event.e"},
		},
		"[a] true": {Value: "event.a", Dimensions: map[string]string{"x": "event[event.a]"}},
	} {
		program, err := Compile(definition("sum", stream), counterType)
		if err != nil {
			t.Fatal(err)
		}
		names, all := program.Fields()
		if got := fmt.Sprint(names, all); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// onlyRead leaves the fields that are looked at, as reading the archive does.
func onlyRead(fields map[string]any, names []string, all bool) map[string]any {
	if all || fields == nil {
		return fields
	}
	few := maps.Clone(fields)
	maps.DeleteFunc(few, func(name string, _ any) bool { return !slices.Contains(names, name) })
	return few
}

// observeOnlyRead compares what is observed of a sample with what is observed of the fields that the program looks at.
func observeOnlyRead(t *testing.T, program *Program, want []Observation, failed error) {
	t.Helper()
	event := sample(t)
	names, all := program.Fields()
	event.Fields, event.Block = onlyRead(event.Fields, names, all), onlyRead(event.Block, names, all)
	got, err := program.Observe(nil, event)
	if fmt.Sprint(err) != fmt.Sprint(failed) {
		t.Errorf("of %q alone: %v, not %v", names, err, failed)
	}
	if diff := cmp.Diff(seen(want), seen(got)); diff != "" {
		t.Errorf("of %q alone: %s", names, diff)
	}
}
