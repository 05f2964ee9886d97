package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/events/redisstream"
	"github.com/chainmetrics/chainmetrics/shared/archive"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
)

type functionStatus struct {
	Function  string    `json:"function"`
	Stream    string    `json:"stream"`
	Watermark events.ID `json:"watermark"`
	MovedAt   time.Time `json:"moved_at"`
	Lag       *int64    `json:"lag"`                  // entries
	OldestAge *float64  `json:"oldest_age,omitempty"` // seconds since the append of the oldest entry not applied
	Late      bool      `json:"late"`                 // OldestAge is above what --late says
	Loss      string    `json:"loss,omitempty"`       // why the function cannot go on
	Away      string    `json:"away,omitempty"`       // why it need not go on from where it is

	acceptable bool // an entry follows the loss, so that the loss can be accepted
	heals      bool // the archive's next tick heals the loss
	holds      bool // the archive and every other function that is not away have come further
}

func readFunction(ctx context.Context, client *redisstream.Client, mark postgres.FunctionMark, info redisstream.Info,
	now time.Time, fed bool,
) (functionStatus, error) {
	f := functionStatus{
		Function: mark.Function, Stream: mark.Stream, Watermark: mark.Mark.ID, MovedAt: mark.UpdatedAt.UTC(), Away: away(mark, info),
	}
	if f.Away != "" {
		return f, nil
	}
	err := client.Check(ctx, mark.Stream, mark.Mark)
	if loss, ok := errors.AsType[*redisstream.LossError](err); ok {
		f.Loss = loss.Reason
		f.acceptable = info.LastEntry.Compare(mark.Mark.ID) > 0 && info.LastEntry.Compare(info.MaxDeleted) > 0
		return f, nil
	}
	if err != nil {
		return f, err
	}
	lag := info.Behind(mark.Mark.ID)
	f.Lag = &lag
	oldest, found, err := appendTime(ctx, client, mark, fed)
	if err != nil {
		return f, err
	}
	if found {
		age := max(0, now.Sub(oldest).Seconds())
		f.OldestAge = &age
	}
	return f, nil
}

// away says why a function need not go on from where it is; empty where it has to.
func away(mark postgres.FunctionMark, info redisstream.Info) string {
	switch {
	case mark.DetachedAt != nil:
		return "detached since " + mark.DetachedAt.UTC().Format(time.DateTime)
	case mark.Movable && info.Lacks(mark.Mark.ID):
		return "moved at the archive's next tick"
	}
	return ""
}

// findHolding finds the function that alone keeps each stream from being trimmed further.
func (s *status) findHolding() {
	for i := range s.Functions {
		f := &s.Functions[i]
		f.holds = f.Away == "" && slices.ContainsFunc(s.Functions, func(o functionStatus) bool {
			return o.Stream == f.Stream && o.Function == archive.Name && o.Watermark.Compare(f.Watermark) > 0
		}) && !slices.ContainsFunc(s.Functions, func(o functionStatus) bool {
			return o.Stream == f.Stream && o.Function != f.Function && o.Away == "" && o.Watermark.Compare(f.Watermark) <= 0
		})
	}
}

// isLate tells whether an entry that the function has not applied was appended more than late ago.
func (f functionStatus) isLate(late time.Duration) bool {
	return f.Lag != nil && *f.Lag > 0 && f.OldestAge != nil && *f.OldestAge > late.Seconds()
}

// age gives OldestAge, which must be known, in whole seconds.
func (f functionStatus) age() time.Duration {
	return time.Duration(*f.OldestAge * float64(time.Second)).Round(time.Second)
}

// appendTime gives the time at which the first entry after a mark was appended, where there is one that tells it. In a
// feed's stream it tells by the feed's clock, in others what a producer says does not count.
func appendTime(
	ctx context.Context, client *redisstream.Client, mark postgres.FunctionMark, fed bool,
) (at time.Time, found bool, err error) {
	entries, err := client.Range(ctx, mark.Stream, mark.Mark.ID, events.ID{}, 2)
	if err != nil {
		return time.Time{}, false, err
	}
	for _, entry := range entries {
		if entry.ID.Compare(mark.Mark.ID) > 0 {
			at := entry.Appended()
			if fed {
				at = entry.WaitsSince()
			}
			return at, events.Bucketed(at), nil // ids that are no times read as times before any chain
		}
	}
	return time.Time{}, false, nil
}

func (s *status) functionTable() *table {
	t := &table{columns: []column{
		{name: "function"},
		{name: "stream"},
		{name: "watermark", right: true},
		{name: "lag", right: true},
		{name: "oldest", right: true},
		{name: "moved"},
	}}
	for _, f := range s.Functions {
		lag, oldest := "loss", "-"
		if f.Lag != nil {
			lag = grouped(*f.Lag)
		}
		if f.Away != "" {
			lag = "away"
		}
		if f.OldestAge != nil {
			oldest = f.age().String()
		}
		t.add(f.Function, printable(f.Stream), f.Watermark.String(), lag, oldest, f.MovedAt.Format(time.DateTime))
	}
	return t
}
