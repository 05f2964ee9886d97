package metric

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// window is what every template must have.
const window = " where at >= {start_time} and at < {end_time}"

func TestTemplates(t *testing.T) {
	t.Parallel()
	const bound = " where at >= ($1::timestamptz) and at < ($2::timestamptz)"
	tests := map[string]string{ // what stands before the window, and what it becomes where it is changed
		"select 1":                       "",
		"SELECT 1":                       "",
		"\n -- a\n/* b */ With x as (y)": "",
		"select'a'":                      "",
		"select {chain}":                 "select ($3::text)",
		"select {chain}{chain}":          "select ($3::text)($3::text)",
		"select -{end_time}::date":       "select -($2::timestamptz)::date",
		"select f({chain}), (a[1:2])":    "select f(($3::text)), (a[1:2])",

		// Semicolons, parentheses and braces in what is quoted.
		"select ';)({1,2}{}$1'":              "",
		"select ''';', '', 'it''s;'":         "",
		`select 'a\', '\\', '\'`:             "",
		`select E'\';', e'\\', E'a'';\\''b'`: "",
		`select U&'\0061;' UESCAPE '!'`:      "",
		`select U&'\', n'\', B'\'`:           "",
		`select x'\', fooE'\', "E"'\'`:       "",
		`select "a;"")", """", "'"`:          "",
		"select $$;'$1 {x}$$, $a$$$;$b$;$a$": "",
		"select $é1$;$é$;$é1$":               "",

		// All parts of a string are of one kind.
		"select E'a'\n'\\';'":               "",
		"select E'a' -- '\n\t--'\n\r'\\';'": "",
		"select 'a'\n'\\', ''":              "",
		"select E'a'\n/**/'\\', ''":         "",
		"select E'a' '\\', ''":              "",

		// Dollars in names, and after numbers.
		"select a$1, a$$, é$b$, _$$":             "",
		"select 1$$;$$, 1e5$$;$$, 1.e-5$$;$$":    "",
		"select .5$$;$$, 0xE$$;$$, 1_0e1_0$$;$$": "",
		"select t.e5$$, t1.e5$$, e5$$":           "",

		// Comments.
		"select 1 --;) {chain} '\n":       "",
		"select 1 --;\r":                  "",
		"select 1---;\n-1 @--;\n1":        "",
		"select /* ;/*{chain}*/) ' */ 1":  "",
		"select /*/;*/ 1, /**/ 2, 3 */1":  "",
		"select 1 @/*;*/ 2 */*;**/ 3 / 4": "",
		"select /*--*/ 1, '--', '/*'":     "",

		// What is for Postgres to refuse.
		`select \gexec [ # "a"b`:  "",
		"select into drop -- x\n": "",
	}
	for text, want := range tests {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			if want == "" {
				want = text
			}
			got, mistakes := parseTemplate(text + window)
			if len(mistakes) > 0 {
				t.Fatal(mistakes)
			}
			if diff := cmp.Diff(want+bound, got.statement); diff != "" {
				t.Error(diff)
			}
			if got.usesChain != strings.Contains(want, "$3::") {
				t.Errorf("uses the chain: %t", got.usesChain)
			}
		})
	}
}

