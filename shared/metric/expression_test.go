package metric

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"cel.dev/cel-go/common/types"
)

const sampleEvent = `{
	"value": 12.5, "n": 3, "big": 100000000000000000000001, "text": "abc", "flag": true, "nothing": null,
	"mixed": [1, 2, "x"], "outputs": [{"v": 1, "type": "a"}, {"v": 2, "type": "b"}], "place": 1, "deep": {"er": {"q": 7}},
	"beyond": {"huge": 1e99999}, "key": "text"
}`

func fields(t testing.TB, data string) map[string]any {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(data))
	decoder.UseNumber()
	var m map[string]any
	if err := decoder.Decode(&m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestExpressions(t *testing.T) {
	t.Parallel()
	tests := map[string]string{ // what an expression gives, or the error in parentheses
		// Numbers are decimals, exactly as they are written.
		`event.value + 1`:                   "13.5",
		`event.big * event.big`:             "10000000000000000000000200000000000000000000001",
		`0.1 + 0.2 == 0.3`:                  "true",
		`0.1234567890123456789012345 * 10`:  "1.234567890123456789012345",
		`100000000000000000000001.0 - 1e23`: "1",
		`1/3`:                               "0.33333333333333333333333333333333333333",
		`2 / 3`:                             "0.66666666666666666666666666666666666667",
		`1.5-event.n`:                       "-1.5",
		`-1.5 + .5e1-2`:                     "1.5",
		`-event.n`:                          "-3",
		`0x10 + 1`:                          "17",
		`-7 % 4`:                            "-3",
		`1 == 1.0`:                          "true",
		`9223372036854775807 + 1`:           "9223372036854775808",
		`007.5`:                             "7.5",
		`00.25 * 4`:                         "1",
		`01.5+1`:                            "2.5",
		`000e3 + 010e1`:                     "100",
		`- 0.12345678901234567890123`:       "-0.12345678901234567890123",
		"-\n\t .12345678901234567890123":    "-0.12345678901234567890123",
		`1 - 0.12345678901234567890123`:     "0.87654321098765432109877",
		`-// a
			0.5`: "(1:1: this number cannot be read as it is written: write it as 0.5 or -0.5, without anything between its parts)",
		`decimal("1e21") + 1`:           "1000000000000000000001",
		`decimal(event.n)`:              "3",
		`string(1.50)`:                  "1.5",
		`event.n / 0`:                   "(division by zero)",
		`event.n % 0`:                   "(division by zero)",
		`1e300 * 1e300 * 1e300 * 1e300`: "(number out of range)",
		`event.beyond.huge + 1`:         "(number out of range)",
		`decimal(event.text)`:           "(text is no number)",
		`decimal("1e5000")`:             "(number out of range)",

		// Equality and order of one type only, and the same from both sides.
		`event.value == 12.50`:             "true",
		`12.50 == event.value`:             "true",
		`event.value != 12.5`:              "false",
		`event.value == "a"`:               "(cannot compare values of different types)",
		`"a" == event.value`:               "(cannot compare values of different types)",
		`"a" != event.value`:               "(cannot compare values of different types)",
		`event.flag == 1`:                  "(cannot compare values of different types)",
		`event.n < "a"`:                    "(< does not take (decimal, string))",
		`"a" < event.n`:                    "(< does not take (string, decimal))",
		`event.nothing > 1`:                "(> does not take (null, decimal))",
		`event.flag < event.flag`:          "(< does not take (bool, bool))",
		`"a" < event.text`:                 "true",
		`event.nothing == null`:            "true",
		`event.n == null`:                  "false",
		`null != event.text`:               "true",
		`event.outputs == event.mixed`:     "false",
		`event.mixed == event.mixed`:       "true",
		`event.mixed == [1, 2, 3]`:         "(cannot compare values of different types)",
		`event.mixed == [1, 3, 3]`:         "false",
		`event.deep == {"er": {"q": 7}}`:   "true",
		`event.deep == {"er": {"q": "7"}}`: "(cannot compare values of different types)",
		`event.deep == {"or": {"q": 7}}`:   "false",

		// Missing fields and elements, and both sides of || and &&.
		`event.missing > 1`:                      `(no field "missing")`,
		`event["missing"]`:                       `(no field "missing")`,
		`event[event.text]`:                      "(no such field)",
		`event[event.key]`:                       "abc",
		`event.text.missing`:                     `(no field "missing")`,
		`event.mixed.missing`:                    "(wrong type of value)",
		`event.outputs[2]`:                       "(no such element)",
		`event.outputs[event.value]`:             "(no such element)",
		`event.outputs[event.place].v`:           "2",
		`event.outputs[size(event.outputs)-1].v`: "2",
		`event.missing > 1 || event.n == 3`:      "true",
		`event.n == 3 || event.missing > 1`:      "true",
		`event.missing > 1 && event.n == 4`:      "false",
		`event.n == 4 || event.missing > 1`:      `(no field "missing")`,
		`has(event.missing)`:                     "false",
		`has(event.nothing)`:                     "true",
		`has(event.deep.er.q)`:                   "true",
		`has(event.missing.er)`:                  `(no field "missing")`,
		`block.number`:                           "(the event has no block)",
		`has(block.number)`:                      "(the event has no block)",

		// Texts, booleans, lists, macros.
		`event.text + "d"`:                                   "abcd",
		`event.text + 1`:                                     "(+ does not take (string, decimal))",
		`event.text + event.n`:                               "(+ does not take (string, decimal))",
		`event.text.startsWith("a") && "c" in event`:         "false",
		`event.n.startsWith("a")`:                            "(wrong type of value)",
		`event.text.matches("^a.c$")`:                        "true",
		`size(event.text) + event.outputs.size()`:            "5",
		`event.text in ["abc", "d"]`:                         "true",
		`event.n in [1, 2]`:                                  "false",
		`event.text in [1, 2]`:                               "(cannot compare values of different types)",
		`2 in event.mixed`:                                   "true",
		`"q" in event.mixed`:                                 "(cannot compare values of different types)",
		`"text" in event`:                                    "true",
		`event.n in event`:                                   "(cannot compare values of different types)",
		`event.n in {"3": 1}`:                                "(cannot compare values of different types)",
		`event.flag in event.deep`:                           "(cannot compare values of different types)",
		`event.nothing in event`:                             "false",
		`event.beyond.huge in event`:                         "(number out of range)",
		`event.nothing in ["a"]`:                             "false",
		`event.flag ? 1 : 2`:                                 "1",
		`event.text ? 1 : 2`:                                 "(wrong type of value)",
		`!event.n`:                                           "(wrong type of value)",
		`event.text && true`:                                 "(wrong type of value)",
		`event.outputs.exists(o, o.v == 2)`:                  "true",
		`event.outputs.all(o, o.v > 1)`:                      "false",
		`event.outputs.exists_one(o, o.v > 0)`:               "false",
		`event.outputs.exists_one(o, o.v == 2)`:              "true",
		`event.outputs.filter(o, o.v > 1).size()`:            "1",
		`event.outputs.map(o, o.v * 2)[1]`:                   "4",
		`event.outputs.map(o, o.v > 1, o.type)[0]`:           "b",
		`event.mixed.map(m, m + 1)`:                          "(+ does not take (string, decimal))",
		`{"abc": 7}[event.text]`:                             "7",
		`[event.n, "a"].size()`:                              "2",
		`([event.text] + ["z"])[1]`:                          "z",
		`event.n.exists(x, true)`:                            "(cannot be evaluated)",
		`event.outputs.map(o, o.missing).size()`:             `(no field "missing")`,
		`event.outputs.exists(o, o.missing == 1 || o.v > 1)`: "true",

		// Refused before any event is seen.
		`"a" == 1`:                          "(1:5: == does not take (string, decimal): decimal(text) reads a number from a text, string(number) writes one)",
		`1 < "a"`:                           "(1:3: < does not take (decimal, string): decimal(text) reads a number from a text, string(number) writes one)",
		`"é" + 1`:                           "(1:5: + does not take (string, decimal): decimal(text) reads a number from a text, string(number) writes one)",
		`1 < 2 < 3`:                         "(1:7: < does not take (bool, decimal))",
		`[1, "a"]`:                          "(1:5: a string in a list of decimals: write elements of one type)",
		`event.outputs[1.5]`:                "(1:15: elements of a list are counted 0, 1, 2, …)",
		`event.outputs[-1]`:                 "(1:15: elements of a list are counted 0, 1, 2, …)",
		`1000000000000000000000`:            `(1:1: this number is too large to be written so: write it as a text, decimal("…"), or as 1e21)`,
		`1e999`:                             `(1:1: this number is too large to be written so: write it as a text, decimal("…"), or as 1e21)`,
		`1u`:                                "(1:1: numbers are decimals: write 1)",
		`b"a"`:                              "(1:1: there are no bytes: write a text, without b before the quote)",
		`{1: 2}`:                            "(1:2: the keys of a map are texts: write them in quotes)",
		`evnt.x`:                            `(1:1: unknown name "evnt": did you mean "event"?)`,
		`event.s.startWith("a")`:            `(1:18: unknown name "startWith": did you mean "startsWith"?)`,
		`it.x`:                              `(1:1: "it" is an element of the list that "each" gives: write each: event.outputs, for example)`,
		`event.x +`:                         "(1:10: unexpected end of the expression)",
		"event.x >\n 1 &&& 2":               "(2:6: token recognition error at: '& ')",
		`event.outputs.exists(event, true)`: `(1:21: "event" is the name of a variable already: choose another one for the elements)`,
		`event.text.matches(event.text)`:    "(1:19: the pattern of matches must be written as a text, in quotes)",
		`event.text.matches("(")`:           "(error parsing regexp: missing closing ): `(`)",
		`Foo{a: 1}`:                         "(1:4: Foo{…} makes no value: expressions know texts, numbers, booleans, lists, maps)",
		`size(1)`:                           "(1:5: size does not take (decimal))",
		strings.Repeat("1 + ", 2000) + "1":  "(is longer than 4096 bytes)",
		strings.Repeat("(", 300) + "1" + strings.Repeat(")", 300): "(expression recursion limit exceeded: 250)",
	}
	event := fields(t, sampleEvent)
	for text, want := range tests {
		t.Run(text[:min(len(text), 40)], func(t *testing.T) {
			t.Parallel()
			got := outcome(text, event)
			if got != want {
				t.Errorf("%s\n got %s\nwant %s", text, got, want)
			}
			if e, mistakes := compileExpression(text, words(false)); len(mistakes) == 0 {
				few := onlyRead(event, slices.Collect(maps.Keys(e.reads)), e.readsAll)
				if got := outcome(text, few); got != want {
					t.Errorf("%s\n got %s of what it looks at\nwant %s", text, got, want)
				}
			}
		})
	}
}

func outcome(text string, event map[string]any) string {
	e, mistakes := compileExpression(text, words(false))
	if len(mistakes) > 0 {
		if mistakes[0].line == 0 {
			return "(" + mistakes[0].text + ")"
		}
		return fmt.Sprintf("(%d:%d: %s)", mistakes[0].line, mistakes[0].column, mistakes[0].text)
	}
	value, err := e.evaluate(&scope{event: event})
	if err != nil {
		return "(" + err.Error() + ")"
	}
	if n, ok := value.(number); ok {
		return n.String()
	}
	return fmt.Sprint(value.Value())
}

// An expression over long lists ends, whichever way it spends its time.
func TestCostIsLimited(t *testing.T) {
	t.Parallel()
	long := make([]any, 5000)
	for i := range long {
		long[i] = json.Number(fmt.Sprint(i))
	}
	event := map[string]any{"l": long, "t": strings.Repeat("x", 1_000_000)}
	for _, text := range []string{
		`event.l.all(a, event.l.all(b, event.l.all(c, true)))`,
		`event.l.all(a, !(-1 in event.l))`,
		`event.l.all(a, event.l == event.l)`,
		`event.l.map(a, event.l.map(b, a)) == []`,
		`event.l.all(a, event.t == event.t + "")`,
		`event.l.all(a, event.t.contains("y") == false)`,
		`event.l.all(a, event.t <= event.t)`,
		`event.l.all(a, size(event.t) > 1)`,
		`event.l.all(a, size(event.t + "a") > 1)`,
		// What grows twofold with each turn.
		`[[1]]` + strings.Repeat(`.map(a, a + a)`, 26),
		`["x"]` + strings.Repeat(`.map(a, a + a)`, 40),
		// Lists whose elements are long lists are compared in depth.
		`event.l.map(a, event.l) == event.l.map(a, event.l)`,
		`event.l.all(a, event.l.filter(b, false) == [])`,
		`event.l.map(a, event.l.filter(b, true)).size() > 0`,
		`{"a": event.l.map(a, event.l)} == {"a": event.l.map(a, event.l)}`,
	} {
		e, mistakes := compileExpression(text, words(false))
		if len(mistakes) > 0 {
			t.Fatal(mistakes)
		}
		if _, err := e.evaluate(&scope{event: event}); !errors.Is(err, errCost) {
			t.Errorf("%s: got %v", text, err)
		}
	}
	e, mistakes := compileExpression(`event.l.filter(a, a % 2 == 1).map(a, a * a).size()`, words(false))
	if len(mistakes) > 0 {
		t.Fatal(mistakes)
	}
	if value, err := e.evaluate(&scope{event: event}); err != nil || fmt.Sprint(value.(number)) != "2500" {
		t.Errorf("a pass over a long list: got %v, %v", value, err)
	}
}

func TestUsesElement(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		`it.value > 1`:                            true,
		`event.value > 1`:                         false,
		`event.it == 1`:                           false,
		`event.outputs.exists(o, o == it)`:        true,
		`event.outputs.exists(o, o.v == 1) ? 1:2`: false,
	} {
		e, mistakes := compileExpression(text, words(true))
		if len(mistakes) > 0 {
			t.Fatal(mistakes)
		}
		if e.usesElement != want {
			t.Errorf("%s: got %t", text, e.usesElement)
		}
	}
}

