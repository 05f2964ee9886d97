package metric

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	maxTemplateLength = 64 << 10 // bytes
	maxTemplateFaults = 20       // told at once
)

// Placeholders of templates.
const (
	placeholderStart = "{start_time}"
	placeholderEnd   = "{end_time}"
	placeholderChain = "{chain}"
)

var (
	placeholders = []string{placeholderStart, placeholderEnd, placeholderChain}

	// parameters are in parentheses, so that an operator beside one takes the whole of it.
	parameters = map[string]string{
		placeholderStart: "($1::timestamptz)",
		placeholderEnd:   "($2::timestamptz)",
		placeholderChain: "($3::text)",
	}
)

// template is a query in SQL that is run for one window of one chain.
type template struct {
	// statement is one query, which may be followed by a line break and stand in parentheses. Its parameters are $1, the
	// start, and $2, the end, both timestamptz, and $3, the chain, a text, which it has only where usesChain tells so.
	statement string
	usesChain bool
	// reads are the tables and views without a schema that stand directly after from or join; not others of a list with commas.
	reads []string
}

// parseTemplate reads a template, up to where each of its strings, names and comments ends. Whether the rest is valid SQL,
// and what it may read, is for Postgres to say. Functions that do more than read are refused, as far as everybody may call them; what
// else is to be refused, rights and limits do. It gives all mistakes that it finds, up to maxTemplateFaults.
//
// Strings and comments end where the chapter "Lexical Structure" of the PostgreSQL manual says, for version 15 and later with
// standard_conforming_strings on: a session without it must not run the statement.
func parseTemplate(text string) (*template, []fault) {
	switch {
	case len(text) > maxTemplateLength:
		return nil, []fault{{text: fmt.Sprintf("has %d bytes: write at most %d", len(text), maxTemplateLength)}}
	case !utf8.ValidString(text):
		return nil, []fault{{text: "is no valid UTF-8: save the file as UTF-8"}}
	case strings.ContainsRune(text, 0):
		return nil, []fault{{text: "contains a NUL character: leave it out"}}
	case strings.TrimSpace(text) == "":
		return nil, []fault{{text: "is empty: write a query, which begins with select or with"}}
	}
	l := &lexer{text: text, named: map[string]bool{}}
	for l.offset < len(text) {
		if !l.token() || len(l.faults) >= maxTemplateFaults {
			return nil, l.faults
		}
	}
	l.finish()
	if len(l.faults) > 0 {
		return nil, l.faults
	}
	return &template{statement: l.statement.String() + text[l.copied:], usesChain: l.named[placeholderChain], reads: l.reads}, nil
}

// Tokens, as Postgres divides a text into them.
var (
	blankToken  = regexp.MustCompile(`^(?:[ \t\n\r\f\v]+|--[^\n\r]*)`)
	wordToken   = regexp.MustCompile(`^[A-Za-z_\x{80}-\x{10FFFF}][0-9A-Za-z_$\x{80}-\x{10FFFF}]*`)
	numberToken = regexp.MustCompile(`^(?:0[xXoObB][0-9A-Fa-f_]+|[0-9][0-9_]*\.?[0-9_]*(?:[eE][-+]?[0-9_]+)?)`)
	dollarQuote = regexp.MustCompile(`^\$(?:[A-Za-z_\x{80}-\x{10FFFF}][0-9A-Za-z_\x{80}-\x{10FFFF}]*)?\$`)
	dollarName  = regexp.MustCompile(`^\$[0-9A-Za-z_\x{80}-\x{10FFFF}]*`)
	braceName   = regexp.MustCompile(`^\{[^{}'"\n]*\}`)

	// continuation is what may lie between two parts of a string, with the quote that begins the second.
	continuation = regexp.MustCompile(`^(?:[ \t\f\v]|--[^\n\r]*)*[\n\r](?:[ \t\n\r\f\v]|--[^\n\r]*[\n\r])*'`)
)