func TestTemplatesRefused(t *testing.T) {
	t.Parallel()
	const (
		noStart      = "{start_time} is missing: write where block_timestamp >= {start_time} and block_timestamp < {end_time}, for example"
		noEnd        = "{end_time} is missing: write where block_timestamp >= {start_time} and block_timestamp < {end_time}, for example"
		noSelect     = "begins with neither select nor with: write a query that does"
		semicolon    = "; ends the query: write one query, and leave ; out"
		closing      = ") closes nothing: write ( before what it closes, or leave it out"
		opening      = "( is not closed: write ) after what it opens"
		inQuotes     = ": inside quotes it would be text: write it without the quotes"
		moreThanRead = " does more than read: leave it out"
		known        = "write one of {start_time}, {end_time}, {chain}"
	)
	tests := map[string][]string{
		"":                         {"is empty: write a query, which begins with select or with"},
		" \n":                      {"is empty: write a query, which begins with select or with"},
		"select '\x00'":            {"contains a NUL character: leave it out"},
		"select '\xff'":            {"is no valid UTF-8: save the file as UTF-8"},
		strings.Repeat(" ", 65537): {"has 65537 bytes: write at most 65536"},
		"select 1":                 {noStart, noEnd},
		"select {start_time}":      {noEnd},
		"select 1 -- " + window:    {noStart, noEnd},
		"/* " + window + " */":     {"1:52: " + noSelect, noStart, noEnd},

		"delete from t" + window:      {"1:1: " + noSelect},
		"(select 1" + window + ")":    {"1:1: " + noSelect},
		"-- a\n selec 1" + window:     {"2:2: " + noSelect},
		"selecté 1" + window:          {"1:1: " + noSelect},
		"select$a 1" + window:         {"1:1: " + noSelect},
		`"select" 1` + window:         {"1:1: " + noSelect},
		"\ufeffselect 1" + window:     {"1:1: " + noSelect},
		"{start_time}{end_time}":      {"1:1: " + noSelect},
		"values ({start_time})":       {"1:1: " + noSelect, noEnd},
		"insert into t; x" + window:   {"1:1: " + noSelect, "1:14: " + semicolon},
		"select 1" + window + ";":     {"1:54: " + semicolon},
		"select 'é'\n,\té;" + window:  {"2:4: " + semicolon},
		"select 'a'';'; 1" + window:   {"1:14: " + semicolon},
		`select 'a\';` + window:       {"1:12: " + semicolon},
		`select E'a\\';` + window:     {"1:14: " + semicolon},
		`select fE'a\';` + window:     {"1:14: " + semicolon},
		"select 1 --\r;" + window:     {"1:13: " + semicolon},
		"select 1 /*/**/*/;" + window: {"1:18: " + semicolon},
		"select a$$;" + window:        {"1:11: " + semicolon},
		"select $a$ $A$a$;" + window:  {"1:17: " + semicolon},
		"select $$a$;$$;" + window:    {"1:15: " + semicolon},

		"select 1)" + window:              {"1:9: " + closing},
		"select (1))" + window:            {"1:11: " + closing},
		"select 1" + window + ") t, (x":   {"1:54: " + closing, "1:59: " + opening},
		"select (1, (2), ((3)" + window:   {"1:17: " + opening},
		"select '(', 1)" + window:         {"1:14: " + closing},
		"select (/* ) */ 1 -- )" + window: {"1:8: " + opening, noStart, noEnd},

		"select '{chain}'" + window:       {"1:9: {chain}" + inQuotes},
		`select E'\'{chain}'` + window:    {"1:12: {chain}" + inQuotes},
		"select E'a'\n'{chain}'" + window: {"2:2: {chain}" + inQuotes},
		"select $a$é{chain}$a$" + window:  {"1:12: {chain}" + inQuotes},
		`select "{chain}"` + window:       {"1:9: {chain}" + inQuotes},
		"select 1 where at between '{start_time}' and '{end_time}'": {
			"1:28: {start_time}" + inQuotes, "1:47: {end_time}" + inQuotes,
		},

		"select set_config('a', 'b', true)" + window:        {"1:8: set_config" + moreThanRead},
		"select pg_catalog . Set_Config(1)" + window:        {"1:21: set_config" + moreThanRead},
		`select "pg_advisory_lock"(1)` + window:             {"1:8: pg_advisory_lock" + moreThanRead},
		"select query_to_xml($$x$$), lo_create(0)" + window: {"1:8: query_to_xml" + moreThanRead, "1:29: lo_create" + moreThanRead},
		`select U&"set\005fconfig"()` + window:              {`1:8: U&" begins a name with escapes: write its characters as they are`},

		"select {chian}" + window:        {`1:8: unknown placeholder "{chian}": did you mean "{chain}"?`},
		"select {Chain}" + window:        {`1:8: unknown placeholder "{Chain}": did you mean "{chain}"?`},
		"select {start_tim}, {end_time}": {`1:8: unknown placeholder "{start_tim}": did you mean "{start_time}"?`},
		"select {block}" + window:        {`1:8: unknown placeholder "{block}": ` + known},
		"select {}" + window:             {`1:8: unknown placeholder "{}": ` + known},
		"select {\n}" + window:           {`1:8: unknown placeholder "{": ` + known, `2:1: unknown placeholder "}": ` + known},
		"select {{chain}}" + window:      {`1:8: unknown placeholder "{": ` + known, `1:16: unknown placeholder "}": ` + known},
		"select {';'}" + window:          {`1:8: unknown placeholder "{": ` + known, `1:12: unknown placeholder "}": ` + known},
		"select $1" + window:             {`1:8: unknown placeholder "$1": ` + known},
		"select 1$1, a.b$1" + window:     {`1:9: unknown placeholder "$1": ` + known},
		"select $chain" + window:         {`1:8: unknown placeholder "$chain": did you mean "{chain}"?`},
		"select ${chain}" + window:       {`1:8: unknown placeholder "$": ` + known},
		"select $1$$;$$, $a b" + window:  {`1:8: unknown placeholder "$1": ` + known, `1:17: unknown placeholder "$a": ` + known},

		"select 1,\n'a''" + window:      {"2:1: this string is not closed: write ' at its end"},
		`select E'a\'` + window:         {"1:9: this string is not closed: write ' at its end"},
		"select E'a'\n'\\'" + window:    {"2:1: this string is not closed: write ' at its end"},
		`select (; "a""` + window:       {"1:9: " + semicolon, `1:11: this name is not closed: write " at its end`},
		"select $é$ $$ $e$" + window:    {"1:8: this string is not closed: write $é$ at its end"},
		"select 1$$" + window:           {"1:9: this string is not closed: write $$ at its end"},
		"select /* /* */ '" + window:    {"1:8: this comment is not closed: write */ at its end"},
		"/*/" + window:                  {"1:1: this comment is not closed: write */ at its end"},
		"select 1 */*" + window + "/*/": {"1:11: this comment is not closed: write */ at its end"},
	}
	for text, want := range tests {
		t.Run(text[:min(len(text), 60)], func(t *testing.T) {
			t.Parallel()
			_, mistakes := parseTemplate(text)
			var got []string
			for _, f := range mistakes {
				if f.line > 0 {
					f.text = fmt.Sprintf("%d:%d: %s", f.line, f.column, f.text)
				}
				got = append(got, f.text)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s\n%s", text, diff)
			}
		})
	}
}

