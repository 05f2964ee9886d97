package row_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/chainmetrics/chainmetrics/events/feed/row"
)

// read gives all rows of a file as text, and the error that ends it.
func read(t *testing.T, path string, in io.Reader, options row.Options) ([]string, error) {
	t.Helper()
	reader, err := row.Open(path, in, options)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err := reader.Close(); err != nil {
			t.Error(err)
		}
	}()
	var rows []string
	for {
		r, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return rows, nil
		}
		if err != nil {
			return rows, err
		}
		text := fmt.Sprintf("%d", r.Line)
		for _, f := range r.Fields {
			text += fmt.Sprintf(" %s=%q", f.Name, f.Value)
		}
		rows = append(rows, text)
	}
}

func write(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRead(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		name, data string
		options    row.Options
		want       []string
		failure    string // the end of the error
	}{
		"csv": {
			"a.csv", "block,from\n1,0xab\n2,\n\"3\",\"a\n,\"\"b\"\n4,c\n",
			row.Options{},
			[]string{`2 block="1" from="0xab"`, `3 block="2"`, `4 block="3" from="a\n,\"b"`, `6 block="4" from="c"`},
			"",
		},
		"csv with a byte order mark and no end of line": {
			"a.csv", "\ufeffa,b\r\n1,2", row.Options{}, []string{`2 a="1" b="2"`}, "",
		},
		"tsv":       {"a.tsv", "a\tb\n1,5\t2\n", row.Options{}, []string{`2 a="1,5" b="2"`}, ""},
		"delimiter": {"a.csv", "a;b\n1;2\n", row.Options{Delimiter: ';'}, []string{`2 a="1" b="2"`}, ""},
		"null":      {"a.csv", "a,b\n-,1\n", row.Options{Null: []string{"-", "n/a"}}, []string{`2 b="1"`}, ""},
		"rename":    {"a.csv", "type,b\nx,1\n", row.Options{Rename: map[string]string{"type": "kind"}}, []string{`2 kind="x" b="1"`}, ""},
		"json lines": {
			"a.jsonl", `{"n":1e400,"text":"1","list":[1, {"a":null}],"none":null,"yes":true,"empty":""}` + "\n\n{}\n",
			row.Options{},
			[]string{`1 n="1e400" text="1" list="[1, {\"a\":null}]" yes="true" empty=""`, "3"},
			"",
		},
		"format beats name": {"a.txt", "a\n1\n", row.Options{Format: row.CSV}, []string{`2 a="1"`}, ""},

		"unknown name":     {"a.txt", "a\n1\n", row.Options{}, nil, "its name does not tell how it is written: say it with --format csv or --format jsonl"},
		"empty csv":        {"a.csv", "", row.Options{}, nil, "a.csv: it is empty: a line with the names of the columns is expected"},
		"column twice":     {"a.csv", "a,a\n", row.Options{}, nil, `line 1: two columns are named "a"`},
		"renamed to twice": {"a.csv", "a,b\n", row.Options{Rename: map[string]string{"b": "a"}}, nil, `line 1: two columns are named "a"`},
		"unnamed column":   {"a.csv", "a,,b\n", row.Options{}, nil, "line 1: column 2 has no name"},
		"missing value":    {"a.csv", "a,b\n1,2\n3\n", row.Options{}, []string{`2 a="1" b="2"`}, "a.csv, line 3: it has 1 values, but there are 2 columns"},
		"quote":            {"a.csv", "a,b\n1,\"2\n", row.Options{}, nil, "a.csv, line 2: no valid CSV: extraneous or missing \" in quoted-field"},
		"no JSON":          {"a.jsonl", "{\"a\":1}\n[1]\n", row.Options{}, []string{`1 a="1"`}, "a.jsonl, line 2: no JSON object"},
		"cut off JSON":     {"a.jsonl", `{"a":`, row.Options{}, nil, "a.jsonl, line 1: no JSON object"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := read(t, write(t, c.name, []byte(c.data)), nil, c.options)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if c.failure == "" && err != nil || c.failure != "" && (err == nil || !strings.HasSuffix(err.Error(), c.failure)) {
				t.Errorf("error is %v, want one that ends with %q", err, c.failure)
			}
		})
	}
}

// TestCompressed reads the same rows from gzip, zstd, standard input, whatever the file is called.
func TestCompressed(t *testing.T) {
	t.Parallel()
	plain := "a,b\n" + strings.Repeat("1,2\n", 50_000)
	var packed, denser bytes.Buffer
	gz := gzip.NewWriter(&packed)
	zst, err := zstd.NewWriter(&denser)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []io.WriteCloser{gz, zst} {
		if _, err := io.WriteString(w, plain); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	want, err := read(t, write(t, "a.csv", []byte(plain)), nil, row.Options{})
	if err != nil || len(want) != 50_000 {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"a.csv.gz": packed.Bytes(), "a.csv.zst": denser.Bytes(), "b.csv": packed.Bytes()} {
		got, err := read(t, write(t, name, data), nil, row.Options{})
		if err != nil || !cmp.Equal(want, got) {
			t.Errorf("%s: %d rows, %v", name, len(got), err)
		}
		got, err = read(t, "-", bytes.NewReader(data), row.Options{Format: row.CSV})
		if err != nil || !cmp.Equal(want, got) {
			t.Errorf("%s as standard input: %d rows, %v", name, len(got), err)
		}
	}
	cut := write(t, "cut.csv.gz", packed.Bytes()[:packed.Len()-20])
	if _, err := read(t, cut, nil, row.Options{}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a file that was cut off: %v", err)
	}
}
