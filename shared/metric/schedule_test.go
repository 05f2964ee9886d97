package metric

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chainmetrics/chainmetrics/shared/bucket"
)

func TestDueAt(t *testing.T) {
	t.Parallel()
	end := time.Date(2024, 3, 31, 0, 0, 0, 0, time.UTC)
	tests := map[string]struct {
		schedule Schedule
		want     string
	}{
		"every minute":      {Schedule{Cron: "* * * * *"}, "2024-03-31T00:00:00Z"},
		"grace":             {Schedule{Cron: "* * * * *", Grace: Duration(90 * time.Second)}, "2024-03-31T00:02:00Z"},
		"at six":            {Schedule{Cron: "0 6 * * *"}, "2024-03-31T06:00:00Z"},
		"at six in summer":  {Schedule{Cron: "0 6 * * *", Timezone: "Europe/Berlin"}, "2024-03-31T04:00:00Z"}, // it begins that night
		"on Mondays, later": {Schedule{Cron: "@weekly", Grace: Duration(25 * time.Hour)}, "2024-04-07T00:00:00Z"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := Definition{Name: "m", Schedule: test.schedule}.DueAt(bucket.Daily, end)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got.Format(time.RFC3339)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestMetricsAreDueApart: within five minutes, and each metric and size at the same moment every time.
func TestMetricsAreDueApart(t *testing.T) {
	t.Parallel()
	end := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	moments := make(map[time.Duration]bool)
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		for _, size := range bucket.Sizes() {
			d := Definition{Name: name, Schedule: Schedule{Grace: Duration(time.Hour)}}
			first, err := d.DueAt(size, end)
			if err != nil {
				t.Fatal(err)
			}
			later, err := d.DueAt(size, end.AddDate(0, 1, 0))
			if err != nil {
				t.Fatal(err)
			}
			after := first.Sub(end) - time.Hour
			if after < 0 || after >= 5*time.Minute || !later.Equal(first.AddDate(0, 1, 0)) {
				t.Errorf("%s %s: at %s, then at %s", name, size, first, later)
			}
			moments[after] = true
		}
	}
	if len(moments) < 30 {
		t.Errorf("%d moments for 48 schedules", len(moments))
	}
}

func TestMayRetry(t *testing.T) {
	t.Parallel()
	none, many := 0, 8
	tests := map[string]struct {
		schedule Schedule
		want     []time.Duration
	}{
		"default": {Schedule{}, []time.Duration{5 * time.Minute, 10 * time.Minute, 20 * time.Minute}},
		"none":    {Schedule{Retries: &none}, nil},
		"short":   {Schedule{RetryDelay: Duration(time.Second)}, []time.Duration{time.Second, 2 * time.Second, 4 * time.Second}},
		"longer":  {Schedule{RetryDelay: Duration(2 * time.Hour)}, []time.Duration{2 * time.Hour, 2 * time.Hour, 2 * time.Hour}},
		"up to hour": {Schedule{Retries: &many, RetryDelay: Duration(10 * time.Minute)}, []time.Duration{
			10 * time.Minute, 20 * time.Minute, 40 * time.Minute, time.Hour, time.Hour, time.Hour, time.Hour, time.Hour,
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []time.Duration
			for failed := 1; ; failed++ {
				after, ok := test.schedule.MayRetry(failed)
				if !ok {
					break
				}
				got = append(got, after)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestParseSchedule, then the form in which the registry has it: what was left out is not there.
func TestParseSchedule(t *testing.T) {
	t.Parallel()
	file := `name: m
type: counter
calculation_logic: {stream: {event_type: block}}
chains: [bitcoin]
bucket_sizes: [daily]
start_date: 2009-01-03
catchup: false
schedule: 0 6 * * *
schedule_timezone: Europe/Berlin
grace: 10m
retries: 0
retry_delay: 1m30s
max_active_runs: 4
execution_timeout: 30s
depends_on_past: true
deadline: 6h
`
	definitions, err := Parse("f", []byte(file), metricTypes)
	if err != nil {
		t.Fatal(err)
	}
	no, zero := false, 0
	want := Schedule{
		StartDate: time.Date(2009, 1, 3, 0, 0, 0, 0, time.UTC), Catchup: &no, Cron: "0 6 * * *", Timezone: "Europe/Berlin",
		Grace: Duration(10 * time.Minute), Retries: &zero, RetryDelay: Duration(90 * time.Second), MaxActiveRuns: 4,
		ExecutionTimeout: Duration(30 * time.Second), DependsOnPast: true, Deadline: Duration(6 * time.Hour),
	}
	if diff := cmp.Diff(want, definitions[0].Schedule); diff != "" {
		t.Error(diff)
	}
}