// Some of the mistakes are told, soon, in a template that is full of them.
func TestTemplateReads(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"select 1":                           nil,
		"select blocks from a, Blocks":       {"a"},
		"select 1 from Blocks left JOIN b":   {"blocks", "b"},
		"select 1 from x.blocks, f join x.g": nil,
		`select 1 from "Logs" where 'from b' <> (select 1 from--
			logs)`: {"Logs", "logs"},
	} {
		got, mistakes := parseTemplate(text + window)
		if len(mistakes) > 0 {
			t.Fatalf("%s: %v", text, mistakes)
		}
		if diff := cmp.Diff(want, got.reads); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
	}
}

func TestTemplateFaultsAreFew(t *testing.T) {
	t.Parallel()
	for _, part := range []string{";", ")", "$1", "{a}", "'{chain}' "} {
		_, mistakes := parseTemplate(strings.Repeat(part, maxTemplateLength/len(part)))
		if len(mistakes) != maxTemplateFaults {
			t.Errorf("%s: got %d", part, len(mistakes))
		}
	}
}

// FuzzTemplate: nothing panics, mistakes lie within the text, and an accepted template is one query, of which nothing but the
// placeholders was changed, and which may stand within another.
func FuzzTemplate(f *testing.F) {
	for _, seed := range []string{
		"select {chain}", "with a as (select 'it''s' /* /* */ */)", "select E'\\'' -- a\n'\\''", `select "a""b"(1)`,
		"select $a$ $$ $a$, a$1, 1e5$$;$$", "select {chian}; $1)", "select U&'\\' U&\"\\\"", "select '{1,2}'::int[] --",
	} {
		f.Add(seed + window)
	}
	back := strings.NewReplacer("($1::timestamptz)", placeholderStart, "($2::timestamptz)", placeholderEnd, "($3::text)", placeholderChain)
	f.Fuzz(func(t *testing.T, text string) {
		got, mistakes := parseTemplate(text)
		if len(mistakes) > 0 {
			lines := strings.Split(text, "\n")
			for _, m := range mistakes {
				if m.text == "" || m.line > len(lines) || m.line > 0 && m.column > utf8.RuneCountInString(lines[m.line-1])+1 {
					t.Fatalf("%q: %+v", text, m)
				}
			}
			return
		}
		if again := back.Replace(got.statement); again != back.Replace(text) {
			t.Fatalf("%q: changed to %q", text, got.statement)
		}
		if len(text) > maxTemplateLength-100 {
			return
		}
		around, mistakes := parseTemplate("select * from (" + text + "\n) t")
		if len(mistakes) > 0 || around.statement != "select * from ("+got.statement+"\n) t" {
			t.Fatalf("%q: within another %+v, %v", text, around, mistakes)
		}
		for _, end := range []string{";", ")"} { // are seen, since nothing is left open
			if _, mistakes := parseTemplate(text + "\n" + end); len(mistakes) != 1 || mistakes[0].line != strings.Count(text, "\n")+2 {
				t.Fatalf("%q and %s: %v", text, end, mistakes)
			}
		}
	})
}

