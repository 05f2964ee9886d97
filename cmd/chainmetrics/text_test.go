package main

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestStyleIsPlainWhereNobodyLooks(t *testing.T) {
	t.Parallel()
	if bool(styleOf(&bytes.Buffer{})) || isTerminal(&bytes.Buffer{}) {
		t.Error("a buffer is styled")
	}
	if got := style(false).red("x") + style(false).bold("y"); got != "xy" {
		t.Errorf("plain style gives %q", got)
	}
	if got := style(true).red("x"); got != "\x1b[31mx\x1b[0m" {
		t.Errorf("style gives %q", got)
	}
}

func TestStyleFollowsNoColor(t *testing.T) {
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close() //nolint:errcheck // nothing was written
	for name, test := range map[string]struct {
		noColor, term string
		want          style
	}{
		"terminal":      {"", "xterm", true},
		"NO_COLOR":      {"1", "xterm", false},
		"dumb terminal": {"", "dumb", false},
	} {
		t.Setenv("NO_COLOR", test.noColor)
		t.Setenv("TERM", test.term)
		if got := styleOf(terminal); got != test.want {
			t.Errorf("%s: styled is %v", name, got)
		}
	}
}

func TestTableAlignsNumbersRight(t *testing.T) {
	t.Parallel()
	table := &table{columns: []column{{name: "name"}, {name: "value", right: true}, {name: "note"}}}
	table.add("é", "1.5", "x")
	table.add("longer", "-1000000", "")
	var got bytes.Buffer
	if err := table.write(&got, false, "  "); err != nil {
		t.Fatal(err)
	}
	want := "  name       value  note\n  é            1.5  x\n  longer  -1000000\n"
	if got.String() != want {
		t.Errorf("got\n%s\nwant\n%s", got.String(), want)
	}
	if width := table.width(); width != 24-2 {
		t.Errorf("width is %d", width)
	}
}

func TestPrintableShowsControlCharacters(t *testing.T) {
	t.Parallel()
	if got := printable("a\x1b[31m\nb\u009bc é"); got != "a\ufffd[31m\ufffdb\ufffdc é" {
		t.Errorf("got %q", got)
	}
}

func TestGrouped(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 14132: "14,132", -1234567: "-1,234,567", -100: "-100"} {
		if got := grouped(n); got != want {
			t.Errorf("%d is written %s, want %s", n, got, want)
		}
	}
}

func TestByteSize(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 27472691: "26.2 MiB", 1 << 40: "1.0 TiB"} {
		if got := byteSize(n); got != want {
			t.Errorf("%d is written %s, want %s", n, got, want)
		}
	}
}

func TestLogLine(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		`{"time":"2026-01-01T00:00:00Z","level":"WARN","msg":"slow","program":"feed","pause":5,"error":"a \"b\"","at":{"x":[1]}}`: `WARN slow pause=5 error=a "b" at={"x":[1]}`,
		"panic: runtime error":  "panic: runtime error",
		`{"level":"INFO","msg`:  `{"level":"INFO","msg`,
		"[1]":                   "[1]",
		"":                      "",
		"\x1b[31mred":           "\ufffd[31mred",
		`{"msg":"a\u001b[31m"}`: "a\ufffd[31m",
	}
	for line, want := range tests {
		if got := logLine(line); got != want {
			t.Errorf("%s becomes %q, want %q", line, got, want)
		}
	}
}

func TestShellQuoteIsReadAsItIs(t *testing.T) {
	t.Parallel()
	for _, word := range []string{
		"plain-word_1.2", "", "two words", "it's", `it's "$HOME" and \ !`, "select 'x'", "postgres://u@/d?host=/tmp/a b&port=1", "a\nb", "ü",
	} {
		quoted := shellQuote(word)
		output, err := exec.CommandContext(t.Context(), "sh", "-c", "printf %s "+quoted).Output()
		if err != nil || string(output) != word {
			t.Errorf("%q is written %s and read as %q, %v", word, quoted, output, err)
		}
	}
	if got := shellQuote("a = 'b'"); !strings.HasPrefix(got, `"`) {
		t.Errorf("text with single quotes is written %s", got)
	}
}

func TestWithoutPassword(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"postgres://u:s3cret@h:1/d?sslmode=require":            "postgres://u@h:1/d?sslmode=require",
		"postgres://h/d?password=s3cret&user=u":                "postgres://h/d?user=u",
		"postgres://u:s3cret%@h/d":                             "postgres://…",
		"postgres://chainmetrics@/c?host=%2Ftmp%2Fa&port=5432": "postgres://chainmetrics@/c?host=%2Ftmp%2Fa&port=5432",
	}
	for text, want := range tests {
		if got := withoutPassword(text); got != want {
			t.Errorf("%s becomes %s, want %s", text, got, want)
		}
	}
}

func TestCommandReachesTheSameServers(t *testing.T) {
	t.Parallel()
	tests := map[string]app{
		" status":                         {dataDir: defaultDataDir},
		" status --data-dir 'a b'":        {dataDir: "a b"},
		" status --redis-url redis://h:1": {dataDir: defaultDataDir, redisURL: "redis://h:1"},
		` status --postgres-url 'postgres://u@h/d?sslmode=disable' --redis-url "$REDIS_URL"`: {
			dataDir: defaultDataDir, postgresURL: "postgres://u@h/d?sslmode=disable", redisURL: "redis://:s3cret@h:1",
		},
		` status --postgres-url "$POSTGRES_URL"`: {dataDir: defaultDataDir, postgresURL: "postgres://u@h/d?password=s3cret"},
	}
	for want, a := range tests {
		if got := a.command("status"); got != shellQuote(os.Args[0])+want {
			t.Errorf("got %s, want%s", got, want)
		}
	}
}
