package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/coverage"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
)

// mostWindows is how many windows are looked at.
const mostWindows = 1_000_000

// errTooManyWindows says that a part has to be named.
var errTooManyWindows = errors.New("too many windows")

// part is the windows that coverage is asked of.
type part struct {
	size     bucket.Size
	from, to time.Time // zero: as far as the archive has anything
}

// readPart reads the flags. Whatever is wrong with them is wrong usage.
func (a *app) readPart(cmd *cobra.Command, f coverageFlags) (part, error) {
	if f.bucket == "" {
		if f.fromText != "" || f.toText != "" {
			return part{}, usage(cmd, "--from and --to are of windows: name their size with --bucket")
		}
		return part{}, nil
	}
	size, err := bucket.ParseSize(f.bucket)
	if err != nil {
		err = fmt.Errorf("--bucket: %w", err)
	}
	if err := errors.Join(err, f.read(a.now())); err != nil {
		return part{}, usage(cmd, "%w", err)
	}
	return part{size, f.from, f.to}, nil
}

// of bounds the part by what there is of a chain; false where nothing is.
func (p part) of(c coverage.Coverage) (part, bool) {
	first, last, some := c.Extent()
	if p.from.IsZero() {
		p.from = first
		if !events.Bucketed(first) { // a genesis of time 0
			p.from = events.Earliest
		}
	}
	if p.to.IsZero() {
		p.to = last.Add(time.Microsecond)
	}
	return p, some || !p.from.IsZero() && !p.to.IsZero() && p.from.Before(p.to)
}

func (a *app) showPeriods(ctx context.Context, store *postgres.Store, asked covered, p part, output string) error {
	shown := []shownPeriods{}
	var missing []coverage.Coverage
	t := &table{columns: []column{
		{name: "stream"},
		{name: "chain"},
		{name: "from"},
		{name: "to"},
		{name: "windows", right: true},
		{name: "state"},
		{name: "missing"},
	}}
	for _, c := range asked.coverages {
		periods, err := periodsOf(ctx, store, asked, c, p)
		if err != nil {
			return err
		}
		shown = append(shown, shownPeriods{
			Stream: c.Stream, Chain: c.Chain, Metric: asked.metric, BucketSize: p.size, Periods: shownPeriodsOf(periods),
		})
		for _, period := range periods {
			var holes []string
			for _, h := range period.Holes {
				holes = append(holes, holeHeights(h))
			}
			if len(holes) > 0 {
				missing = append(missing, c)
			}
			t.add(printable(c.Stream), printable(c.Chain), windowText(p.size, bucket.Window{Start: period.From}),
				windowText(p.size, bucket.Window{Start: period.To}), grouped(int64(period.Windows)), period.State.String(),
				strings.Join(holes, ", "))
		}
	}
	if output == outputJSON {
		return writeJSON(a.out, shown)
	}
	if len(t.rows) == 0 {
		_, err := fmt.Fprintln(a.errors, "the archive has nothing of it yet")
		return err
	}
	var text strings.Builder
	if err := t.write(&text, styleOf(a.out), ""); err != nil {
		return err
	}
	_, err := io.WriteString(a.out, text.String()+a.holeAdvice(missing))
	return err
}

func periodsOf(ctx context.Context, store *postgres.Store, asked covered, c coverage.Coverage, p part) ([]coverage.Period, error) {
	p, some := p.of(c)
	if !some {
		return nil, nil
	}
	count := 0
	for range p.size.Windows(p.from, p.to) {
		if count++; count > mostWindows {
			return nil, advise(fmt.Errorf("%w: more than %s", errTooManyWindows, grouped(mostWindows)), "name a part with --from and --to")
		}
	}
	windows := p.size.Windows(p.from, p.to)
	eventful, err := store.Eventful(ctx, c, asked.eventTypes, windows, asked.delay)
	if err != nil {
		return nil, err
	}
	return c.Periods(windows, asked.delay, eventful), nil
}