// FuzzTemplateQuotes: whatever is quoted is accepted unless it has a placeholder, and what follows it is read.
func FuzzTemplateQuotes(f *testing.F) {
	for _, seed := range []string{"it's", `\`, `"); drop`, "/* --", "*/", "\n'", "$$ $a$", "{1,2}", "{chain}", "E'", "é"} {
		f.Add(seed, true)
	}
	doubled := strings.NewReplacer(`'`, `''`, `"`, `""`)
	escaped := strings.NewReplacer(`'`, `\'`, `\`, `\\`)
	f.Fuzz(func(t *testing.T, content string, breaks bool) {
		if len(content) > 1000 || !utf8.ValidString(content) || strings.ContainsRune(content, 0) {
			return
		}
		between := ", "
		if breaks {
			between = "\n-- a\n "
		}
		tag := "$" + strings.Repeat("a", len(content)+1) + "$" // which content cannot have
		for i, quoted := range []string{
			"'" + doubled.Replace(content) + "'",
			"U&'" + doubled.Replace(content) + "'" + between + "'" + doubled.Replace(content) + "'",
			`"` + doubled.Replace(content) + `"`,
			"E'" + escaped.Replace(content) + "'",
			"e'" + escaped.Replace(content) + "' -- '\n'" + escaped.Replace(content) + "'",
			tag + content + tag,
			"/*" + strings.NewReplacer("/", "", "*", "").Replace(content) + "*/",
			"--" + strings.NewReplacer("\n", "", "\r", "").Replace(content) + "\n",
		} {
			text := "select " + quoted + window
			has := i < 6 && (strings.Contains(quoted, placeholderStart) || strings.Contains(quoted, placeholderEnd) ||
				strings.Contains(quoted, placeholderChain))
			got, mistakes := parseTemplate(text)
			if has != (len(mistakes) > 0) || !has && !strings.HasPrefix(got.statement, "select "+quoted+" where at >= ($1") {
				t.Fatalf("%q: %+v, %v", text, got, mistakes)
			}
			if _, mistakes := parseTemplate("select " + quoted + ";" + window); len(mistakes) == 0 {
				t.Fatalf("%q: the end of what is quoted was missed", text)
			}
		}
	})
}
