package main

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chainmetrics/chainmetrics/events"
)

const reportEvery = 5 * time.Second

// progress tells how far a feed is: in the log, and as metrics.
type progress struct {
	appendedBlocks, fenced, heals prometheus.Counter
	failures                      *prometheus.CounterVec
	height, tip, unappliedEntries prometheus.Gauge

	ready    atomic.Bool // both servers answer
	began    time.Time
	reported time.Time
	blocks   int // since it began
	counted  int // of them at the last report
	last     events.ID
	until    uint64
	behind   int
}

func newProgress(registry prometheus.Registerer) *progress {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "chainmetrics", Subsystem: "feed", Name: name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "chainmetrics", Subsystem: "feed", Name: name, Help: help})
	}
	p := &progress{
		appendedBlocks: counter("blocks_appended_total", "Blocks appended to the stream."),
		fenced:         counter("fenced_total", "Appends that came after another feed's."),
		heals:          counter("heals_total", "Losses of the stream that were mended."),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "chainmetrics", Subsystem: "feed", Name: "failures_total", Help: "Failures, by what failed.",
		}, []string{"of"}),
		height:           gauge("height", "Height of the last block in the stream."),
		tip:              gauge("tip_height", "Height of the last block in the files."),
		unappliedEntries: gauge("unapplied_entries", "Entries above the lowest watermark of the stream's functions."),
	}
	for _, of := range []origin{ofRedis, ofPostgres, ofFiles} {
		p.failures.WithLabelValues(string(of)) // from nothing to one is no increase
	}
	registry.MustRegister(p.appendedBlocks, p.fenced, p.heals, p.failures, p.height, p.tip, p.unappliedEntries)
	return p
}

func (p *progress) start(now time.Time) { p.began, p.reported = now, now }

// located notes where the stream and the files end.
func (p *progress) located(end events.ID, tip uint64, unapplied int) {
	p.ready.Store(true)
	p.until = tip
	p.tip.Set(float64(tip))
	p.at(end, unapplied)
}

func (p *progress) appended(blocks int, end events.ID, unapplied int) {
	p.blocks += blocks
	p.appendedBlocks.Add(float64(blocks))
	p.at(end, unapplied)
}

func (p *progress) at(end events.ID, unapplied int) {
	p.last, p.behind = end, unapplied
	if !end.IsZero() {
		p.height.Set(float64(end.Minor - 1))
	}
	p.unappliedEntries.Set(float64(unapplied))
}

func (p *progress) failed(err error) {
	p.ready.Store(false)
	if failed, ok := errors.AsType[failure](err); ok {
		p.failures.WithLabelValues(string(failed.origin)).Inc()
	}
}

// report logs what happened in the last seconds, if anything did.
func (p *progress) report(ctx context.Context, log *slog.Logger, now time.Time) {
	passed := now.Sub(p.reported)
	if passed < reportEvery {
		return
	}
	if p.blocks > p.counted {
		log.InfoContext(ctx, "feeding", "blocks_per_second", int(float64(p.blocks-p.counted)/passed.Seconds()),
			"height", p.last.Minor-1, "tip", p.until, "unapplied", p.behind)
	}
	p.reported, p.counted = now, p.blocks
}

// summarise logs what the whole run did.
func (p *progress) summarise(ctx context.Context, log *slog.Logger, now time.Time) {
	passed := now.Sub(p.began)
	log.InfoContext(ctx, "everything is fed", "blocks", p.blocks, "seconds", passed.Seconds(),
		"blocks_per_second", int(float64(p.blocks)/max(passed.Seconds(), 0.001)), "end", p.last)
}

// errServers is why a feed is not ready.
var errServers = errors.New("no answer from Redis or PostgreSQL")

// check tells whether the feed can work.
func (p *progress) check() error {
	if !p.ready.Load() {
		return errServers
	}
	return nil
}