// forbidden are functions that everybody may call and that change what outlives a read-only query, or run a text as another query.
var forbidden = regexp.MustCompile(`^(?:set_config|pg_(?:try_)?advisory_\w+|pg_logical_\w+|pg_notify|pg_export_snapshot|query_template|` +
	`lo_(?:creat|create|import|export|open|close|put|from_bytea|truncate|truncate64|unlink)|lowrite|` +
	`(?:query|table|cursor|schema|database)_to_xml\w*|ts_stat|ts_rewrite)$`)

// defined is what follows the name that with gives a query.
var defined = regexp.MustCompile(`(?i)^[ \t\n\r\f\v]+as[ \t\n\r\f\v]*(?:(?:not[ \t\n\r\f\v]+)?materialized[ \t\n\r\f\v]*)?\(`)

// lexer goes through a template.
type lexer struct {
	text      string
	offset    int             // of the token that comes next
	begun     bool            // the first word was read
	open      []int           // offsets of parentheses that are not closed yet
	named     map[string]bool // the placeholders that were read
	statement strings.Builder // what the text up to copied becomes
	copied    int
	faults    []fault
	previous  string   // the word before, in small letters
	with      []string // the names that it gives to queries
	reads     []string
}

// token reads one token. It tells whether another may follow.
func (l *lexer) token() bool {
	rest := l.text[l.offset:]
	switch {
	case strings.HasPrefix(rest, "/*"):
		return l.comment()
	case l.take(blankToken) != "":
		return true
	}
	l.begin()
	switch c := rest[0]; {
	case c == '\'' || c == '"':
		return l.quoted(c, false)
	case strings.HasPrefix(rest, "E'") || strings.HasPrefix(rest, "e'"):
		return l.escaped()
	case strings.HasPrefix(rest, `U&"`) || strings.HasPrefix(rest, `u&"`):
		l.refuse(l.offset, `U&" begins a name with escapes: write its characters as they are`)
		l.offset += len(`U&`)
	case c == '$':
		return l.dollar()
	case c == '{' || c == '}':
		l.placeholder()
	case c == '(' || c == ')':
		l.parenthesis()
	case c == ';':
		l.refuse(l.offset, "; ends the query: write one query, and leave ; out")
		l.offset++
	case wordToken.MatchString(rest):
		begin := l.offset
		l.word(begin, strings.ToLower(l.take(wordToken)))
	case l.take(numberToken) != "":
	default:
		l.offset++
	}
	return true
}

// take reads what matches the pattern.
func (l *lexer) take(pattern *regexp.Regexp) string {
	match := pattern.FindString(l.text[l.offset:])
	l.offset += len(match)
	return match
}

// begin refuses a first token other than select or with.
func (l *lexer) begin() {
	if l.begun {
		return
	}
	l.begun = true
	word := wordToken.FindString(l.text[l.offset:])
	if !strings.EqualFold(word, "select") && !strings.EqualFold(word, "with") {
		l.refuse(l.offset, "begins with neither select nor with: write a query that does")
	}
}

// word looks at a name, or at a word of SQL.
func (l *lexer) word(begin int, word string) {
	if forbidden.MatchString(word) {
		l.refuse(begin, "%.60s does more than read: leave it out", word)
	}
	rest := l.text[l.offset:]
	named := strings.HasPrefix(rest, ".") || strings.HasPrefix(rest, "(")
	switch {
	case defined.MatchString(rest):
		l.with = append(l.with, word)
	case (l.previous == "from" || l.previous == "join") && !named && !slices.Contains(l.with, word):
		l.reads = append(l.reads, word)
	}
	l.previous = word
}

// comment reads a comment, which may have others within.
func (l *lexer) comment() bool {
	depth := 0
	for i := l.offset; i+1 < len(l.text); {
		switch l.text[i : i+2] {
		case "/*":
			depth++
			i += 2
		case "*/":
			depth--
			i += 2
		default:
			i++
		}
		if depth == 0 {
			l.offset = i
			return true
		}
	}
	return l.unclosed("comment", "*/")
}

