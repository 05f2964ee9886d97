package bucket_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chainmetrics/chainmetrics/shared/bucket"
)

func TestWindow(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		size       bucket.Size
		at         string
		start, end string
	}{
		"minute":                      {bucket.Minutely, "2024-01-05T23:59:59.999999Z", "2024-01-05T23:59:00Z", "2024-01-06T00:00:00Z"},
		"ten minutes":                 {bucket.TenMinutely, "2024-01-05T23:59:59Z", "2024-01-05T23:50:00Z", "2024-01-06T00:00:00Z"},
		"first microsecond of hour":   {bucket.Hourly, "2009-01-03T18:00:00Z", "2009-01-03T18:00:00Z", "2009-01-03T19:00:00Z"},
		"last microsecond of hour":    {bucket.Hourly, "2009-01-03T18:59:59.999999Z", "2009-01-03T18:00:00Z", "2009-01-03T19:00:00Z"},
		"leap day":                    {bucket.Daily, "2024-02-29T12:00:00Z", "2024-02-29T00:00:00Z", "2024-03-01T00:00:00Z"},
		"no leap day in 2100":         {bucket.Daily, "2100-02-28T12:00:00Z", "2100-02-28T00:00:00Z", "2100-03-01T00:00:00Z"},
		"other zone":                  {bucket.Daily, "2024-03-01T01:00:00+02:00", "2024-02-29T00:00:00Z", "2024-03-01T00:00:00Z"},
		"week starts on Monday":       {bucket.Weekly, "2009-01-05T00:00:00Z", "2009-01-05T00:00:00Z", "2009-01-12T00:00:00Z"},
		"Sunday ends a week":          {bucket.Weekly, "2009-01-04T23:59:59.999999Z", "2008-12-29T00:00:00Z", "2009-01-05T00:00:00Z"},
		"week over the end of a year": {bucket.Weekly, "2021-01-03T00:00:00Z", "2020-12-28T00:00:00Z", "2021-01-04T00:00:00Z"},
		"week of the leap day":        {bucket.Weekly, "2024-02-29T00:00:00Z", "2024-02-26T00:00:00Z", "2024-03-04T00:00:00Z"},
		"leap month":                  {bucket.Monthly, "2024-02-29T23:59:59Z", "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"},
		"month at the end of a year":  {bucket.Monthly, "2023-12-31T23:59:59.999999Z", "2023-12-01T00:00:00Z", "2024-01-01T00:00:00Z"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := c.size.Window(instant(t, c.at))
			want := bucket.Window{Start: instant(t, c.start), End: instant(t, c.end)}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWindowsFollowWithoutGap(t *testing.T) {
	t.Parallel()
	from, to := instant(t, "2023-12-30T11:11:11Z"), instant(t, "2024-03-02T00:00:00Z")
	for _, size := range bucket.Sizes() {
		var last bucket.Window
		for w := range size.Windows(from, to) {
			if last.End.IsZero() {
				if !w.Contains(from) {
					t.Fatalf("%s: the first window %v does not contain %s", size, w, from)
				}
			} else if !w.Start.Equal(last.End) {
				t.Fatalf("%s: %v follows %v", size, w, last)
			}
			last = w
		}
		if last.End.Before(to) || !last.Start.Before(to) {
			t.Errorf("%s: the last window %v does not reach %s", size, last, to)
		}
	}
}

func TestParseSizeReadsWhatStringGives(t *testing.T) {
	t.Parallel()
	for _, size := range bucket.Sizes() {
		got, err := bucket.ParseSize(size.String())
		if err != nil || got != size {
			t.Errorf("%s: got %s, %v", size, got, err)
		}
	}
	if _, err := bucket.ParseSize("yearly"); err == nil {
		t.Error("yearly was read")
	}
}

func FuzzWindow(f *testing.F) {
	f.Add(int64(1231006505_000000), uint8(bucket.Weekly))
	f.Add(int64(-1), uint8(bucket.Monthly))
	f.Fuzz(func(t *testing.T, micros int64, n uint8) {
		const limit = 1 << 57 // about 4,500 years around 1970
		size := bucket.Sizes()[int(n)%len(bucket.Sizes())]
		at := time.UnixMicro(micros % limit).UTC()
		w := size.Window(at)
		if !w.Contains(at) {
			t.Fatalf("%s window %v does not contain %s", size, w, at)
		}
		if w.Contains(w.End) || !w.Contains(w.End.Add(-time.Microsecond)) {
			t.Fatalf("%s window %v is not half-open", size, w)
		}
		for _, edge := range []time.Time{w.Start, w.End.Add(-time.Microsecond)} {
			if size.Window(edge) != w {
				t.Fatalf("%s: %s lies in %v, not in %v", size, edge, size.Window(edge), w)
			}
		}
		if next := size.Window(w.End); !next.Start.Equal(w.End) {
			t.Fatalf("%s: %v does not follow %v", size, next, w)
		}
		if size == bucket.Weekly && w.Start.Weekday() != time.Monday {
			t.Fatalf("week starts on %s", w.Start.Weekday())
		}
		day := bucket.Daily.Window(at)
		if size > bucket.Daily && (day.Start.Before(w.Start) || day.End.After(w.End)) {
			t.Fatalf("day %v is not within %s window %v", day, size, w)
		}
	})
}

func instant(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		t.Fatal(err)
	}
	return at.UTC()
}