// FuzzExpression: nothing panics, nothing takes long, comparing is symmetric, reasons hold nothing of the event, and nothing
// else of it is looked at than is said.
func FuzzExpression(f *testing.F) {
	for _, seed := range []string{
		`event.value + 1`, `event.outputs.exists(o, o.v == 2)`, `event[event.text]`, `1/0`, `event.mixed == [1]`,
		`event.outputs[event.place].v`, `decimal("1") - -.5e-3`, `{"a": event.n}["a"] in event.mixed`, `has(event.x) ? null : [it]`,
	} {
		f.Add(seed)
	}
	event := fields(f, strings.ReplaceAll(sampleEvent, `"abc"`, `"SECRET"`))
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "SECRET") {
			return
		}
		e, mistakes := compileExpression(text, words(true))
		if len(mistakes) > 0 {
			for _, mistake := range mistakes {
				if mistake.text == "" {
					t.Fatalf("%q: no text", text)
				}
			}
			return
		}
		s := &scope{event: event, block: event, element: event["outputs"]}
		value, err := e.evaluate(s)
		few := onlyRead(event, slices.Collect(maps.Keys(e.reads)), e.readsAll)
		alone, failed := e.evaluate(&scope{event: few, block: few, element: event["outputs"]})
		if fmt.Sprint(failed) != fmt.Sprint(err) || err == nil && equal(value, alone) == types.False {
			t.Fatalf("%q: of what it looks at %v, %v, not %v, %v", text, alone, failed, value, err)
		}
		if err != nil {
			if strings.Contains(err.Error(), "SECRET") || len(err.Error()) > len(text)+100 {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		again, err := e.evaluate(s)
		if err != nil {
			t.Fatalf("%q failed the second time: %v", text, err)
		}
		there, back := equal(value, again), equal(again, value)
		if types.IsError(there) != types.IsError(back) || !types.IsError(there) && there != back {
			t.Fatalf("%q: %v and %v are not compared symmetrically", text, value, again)
		}
		if !types.IsError(there) && there != types.True {
			t.Fatalf("%q: %v differs from itself", text, value)
		}
	})
}

// TestFieldAlone: what is a field of the event, and nothing else, takes no program.
func TestFieldAlone(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`event.n`: "n", `(event.n)`: "n", `event.n + 1`: "", `event.a.b`: "", `event["n"]`: "", `block.n`: "", `it.n`: "",
		`has(event.n)`: "", `event`: "",
	} {
		e, mistakes := compileExpression(text, words(true))
		if len(mistakes) > 0 {
			t.Fatalf("%s: %v", text, mistakes)
		}
		if e.field != want {
			t.Errorf("%s is the field %q, want %q", text, e.field, want)
		}
	}
}

// words is the vocabulary of expressions over events.
func words(withElement bool) vocabulary {
	known, err := eventVocabulary(withElement)
	if err != nil {
		panic(err)
	}
	return known
}
