package metric

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chainmetrics/chainmetrics/shared/decimal"
)

// file is a definition with some calculation, and further fields.
func file(kind, calculation string, more ...string) string {
	return "name: m\ntype: " + kind + "\ncalculation_logic:\n  " + calculation + "\nchains: [bitcoin]\nbucket_sizes: [daily]\n" +
		strings.Join(more, "\n")
}

const query = "select 1 where {start_time} < {end_time}"

func TestCalculationsAreRefused(t *testing.T) {
	t.Parallel()
	sql := func(more ...string) string {
		return "sql:\n    template: " + query + "\n    " + strings.Join(more, "\n    ")
	}
	derived := func(more ...string) string { return "derived:\n    " + strings.Join(more, "\n    ") }
	for name, test := range map[string]struct{ file, want string }{
		"good query":       {file("counter", sql("event_types: [block]")), ""},
		"by the clock":     {file("level", sql("connection: etl"), "start_date: 2009-01-03"), ""},
		"good expression":  {file("counter", derived("expression: a / b", "dependencies: [a, b]", "dimensions: [type]")), ""},
		"several":          {file("counter", "stream: {event_type: block}\n  "+sql("event_types: [block]")), "f:4: m: calculation_logic: has several of stream, sql and derived: write one of them"},
		"none":             {file("counter", "{}"), "f:4: m: calculation_logic: has no stream: write stream: with event_type: block, for example, below it"},
		"no template":      {file("counter", "sql: {event_types: [block]}"), "f:4: m: template: is empty: write a query, which begins with select or with"},
		"no beginning":     {file("counter", sql()), "f:1: m: start_date: is missing: without event_types nothing tells where history begins: write start_date: 2009-01-03, for example"},
		"archive":          {file("counter", strings.Replace(sql(), "select 1", "select 1 from blocks", 1), "start_date: 2009-01-03"), "f:5: m: event_types: is missing: the template reads blocks: write event_types: [block], for example"},
		"other type":       {file("counter", strings.Replace(sql("event_types: [block]"), "select 1", "select 1 from x.logs, y JOIN Transactions t on true", 1)), "f:6: m: event_types: lacks transaction: the template reads transactions, of which what comes late would be missed"},
		"its own name":     {file("counter", strings.Replace(sql("event_types: [block]"), "select 1", "select 1 as value, transactions from etl.transactions", 1)), ""},
		"both times":       {file("counter", sql("event_types: [block]", "connection: etl")), "f:6: m: event_types: belong to the archive, not to a connection, whose windows are due by the clock: leave them out"},
		"event type":       {file("counter", sql("event_types: [Block]")), `f:6: m: event_types: "Block" is no event type: write lower-case letters, digits and underscores, a letter first, at most 63`},
		"connection":       {file("counter", sql("connection: My-Etl"), "start_date: 2009-01-03"), `f:6: m: connection: "My-Etl" is no name: write lower-case letters and digits, in words joined by _, at most 40 characters`},
		"dimension value":  {file("counter", sql("event_types: [block]", "dimensions: [value]")), "f:7: m: dimensions: value is the number itself: leave it out"},
		"dimension twice":  {file("counter", sql("event_types: [block]", "dimensions: [a, a]")), `f:7: m: dimensions: "a" is given twice: write it once`},
		"too many rows":    {file("counter", sql("event_types: [block]", "max_rows: 100000000")), "f:7: m: max_rows: 100000000 is no sensible number of rows: write one from 1 to 10000000"},
		"one chain":        {strings.Replace(file("counter", sql("event_types: [block]")), "[bitcoin]", "[bitcoin, litecoin]", 1), "f:5: m: template: gives the same for each of 2 chains: write chain = {chain}, for example"},
		"sets":             {file("counter", sql("event_types: [block]"), "max_dimensions: 5"), "f:5: m: dimensions: is missing: write the names of columns, or leave max_dimensions out"},
		"place in query":   {file("counter", "sql:\n    event_types: [block]\n    template: |\n      select 1\n      where {start_tim} < {end_time}"), `f:8: m: template: character 7: `},
		"unknown metric":   {file("counter", derived("expression: a / c", "dependencies: [a, b]")), `f:5: m: expression: character 5: unknown name "c": known are a, b and the functions`},
		"unused":           {file("counter", derived("expression: a", "dependencies: [a, b]")), "f:6: m: dependencies: the expression does not use b: leave it out"},
		"itself":           {file("counter", derived("expression: m + 1", "dependencies: [m]")), "f:6: m: dependencies: m would depend on itself: leave it out"},
		"no dependencies":  {file("counter", derived("expression: 1 + 1")), "f:5: m: dependencies: is missing: write the names of the metrics that the expression has"},
		"no expression":    {file("counter", derived("dependencies: [a]")), "f:5: m: expression: is missing: write expression: fees / transactions, for example"},
		"condition":        {file("counter", derived("expression: a > 1", "dependencies: [a]")), "f:5: m: expression: gives a bool: write an expression that gives a number, such as fees / transactions"},
		"sketch":           {file("level", derived("expression: a", "dependencies: [a]")), "f:2: m: type: a derived metric has one number in each bucket: write type: gauge, or type: counter with aggregate: sum"},
		"elements":         {file("counter", derived("expression: a", "dependencies: [a]"), "aggregate: distinct"), "f:2: m: type: a derived metric has one number in each bucket: write type: gauge, or type: counter with aggregate: sum"},
		"derived sets":     {file("counter", derived("expression: a", "dependencies: [a]"), "max_dimensions: 5"), "f:9: m: max_dimensions: a derived metric has those of its dependencies: leave it out"},
		"beginning":        {file("counter", derived("expression: a", "dependencies: [a]"), "start_date: 2009-01-03"), "f:9: m: start_date: a derived metric begins where its dependencies do: leave it out"},
		"misplaced":        {file("counter", derived("expression: a", "dependencies: [a]"), "template: x"), `f:9: m: unknown field "template": it belongs below calculation_logic, sql`},
		"wrong dependency": {file("counter", derived("expression: a", "dependencies: [a, 'B c']")), `f:6: m: dependencies: "B c" is no name of a metric: write one such as btc_block_count`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse("f", []byte(test.file), metricTypes)
			switch {
			case err == nil && test.want != "":
				t.Errorf("accepted:\n%s", test.file)
			case err != nil && (test.want == "" || !strings.HasPrefix(err.Error(), test.want)):
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
		})
	}
}

