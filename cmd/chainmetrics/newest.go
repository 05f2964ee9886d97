package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/chainmetrics/chainmetrics/functions"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/metric"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/shared/series"
)

const (
	newestDays   = 7 // that up shows
	newestIndent = "  "
)

// showNewest shows the newest daily buckets, and how to look further.
func (s *localSystem) showNewest(ctx context.Context) error {
	newest, names, days, err := s.newestBuckets(ctx)
	if err != nil {
		return err
	}
	var text strings.Builder
	if len(names) > 0 {
		text.WriteString("\n" + newestIndent + s.screen.bold("Newest daily buckets") + ", " +
			windowText(bucket.Daily, days[0]) + " to " + windowText(bucket.Daily, days[len(days)-1]) + " UTC\n\n")
		if err := newest.write(&text, s.screen.style, newestIndent); err != nil {
			return err
		}
	}
	text.WriteString("\n")
	name := "METRIC"
	if len(names) > 0 {
		name = names[0]
	}
	if s.flags.once && (s.postgres != nil || s.redis != nil) {
		text.WriteString("  All that was fed is applied. Look further with: " + s.app.command("up") + "\n")
	} else {
		text.WriteString(s.further(name))
	}
	if !s.flags.once {
		text.WriteString("\n  Serving until Ctrl-C.\n")
	}
	s.screen.notice(strings.TrimRight(text.String(), "\n"))
	return nil
}

// newestBuckets gives a table of the newest days, as many as fit on the screen, of a metric for each subject, which is
// the first tag, among those that have one bucket a day; the names of these metrics, and the days.
func (s *localSystem) newestBuckets(ctx context.Context) (t *table, names []string, windows []bucket.Window, err error) {
	var (
		subjects = make(map[string]bool)
		values   []map[bucket.Window]string
		days     = make(map[bucket.Window]string)
	)
	for _, d := range s.definitions {
		subject := append(d.Tags, "")[0]
		if subjects[subject] || !slices.Contains(d.BucketSizes, bucket.Daily) || len(d.Calculation.DimensionNames()) > 0 {
			continue
		}
		daily, err := s.dailyValues(ctx, d)
		if err != nil {
			return nil, nil, nil, err
		}
		if len(daily) == 0 {
			continue
		}
		subjects[subject] = true
		names, values = append(names, d.Name), append(values, daily)
		maps.Copy(days, daily)
	}
	windows = newestWindows(days)
	t = newestTable(names, windows, values)
	for len(windows) > 1 && t.width() > terminalWidth(s.app.out)-len(newestIndent) {
		windows = windows[1:]
		t = newestTable(names, windows, values)
	}
	return t, names, windows, nil
}

// newestTable has a row for each metric and a column for each day.
func newestTable(names []string, days []bucket.Window, values []map[bucket.Window]string) *table {
	t := &table{columns: []column{{name: "metric"}}}
	for _, day := range days {
		t.columns = append(t.columns, column{name: day.Start.Format("01-02"), right: true})
	}
	for i, name := range names {
		row := []string{name}
		for _, day := range days {
			row = append(row, cmp.Or(values[i][day], "-"))
		}
		t.add(row...)
	}
	return t
}

// dailyValues gives the values of a metric by day, of one chain.
func (s *localSystem) dailyValues(ctx context.Context, definition metric.Definition) (map[bucket.Window]string, error) {
	options := series.Options{Size: bucket.Daily, Cumulative: definition.Cumulative}
	if err := options.Check(definition, functions.Definition(definition.Type)); err != nil {
		return nil, fmt.Errorf("read newest buckets: %w", err)
	}
	all, _, err := readSeries(ctx, s.store, definition, options, postgres.Query{})
	if err != nil || len(all) == 0 {
		return nil, err
	}
	values := make(map[bucket.Window]string)
	for _, p := range all[0].Points {
		values[p.Window] = p.Value.String()
	}
	return values, nil
}

// newestWindows gives the newest days that have a value, in order.
func newestWindows(values map[bucket.Window]string) []bucket.Window {
	windows := make([]bucket.Window, 0, len(values))
	for w := range values {
		windows = append(windows, w)
	}
	slices.SortFunc(windows, func(a, b bucket.Window) int { return a.Start.Compare(b.Start) })
	return windows[max(0, len(windows)-newestDays):]
}

// further says how to look further.
func (s *localSystem) further(name string) string {
	var t table
	t.columns = []column{{}, {}}
	sql := "select bucket_start, value from metric_buckets where metric = '" + name +
		"' and bucket_size = 'daily' order by 1 desc limit 7"
	t.add("SQL", s.psql()+" -c "+shellQuote(sql))
	t.add("series", s.app.command("query", name, "--bucket", bucket.Daily.String()))
	t.add("metrics", s.app.command("metric", "list"))
	t.add("status", s.app.command("status"))
	t.add("logs", s.directory.join(logFolder))
	var text strings.Builder
	for _, row := range t.rows {
		text.WriteString("  " + s.screen.bold(pad(row[0], nameWidth)) + row[1] + "\n")
	}
	return text.String()
}

// psql gives a command that opens the store, without a password.
func (s *localSystem) psql() string {
	if s.postgres != nil {
		return "psql " + shellQuote(s.postgres.url())
	}
	if s.app.postgresURL == "" && os.Getenv("POSTGRES_URL") != "" {
		return `psql "$POSTGRES_URL"`
	}
	return "psql " + shellQuote(withoutPassword(s.storeURL))
}
