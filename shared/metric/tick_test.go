package metric

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/robfig/cron/v3"

	"github.com/chainmetrics/chainmetrics/shared/bucket"
)

func TestTick(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		size     bucket.Size
		schedule Schedule
		want     string
	}{
		"minutely":                         {bucket.Minutely, Schedule{}, "35 * * * * UTC"},
		"10-minutely":                      {bucket.TenMinutely, Schedule{}, "19 * * * * UTC"},
		"hourly":                           {bucket.Hourly, Schedule{}, "5 * * * * UTC"},
		"hourly, some hours later":         {bucket.Hourly, Schedule{Grace: Duration(5*time.Hour + 10*time.Minute)}, "15 * * * * UTC"},
		"daily":                            {bucket.Daily, Schedule{}, "3 0 * * * UTC"},
		"daily, days later":                {bucket.Daily, Schedule{Grace: Duration(50 * time.Hour)}, "3 2 * * * UTC"},
		"weekly":                           {bucket.Weekly, Schedule{}, "1 0 * * 1 UTC"},
		"weekly, on Sunday":                {bucket.Weekly, Schedule{Grace: Duration(6 * day)}, "1 0 * * 0 UTC"},
		"weekly, weeks later":              {bucket.Weekly, Schedule{Grace: Duration(15 * day)}, "1 0 * * 2 UTC"},
		"monthly":                          {bucket.Monthly, Schedule{}, "1 0 1 * * UTC"},
		"monthly, days later":              {bucket.Monthly, Schedule{Grace: Duration(27 * day)}, "1 0 28 * * UTC"},
		"monthly, as long as February":     {bucket.Monthly, Schedule{Grace: Duration(28 * day)}, "1 0 1 * * UTC"},
		"monthly, at the end of a month":   {bucket.Monthly, Schedule{Grace: Duration(58 * day)}, "0 0 1 * * UTC"},
		"monthly, a year later":            {bucket.Monthly, Schedule{Grace: Duration(366 * day)}, "1 0 2 * * UTC"},
		"a schedule of its own":            {bucket.Daily, Schedule{Cron: "0 6 * * *", Grace: Duration(time.Hour)}, "0 6 * * * UTC"},
		"a schedule of its own, in a zone": {bucket.Daily, Schedule{Cron: "@daily", Timezone: "Europe/Berlin"}, "@daily Europe/Berlin"},
		"every so often":                   {bucket.Hourly, Schedule{Cron: "@every 90m"}, "49 * * * * UTC"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			expression, timezone, err := Definition{Name: "m", Schedule: test.schedule}.Tick(test.size)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, expression+" "+timezone); diff != "" {
				t.Error(diff)
			}
		})
	}
	for _, none := range []Schedule{{Cron: "often"}, {Cron: "0 6 * * *", Timezone: "Local"}} {
		if got, _, err := (Definition{Schedule: none}).Tick(bucket.Daily); err == nil {
			t.Errorf("a schedule that is none has tick %q", got)
		}
	}
}

// TestTicksComeWhenWindowsAreDue: whatever the name and the grace, each window is due at a tick within the next minute, of months
// within a week. Each month has one tick.
func TestTicksComeWhenWindowsAreDue(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	genesis := time.Date(2009, 1, 3, 0, 0, 0, 0, time.UTC)
	for i := range 4000 {
		size := bucket.Sizes()[i%6]
		d := Definition{Name: fmt.Sprint("m", i), Schedule: Schedule{Grace: Duration(random.Int64N(int64(maxDuration)))}}
		switch i / 6 % 4 {
		case 0:
			d.Grace = 0
		case 1:
			d.Grace %= Duration(time.Hour)
		case 2:
			d.Cron = fmt.Sprintf("%d %d * * *", random.IntN(60), random.IntN(24))
			d.Timezone = []string{"", "Europe/Berlin", "Asia/Kolkata"}[random.IntN(3)]
		}
		end := size.Window(genesis.Add(time.Duration(random.Int64N(int64(20 * 365 * day))))).End
		due, err := d.DueAt(size, end)
		if err != nil {
			t.Fatal(err)
		}
		expression, timezone, err := d.Tick(size)
		if err != nil {
			t.Fatal(err)
		}
		schedule, err := cron.ParseStandard("CRON_TZ=" + timezone + " " + expression)
		if err != nil {
			t.Fatalf("%+v: %v", d.Schedule, err)
		}
		tick := schedule.Next(due.Add(-time.Nanosecond))
		within := time.Minute
		switch {
		case size == bucket.Monthly && d.Cron == "":
			within = 7 * day
		case size < bucket.Hourly && d.Cron == "":
			within = time.Hour
		}
		if late := tick.Sub(due); late < 0 || late >= within {
			t.Errorf("%s with %+v: the window that ends at %s is due at %s, tick %q comes at %s", size, d.Schedule, end, due, expression, tick)
		}
		if size != bucket.Monthly || d.Cron != "" {
			continue
		}
		for month := range 12 {
			begin := time.Date(2023, time.Month(month+1), 1, 0, 0, 0, 0, time.UTC)
			first := schedule.Next(begin.Add(-time.Nanosecond))
			if second := schedule.Next(first); first.Month() != begin.Month() || second.Month() == begin.Month() {
				t.Errorf("%s: in %s tick %q comes at %s, then at %s", size, begin.Month(), expression, first, second)
			}
		}
	}
}
