package flat_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/events/feed/flat"
	"github.com/chainmetrics/chainmetrics/events/feed/row"
)

var now = time.Date(2026, time.January, 2, 3, 4, 5, 0, time.UTC)

// entries gives all entries of files, and the error that ends them.
func entries(t *testing.T, files *flat.Files) ([]events.Entry, error) {
	t.Helper()
	files.Now = func() time.Time { return now }
	opened, err := files.Open(t.Context())
	if err != nil {
		return nil, err
	}
	defer func() {
		if err := opened.Close(); err != nil {
			t.Error(err)
		}
	}()
	var all []events.Entry
	for {
		entry, _, err := opened.Next()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		all = append(all, entry)
	}
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestEntry(t *testing.T) {
	t.Parallel()
	path := write(t, "a.csv", "at,KIND,block,log,amount,note\n2024-01-05 00:00:23,SWAP,18937382,169,-22686110,\n")
	got, err := entries(t, &flat.Files{Paths: []string{path}, Events: flat.Config{
		Chain: "ethereum", TypeColumn: "KIND", Time: "at", Block: "block", Order: "log",
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := []events.Entry{{ID: events.ID{Major: 18937382, Minor: 170}, Fields: []events.Field{
		{Name: "chainmetrics.appended_at", Value: "1767323045000"},
		{Name: "type", Value: "swap"},
		{Name: "chain", Value: "ethereum"},
		{Name: "timestamp", Value: "2024-01-05T00:00:23Z"},
		{Name: "at", Value: "2024-01-05 00:00:23"},
		{Name: "KIND", Value: "SWAP"},
		{Name: "block", Value: "18937382"},
		{Name: "log", Value: "169"},
		{Name: "amount", Value: "-22686110"},
	}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestIDs(t *testing.T) {
	t.Parallel()
	byTime := flat.Config{Chain: "c", Type: "x", Time: "t"}
	byBlock := flat.Config{Chain: "c", Type: "x", Time: "t", Block: "b"}
	ordered := flat.Config{Chain: "c", Type: "x", Time: "t", Block: "b", Order: "o"}
	cases := map[string]struct {
		config  flat.Config
		sort    bool
		data    string
		want    string
		failure string
	}{
		"by time": {
			byTime, false, "t\n1700000000\n1700000000\n1700000000.5\n1700000001\n",
			"1700000000000-1 1700000000000-2 1700000000500-1 1700000001000-1", "",
		},
		"by block":           {byBlock, false, "t,b\n1700000000,7\n1700000000,7\n1700000000,8\n", "7-1 7-2 8-1", ""},
		"block zero":         {byBlock, false, "t,b\n1700000000,0\n", "0-1", ""},
		"order column":       {ordered, false, "t,b,o\n1700000000,7,0\n1700000000,7,3\n1700000000,8,1\n", "7-1 7-4 8-2", ""},
		"other forms":        {byTime, false, "t\n2009-01-03T18:15:05Z\n2009-01-03T18:15:05\n2009-01-03 18:15:06 UTC\n1231006507000\n2009-01-03 19:15:08+01:00\n", "1231006505000-1 1231006505000-2 1231006506000-1 1231006507000-1 1231006508000-1", ""},
		"sorted":             {byBlock, true, "t,b,n\n1700000000,9,a\n1700000000,7,b\n1700000000,9,c\n", "7-1 9-1 9-2", ""},
		"sorted by order":    {ordered, true, "t,b,o\n1700000000,9,2\n1700000000,9,1\n", "9-2 9-3", ""},
		"out of order":       {byBlock, false, "t,b\n1700000000,8\n1700000000,7\n", "8-1", "a.csv, line 3: block 7 comes after block 8, of line 2: let the feed put the rows in order with --sort"},
		"time out of order":  {byTime, false, "t\n1700000000\n1699999999.5\n", "1700000000000-1", "a.csv, line 3: 2023-11-14 22:13:19.5 comes after 2023-11-14 22:13:20, of line 2: let the feed put the rows in order with --sort"},
		"order out of order": {ordered, false, "t,b,o\n1700000000,8,2\n1700000000,8,1\n", "8-3", "a.csv, line 3: its o is less than that of line 2: let the feed put the rows in order with --sort"},
		"order twice":        {ordered, true, "t,b,o\n1700000000,8,2\n1700000000,8,2\n", "8-3", "a.csv, line 3: block 8 has the o of line 2 too: name a column with --order that tells rows apart"},
		"no time":            {byTime, false, "t,a\n,1\n", "", "a.csv, line 2: it has no t, which is to be the time"},
		"no column":          {byTime, false, "a\n1\n", "", "a.csv, line 2: it has no t, which is to be the time"},
		"bad time":           {byTime, false, "t\nyesterday\n", "", `a.csv, line 2: t "yesterday": no time: Unix seconds or milliseconds, RFC 3339, or 2006-01-02 15:04:05 in UTC are expected`},
		"time before 1970":   {byTime, false, "t\n-1\n", "", `a.csv, line 2: t "-1": it lies before 1970`},
		"bad block":          {byBlock, true, "t,b\n1700000000,0x7\n", "", `a.csv, line 2: b "0x7" is no whole number`},
		"time to come":       {byTime, false, "t\n2031-01-01T00:00:00Z\n2099-01-01T00:00:00Z\n", "1924992000000-1 4070908800000-1", ""},
		"reserved name":      {byTime, false, "t,chain\n1700000000,x\n", "", `a.csv, line 2: column "chain" has the name of a field that every event has: give it another one with --rename chain=…`},
		"not UTF-8":          {byTime, false, "t,a\n1700000000,\xff\n", "", `a.csv, line 2: column "a" is no valid UTF-8: save the file as UTF-8`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := &flat.Files{Paths: []string{write(t, "a.csv", c.data)}, Events: c.config, Sort: c.sort}
			all, err := entries(t, files)
			var ids []string
			for _, entry := range all {
				ids = append(ids, entry.ID.String())
			}
			if got := strings.Join(ids, " "); got != c.want {
				t.Errorf("ids are %q, want %q", got, c.want)
			}
			if c.failure == "" && err != nil || c.failure != "" && (err == nil || !strings.HasSuffix(err.Error(), c.failure)) {
				t.Errorf("error is %v, want one that ends with %q", err, c.failure)
			}
			var refusal *row.Error
			if err != nil && !errors.As(err, &refusal) {
				t.Errorf("%T is no row.Error", err)
			}
		})
	}
}

// TestSortOnDisk sorts more rows than are sorted in memory at once, of two files.
func TestSortOnDisk(t *testing.T) {
	t.Parallel()
	const rows = 12_000
	random := rand.New(rand.NewPCG(1, 1))
	var texts [2]strings.Builder
	for i := range texts {
		texts[i].WriteString("t,b,n\n")
	}
	for n, block := range random.Perm(rows) {
		fmt.Fprintf(&texts[n%2], "1700000000,%d,%d\n", block/3, n)
	}
	files := &flat.Files{
		Paths: []string{write(t, "a.csv", texts[0].String()), write(t, "b.csv", texts[1].String())},
		Sort:  true, Chunk: rows / 3, Events: flat.Config{Chain: "c", Type: "x", Time: "t", Block: "b"},
	}
	all, err := entries(t, files)
	if err != nil || len(all) != rows {
		t.Fatalf("%d entries, %v", len(all), err)
	}
	for i, entry := range all {
		if want := (events.ID{Major: uint64(i / 3), Minor: uint64(i%3) + 1}); entry.ID != want {
			t.Fatalf("entry %d is %s, want %s", i, entry.ID, want)
		}
	}
	again, err := entries(t, files)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(all, again) {
		t.Error("read again they are in another order")
	}
}

func TestStandardInputIsReadOnce(t *testing.T) {
	t.Parallel()
	files := &flat.Files{
		Paths: []string{"-"}, Input: strings.NewReader("t\n1700000000\n"), Rows: row.Options{Format: row.CSV},
		Events: flat.Config{Chain: "c", Type: "x", Time: "t"},
	}
	if all, err := entries(t, files); err != nil || len(all) != 1 {
		t.Errorf("%d entries, %v", len(all), err)
	}
	if _, err := entries(t, files); !errors.Is(err, flat.ErrOnce) {
		t.Errorf("the second time: %v", err)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	err := flat.Config{TypeColumn: "a", Type: "b"}.Validate()
	for _, want := range []string{"the chain is missing", "--type and --type-column exclude each other", "the column of the time is missing"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
	if err := (flat.Config{Chain: "c", TypeColumn: "a", Time: "t"}).Validate(); err != nil {
		t.Error(err)
	}
}
