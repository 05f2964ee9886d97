package main

import (
	"time"

	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/coverage"
)

// shownCoverage is the JSON form of what the archive has of a chain in a stream.
type shownCoverage struct {
	Stream       string             `json:"stream"`
	Chain        string             `json:"chain"`
	Floor        *time.Time         `json:"archive_floor"`
	Segments     []shownSegment     `json:"segments"`
	Holes        []shownHole        `json:"holes"`
	Declarations []shownDeclaration `json:"declarations"`
}

type shownSegment struct {
	From     int64     `json:"from_height"`
	To       int64     `json:"to_height"`
	FromTime time.Time `json:"from_time"`
	ToTime   time.Time `json:"to_time"`
	LowWater time.Time `json:"low_water"`
}

type shownHole struct {
	FromHeight *int64    `json:"from_height"`
	ToHeight   *int64    `json:"to_height"`
	After      time.Time `json:"after"`
	Before     time.Time `json:"before"`
}

type shownDeclaration struct {
	From        time.Time `json:"from"`
	To          time.Time `json:"to"`
	EveryHeight bool      `json:"every_height"`
	Archived    bool      `json:"archived"`
}

func shownCoverages(coverages []coverage.Coverage) []shownCoverage {
	shown := make([]shownCoverage, len(coverages))
	for i, c := range coverages {
		shown[i] = shownCoverage{
			Stream: c.Stream, Chain: c.Chain, Holes: shownHoles(c.Holes), Segments: make([]shownSegment, len(c.Segments)),
			Declarations: make([]shownDeclaration, len(c.Declarations)),
		}
		if !c.Floor.IsZero() {
			shown[i].Floor = &c.Floor
		}
		for j, s := range c.Segments {
			shown[i].Segments[j] = shownSegment(s)
		}
		for j, d := range c.Declarations {
			shown[i].Declarations[j] = shownDeclaration(d)
		}
	}
	return shown
}

func shownHoles(holes []coverage.Hole) []shownHole {
	shown := make([]shownHole, len(holes))
	for i, h := range holes {
		shown[i] = shownHole{After: h.After, Before: h.Before}
		if h.Known {
			shown[i].FromHeight, shown[i].ToHeight = &h.From, &h.To
		}
	}
	return shown
}

// shownPeriods is the JSON form of the states of windows.
type shownPeriods struct {
	Stream     string        `json:"stream"`
	Chain      string        `json:"chain"`
	Metric     string        `json:"metric,omitempty"`
	BucketSize bucket.Size   `json:"bucket_size"`
	Periods    []shownPeriod `json:"periods"`
}

type shownPeriod struct {
	From    time.Time      `json:"from"`
	To      time.Time      `json:"to"`
	Windows int            `json:"windows"`
	State   coverage.State `json:"state"`
	Holes   []shownHole    `json:"holes"`
}

func shownPeriodsOf(periods []coverage.Period) []shownPeriod {
	shown := make([]shownPeriod, len(periods))
	for i, p := range periods {
		shown[i] = shownPeriod{From: p.From, To: p.To, Windows: p.Windows, State: p.State, Holes: shownHoles(p.Holes)}
	}
	return shown
}