// quoted reads a string or a name from its quote on. A quote within is doubled, or has a backslash before it where those
// escape.
func (l *lexer) quoted(quote byte, escapes bool) bool {
	for i := l.offset + 1; i < len(l.text); i++ {
		switch {
		case escapes && l.text[i] == '\\':
			i++
		case l.text[i] != quote:
		case strings.HasPrefix(l.text[i+1:], string(quote)):
			i++
		default:
			begin := l.offset
			l.endQuoted(i + 1)
			if quote == '"' {
				l.word(begin, l.text[begin+1:i])
			}
			return true
		}
	}
	if quote == '"' {
		return l.unclosed("name", `"`)
	}
	return l.unclosed("string", "'")
}

// escaped reads a string in which backslashes escape. They do so in all of its parts.
func (l *lexer) escaped() bool {
	l.offset++ // E
	for l.quoted('\'', true) {
		if l.take(continuation) == "" {
			return true
		}
		l.offset-- // the quote
	}
	return false
}

// dollar reads a string between $tag$ and $tag$. Any other $ is refused.
func (l *lexer) dollar() bool {
	rest := l.text[l.offset:]
	tag := dollarQuote.FindString(rest)
	if tag == "" {
		begin := l.offset
		l.unknown(begin, l.take(dollarName))
		return true
	}
	length := strings.Index(rest[len(tag):], tag)
	if length < 0 {
		return l.unclosed("string", tag)
	}
	l.endQuoted(l.offset + len(tag) + length + len(tag))
	return true
}

// endQuoted ends what is quoted. Placeholders within are refused.
func (l *lexer) endQuoted(end int) {
	for _, name := range placeholders {
		if i := strings.Index(l.text[l.offset:end], name); i >= 0 {
			l.named[name] = true
			l.refuse(l.offset+i, "%s: inside quotes it would be text: write it without the quotes", name)
		}
	}
	l.offset = end
}

// placeholder reads what is in braces, or one brace alone.
func (l *lexer) placeholder() {
	begin := l.offset
	name := l.take(braceName)
	if name == "" {
		name = l.text[begin : begin+1]
		l.offset++
	}
	parameter, ok := parameters[name]
	if !ok {
		l.named[nearest(name, placeholders)] = true // it is not missing
		l.unknown(begin, name)
		return
	}
	l.named[name] = true
	l.statement.WriteString(l.text[l.copied:begin] + parameter)
	l.copied = l.offset
}

func (l *lexer) parenthesis() {
	switch {
	case l.text[l.offset] == '(':
		l.open = append(l.open, l.offset)
	case len(l.open) == 0:
		l.refuse(l.offset, ") closes nothing: write ( before what it closes, or leave it out")
	default:
		l.open = l.open[:len(l.open)-1]
	}
	l.offset++
}

// finish refuses what the text as a whole lacks.
func (l *lexer) finish() {
	l.begin()
	if len(l.open) > 0 {
		l.refuse(l.open[len(l.open)-1], "( is not closed: write ) after what it opens")
	}
	for _, name := range []string{placeholderStart, placeholderEnd} {
		if !l.named[name] {
			l.faults = append(l.faults, fault{text: fmt.Sprintf("%s is missing: write where block_timestamp >= %s and "+
				"block_timestamp < %s, for example", name, placeholderStart, placeholderEnd)})
		}
	}
}

func (l *lexer) unknown(offset int, name string) {
	l.refuse(offset, "unknown placeholder %.60q: %s", name, instead(name, placeholders))
}

// unclosed refuses what begins here and does not end.
func (l *lexer) unclosed(what, end string) bool {
	l.refuse(l.offset, "this %s is not closed: write %s at its end", what, end)
	return false
}

// refuse refuses what is at the offset.
func (l *lexer) refuse(offset int, format string, arguments ...any) {
	before := l.text[:offset]
	l.faults = append(l.faults, fault{
		line:   1 + strings.Count(before, "\n"),
		column: 1 + utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]),
		text:   fmt.Sprintf(format, arguments...),
	})
}
