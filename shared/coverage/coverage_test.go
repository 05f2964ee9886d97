package coverage_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/coverage"
)

// hour gives a time of a day: "3" or "3:30".
func hour(t *testing.T, text string) time.Time {
	t.Helper()
	var h, m int
	if _, err := fmt.Sscanf(text+":00", "%d:%d", &h, &m); err != nil {
		t.Fatal(err)
	}
	return time.Date(2024, 1, 5, h, m, 0, 0, time.UTC)
}

// blocks is segments, each of "from height, time of the first, time of the last, low water", with the holes between them.
func blocks(t *testing.T, segments ...string) coverage.Coverage {
	t.Helper()
	c := coverage.Coverage{Vouched: true}
	for _, text := range segments {
		f := strings.Fields(text)
		s := coverage.Segment{FromTime: hour(t, f[1]), ToTime: hour(t, f[2]), LowWater: hour(t, f[3])}
		if _, err := fmt.Sscan(f[0], &s.From); err != nil {
			t.Fatal(err)
		}
		s.To = s.From + 9
		if n := len(c.Segments); n > 0 {
			before := c.Segments[n-1]
			c.Holes = append(c.Holes, coverage.Hole{
				From: before.To + 1, To: s.From - 1, Known: true, After: before.LowWater, Before: s.FromTime,
			})
		}
		c.Segments = append(c.Segments, s)
	}
	return c
}

func declared(t *testing.T, c coverage.Coverage, intervals ...string) coverage.Coverage {
	t.Helper()
	for _, text := range intervals {
		f := strings.Fields(text)
		c.Declarations = append(c.Declarations, coverage.Declaration{
			From: hour(t, f[0]), To: hour(t, f[1]), Archived: len(f) == 2,
		})
	}
	return c
}

// TestState looks at the hours from 1 to 7 of a day: c is complete, m missing, ? unknown.
func TestState(t *testing.T) {
	t.Parallel()
	flat := coverage.Coverage{Vouched: true}
	lost := declared(t, flat, "2 7")
	lost.Holes = []coverage.Hole{{After: hour(t, "3"), Before: hour(t, "4")}}
	open, leftOut, expired := blocks(t, "0 1 7 7", "20 8 9 9"), blocks(t, "0 1 7 7"), blocks(t, "0 1 9 9")
	open.Vouched, leftOut.LeftOut, expired.Floor = false, true, hour(t, "2:30")
	for name, test := range map[string]struct {
		coverage coverage.Coverage
		delay    time.Duration
		want     string
	}{
		"nothing":                         {flat, 0, "???????"},
		"from genesis":                    {blocks(t, "0 1:30 5:10 5:10"), 0, "cccc???"},
		"up to the very end":              {blocks(t, "0 1:30 6 6"), 0, "ccccc??"},
		"from some block":                 {blocks(t, "7 1:30 5:10 5:10"), 0, "?ccc???"},
		"a block at the very start":       {blocks(t, "7 2 5:10 5:10"), 0, "??cc???"},
		"times that go back":              {blocks(t, "0 1:30 5:10 4:10"), 0, "ccc????"},
		"hole within an hour":             {blocks(t, "0 1:30 3:10 3:10", "20 3:50 7:59 7:59"), 0, "ccmccc?"},
		"hole over hours":                 {blocks(t, "0 1:30 3:10 3:10", "20 5:50 8 8"), 0, "ccmmmcc"},
		"hole up to an hour":              {blocks(t, "0 1:30 3:10 3:10", "20 5 8 8"), 0, "ccmmmcc"},
		"hole from an hour":               {blocks(t, "0 1:30 3 3", "20 3:20 8 8"), 0, "ccmcccc"},
		"hole, times that go back":        {blocks(t, "0 1:30 3:10 2:50", "20 3:50 8 8"), 0, "cmmcccc"},
		"two holes":                       {blocks(t, "0 1:30 3:10 3:10", "20 3:20 3:30 3:30", "40 5:20 9 9"), 0, "ccmmmcc"},
		"delay":                           {blocks(t, "0 1:30 4:10 4:10", "20 4:20 9 9"), time.Hour, "ccmmmcc"},
		"delay at the ends":               {blocks(t, "7 1:30 7 7"), time.Hour, "??ccc??"},
		"declared rows":                   {declared(t, flat, "2 4"), 0, "?cc????"},
		"declared rows, hours in part":    {declared(t, flat, "1:30 4:30"), 0, "?cc????"},
		"declared twice, one by the next": {declared(t, flat, "2 4", "3 3:30", "4 6"), 0, "?cccc??"},
		"declared with a gap":             {declared(t, flat, "2 4", "4:10 6"), 0, "?cc?c??"},
		"declared, not archived":          {declared(t, flat, "2 4 no"), 0, "???????"},
		"declared, entries lost":          {lost, 0, "?cmmcc?"},
		"declared beginning and end":      {declared(t, blocks(t, "7 2:10 5:10 5:10"), "2 6"), 0, "?cccc??"},
		"declared up to the blocks":       {declared(t, blocks(t, "7 2:10 5:10 5:10"), "2 2:20", "5:05 7"), 0, "?ccccc?"},
		"declared past a hole":            {declared(t, blocks(t, "7 2:10 3:10 3:10", "20 4:10 5:10 5:10"), "2 6"), 0, "?cmmc??"},
		"an open stream":                  {open, 0, "??????m"},
		"events left out":                 {leftOut, 0, "???????"},
		"below the floor":                 {expired, 0, "??ccccc"},
	} {
		var got strings.Builder
		for w := range bucket.Hourly.Windows(hour(t, "1"), hour(t, "8")) {
			state, holes := test.coverage.State(w, test.delay)
			got.WriteString(map[coverage.State]string{
				coverage.Complete: "c", coverage.Missing: "m", coverage.Unknown: "?", coverage.Empty: "e",
			}[state])
			if (len(holes) > 0) != (state == coverage.Missing) {
				t.Errorf("%s: %v is %s with %d holes", name, w, state, len(holes))
			}
		}
		if got.String() != test.want {
			t.Errorf("%s: %s, want %s", name, got.String(), test.want)
		}
	}
}

// TestPeriods puts windows together where nothing tells them apart.
func TestPeriods(t *testing.T) {
	t.Parallel()
	c := blocks(t, "0 1:30 3:10 3:10", "20 3:20 4:30 4:30", "40 4:40 7 7")
	eventful := map[time.Time]bool{hour(t, "1"): true, hour(t, "2"): true, hour(t, "6"): true}
	var got []string
	for _, p := range c.Periods(bucket.Hourly.Windows(hour(t, "1"), hour(t, "9")), 0, eventful) {
		state, err := json.Marshal(p.State)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%d-%d %d %s %d", p.From.Hour(), p.To.Hour(), p.Windows, state, len(p.Holes)))
	}
	want := `1-3 2 "complete" 0, 3-4 1 "missing" 1, 4-5 1 "missing" 1, 5-6 1 "empty" 0, 6-7 1 "complete" 0, 7-9 2 "unknown" 0`
	if text := strings.Join(got, ", "); text != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
	if _, err := json.Marshal(coverage.State(0)); err == nil || coverage.State(9).String() != "State(9)" {
		t.Error("a state that is none has a text form")
	}
}