// compiled gives the program of a definition that is right.
func compiled(t *testing.T, text string) *Program {
	t.Helper()
	definitions, err := Parse("f", []byte(text), metricTypes)
	if err != nil {
		t.Fatal(err)
	}
	kind, _ := Named(definitions[0].Type, metricTypes)
	p, err := Compile(definitions[0], kind)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestColumns(t *testing.T) {
	t.Parallel()
	const sql = "sql: {template: '" + query + "', event_types: [block], dimensions: [type]}"
	value, kind := Column{"value", "numeric"}, Column{"type", "text"}
	for name, test := range map[string]struct {
		file    string
		columns []Column
		want    string
	}{
		"all":               {file("counter", sql), []Column{value, kind}, ""},
		"rows are counted":  {file("counter", sql), []Column{kind}, ""},
		"no value":          {file("level", sql), []Column{kind}, "no column is named value: select a number, as value"},
		"no dimension":      {file("counter", sql), []Column{value}, "no column is named type, as a dimension is: select it, as type"},
		"another":           {file("counter", sql), []Column{value, kind, {"x", "text"}}, `column "x" is neither value nor one of the dimensions: leave it out, or write it into dimensions`},
		"twice":             {file("counter", sql), []Column{value, kind, kind}, `two columns are named "type": name one of them otherwise`},
		"not exact":         {file("counter", sql), []Column{{"value", "float8"}, kind}, "column value is a float8, which is not exact: cast it, as value::numeric"},
		"no number":         {file("counter", sql), []Column{{"value", "text"}, kind}, "column value is a text, not a number: cast it, as value::numeric"},
		"elements":          {file("counter", sql, "aggregate: distinct"), []Column{{"value", "text"}, kind}, ""},
		"elements required": {file("counter", sql, "aggregate: distinct"), []Column{kind}, "no column is named value: select a number, as value"},
		"count of a value":  {file("counter", sql, "aggregate: count"), []Column{value, kind}, "the aggregate takes no value: leave the column value out"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := ""
			if err := compiled(t, test.file).CheckColumns(test.columns); err != nil {
				got = err.Error()
			}
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestRows(t *testing.T) {
	t.Parallel()
	const sql = "sql: {template: '" + query + "', event_types: [block], dimensions: [a, b]}"
	counter, distinct := file("counter", sql), file("counter", sql, "aggregate: distinct")
	at := time.Date(2024, 1, 31, 0, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct{ file, row, want string }{
		"number":         {counter, `{"value": 12345678901234567890.10, "a": "x", "b": 1.50}`, `{"a":"x","b":"1.5"} 12345678901234567890.1 []`},
		"no value":       {counter, `{"a": true, "b": "é\"<"}`, `{"a":"true","b":"é\"<"} 1 []`},
		"null":           {counter, `{"value": null, "a": "x", "b": "y"}`, "nothing"},
		"null dimension": {counter, `{"value": 1, "a": null, "b": "y"}`, "column a: is null: write coalesce(…, 'none'), for example"},
		"list":           {counter, `{"value": 1, "a": [], "b": "y"}`, "column a: is no text, number or boolean"},
		"infinity":       {counter, `{"value": "Infinity", "a": "x", "b": "y"}`, "column value: Infinity is no number"},
		"too long":       {counter, `{"value": 1, "a": "` + strings.Repeat("x", 1020) + `", "b": "y"}`, "dimensions: longer than 1024 bytes"},
		"element":        {distinct, `{"value": "x", "a": "x", "b": "y"}`, `{"a":"x","b":"y"} 1 [x]`},
		"elements":       {distinct, `{"value": ["x", 1.0, [false]], "a": "x", "b": "y"}`, `{"a":"x","b":"y"} 1 [x 1 false]`},
		"wrong element":  {distinct, `{"value": {}, "a": "x", "b": "y"}`, "column value: is no text, number or boolean"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			decoder := json.NewDecoder(strings.NewReader(test.row))
			decoder.UseNumber()
			var row map[string]any
			if err := decoder.Decode(&row); err != nil {
				t.Fatal(err)
			}
			o, ok, err := compiled(t, test.file).Row(row, at)
			got := "nothing"
			switch {
			case err != nil:
				got = err.Error()
			case ok:
				got = o.Dimensions + " " + o.Number.String() + " [" + strings.Join(o.Elements, " ") + "]"
				if !o.Time.Equal(at) {
					t.Errorf("at %s", o.Time)
				}
			}
			if got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestDerive(t *testing.T) {
	t.Parallel()
	p := compiled(t, file("counter", "derived: {expression: 'b == 5 ? a % b : a / b', dependencies: [a, b]}"))
	for name, test := range map[string]struct {
		values map[string]string
		want   string
	}{
		"ratio":    {map[string]string{"a": "1", "b": "3"}, "0.33333333333333333333333333333333333333"},
		"other":    {map[string]string{"a": "7", "b": "5"}, "2"},
		"zero":     {map[string]string{"a": "1", "b": "0"}, "nothing"},
		"missing":  {map[string]string{"a": "1"}, "nothing"},
		"too much": {map[string]string{"a": "1e1000", "b": "1e-1000"}, "expression: number out of range"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			values := make(map[string]decimal.Decimal)
			for name, text := range test.values {
				n, err := decimal.Parse(text)
				if err != nil {
					t.Fatal(err)
				}
				values[name] = n
			}
			n, ok, err := p.Derive(values)
			got := "nothing"
			switch {
			case err != nil:
				got = err.Error()
			case ok:
				got = n.String()
			}
			if got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestDependencies(t *testing.T) {
	t.Parallel()
	const plain = "name: %\ntype: counter\ncalculation_logic: {stream: {event_type: block, dimensions: {^}}}\nchains: [bitcoin, litecoin]\nbucket_sizes: [hourly, daily]"
	on := func(name, dimensions string, dependencies ...string) string {
		return "name: " + name + "\ntype: counter\ncalculation_logic:\n  derived: {expression: " + strings.Join(dependencies, " + ") +
			", dependencies: [" + strings.Join(dependencies, ", ") + "], dimensions: [" + dimensions + "]}\nchains: [bitcoin]\nbucket_sizes: [daily]"
	}
	stream := func(name, dimensions string) string {
		return strings.NewReplacer("%", name, "^", dimensions).Replace(plain)
	}
	for name, test := range map[string]struct {
		documents []string
		want      string
	}{
		"chain":      {[]string{stream("a", ""), on("b", "", "a"), on("c", "", "a", "b")}, ""},
		"broadcast":  {[]string{stream("a", "t: event.t"), stream("b", ""), on("c", "t", "a", "b")}, ""},
		"unknown":    {[]string{on("b", "", "a")}, "b: depends on a, which is not defined: apply that first, or with it"},
		"cycle":      {[]string{on("a", "", "b"), on("b", "", "c"), on("c", "", "a")}, "a: depends on itself: a needs b needs c needs a\nb: depends on itself: b needs c needs a needs b\nc: depends on itself: c needs a needs b needs c"},
		"size":       {[]string{stream("a", ""), strings.Replace(on("b", "", "a"), "daily", "weekly", 1)}, "b: has weekly buckets, which a lacks: leave that size out, or add it there"},
		"of a chain": {[]string{stream("a", ""), strings.Replace(on("b", "", "a"), "bitcoin", "ethereum", 1)}, "b: has chain ethereum, which a lacks: leave it out, or add it there"},
		"too few":    {[]string{stream("a", "t: event.t"), on("b", "", "a")}, "b: lacks the dimension t of a: write it into dimensions"},
		"too many":   {[]string{stream("a", "t: event.t"), stream("b", "u: event.u"), on("c", "t, u", "a", "b")}, "c: has more dimensions than any of its dependencies: leave in dimensions those that one of them has"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all, err := Parse("f", []byte(strings.Join(test.documents, "\n---\n")), metricTypes)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if err := CheckDependencies(all); err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
