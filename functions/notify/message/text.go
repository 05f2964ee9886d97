package message

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
)

const (
	mostListed  = 50  // events in a text
	mostSubject = 200 // bytes
	minutes     = "2006-01-02 15:04"
)

// words are how an event of a type is told.
type words struct{ one, many, sentence string }

var said = map[string]words{
	events.TypeRunFailed: {
		"run failed", "runs failed", "could not be computed, and will not be tried again by itself.",
	},
	events.TypeRunRetried: {
		"attempt failed, another one follows", "attempts failed, others follow", "could not be computed this time. Another attempt follows.",
	},
	events.TypeRunLate: {
		"run late", "runs late", "had no result by the metric's deadline.",
	},
	events.TypeBucketDrifted: {
		"buckets drifted", "windows drifted",
		"had buckets that were not the state of their events. They have been put right; why they were wrong is a bug, or somebody has written to the tables.",
	},
	events.TypeCheckFailed: {
		"check failed", "checks failed", "has values that do not pass a check of the metric's definition.",
	},
	DeadLetter: {
		"event not delivered", "events not delivered", "not taken, after all retries.",
	},
}

func subject(count int, first Event) string {
	w, about := said[first.Kind()], ""
	switch {
	case first.Undelivered != nil && count == 1:
		about = first.Type + " to " + first.Undelivered.Destination
	case first.Undelivered != nil:
		about = first.Undelivered.Destination
	case count == 1:
		about = fmt.Sprintf("%s, %s (%s)", first.Metric, first.window(), first.Chain)
	default:
		about = first.Metric
	}
	what := w.one
	if count > 1 {
		what = fmt.Sprintf("%d %s", count, w.many)
	}
	return cut("[chainmetrics] "+what+": "+about, mostSubject)
}

// cut shortens a text to a number of bytes.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	most -= len("…")
	for !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most] + "…"
}

// window names the window by its size and start.
func (e Event) window() string {
	start := e.BucketStart.Format(minutes)
	return e.BucketSize + " " + strings.TrimSuffix(start, " 00:00")
}

func text(count int, all []Event) string {
	var b strings.Builder
	first := all[0]
	switch w := said[first.Kind()]; {
	case count == 1 && first.Undelivered != nil:
		b.WriteString("An event was " + w.sentence + "\n\n")
	case first.Undelivered != nil:
		fmt.Fprintf(&b, "%d events were %s\n\n", count, w.sentence)
	case count == 1:
		b.WriteString("A window " + w.sentence + "\n\n")
	default:
		fmt.Fprintf(&b, "%d %s.\n\n", count, w.many)
	}
	if count == 1 {
		for _, line := range first.facts() {
			fmt.Fprintf(&b, "%-10s %s\n", line[0], line[1])
		}
	} else {
		for _, e := range all[:min(len(all), mostListed)] {
			b.WriteString(e.line() + "\n")
		}
		if more := count - min(len(all), mostListed); more > 0 {
			fmt.Fprintf(&b, "and %d more\n", more)
		}
	}
	b.WriteString("\nLook further:\n")
	for _, command := range first.commands(count) {
		b.WriteString("    chainmetrics " + command + "\n")
	}
	return b.String()
}

// facts are what one event says, by names.
func (e Event) facts() [][2]string {
	var all [][2]string
	add := func(name, value string) {
		if value != "" {
			all = append(all, [2]string{name, value})
		}
	}
	if u := e.Undelivered; u != nil {
		add("type", e.Type)
		add("to", u.Destination)
		add("status", u.Code)
		add("answer", u.Answer)
	} else {
		add("metric", fmt.Sprintf("%s (%s, %s)", e.Metric, e.MetricType, e.Complexity))
		add("chain", e.Chain)
		add("window", e.span())
		if e.RunID != 0 {
			add("run", fmt.Sprint(e.RunID))
		}
		add("reason", e.Reason)
		if e.Attempt != 0 {
			add("attempt", fmt.Sprint(e.Attempt))
		}
		add("error", e.Error)
		add("next", moment(e.NextAttemptAt))
		add("deadline", moment(e.Deadline))
		if e.Changes != 0 {
			add("buckets", fmt.Sprint(e.Changes))
		}
		add("check", e.Check)
		add("severity", e.Severity)
		add("message", e.Message)
	}
	add("time", moment(e.Time))
	add("event", events.OneLine(e.Source+" "+e.ID))
	return all
}

// span names the window by its size and both ends.
func (e Event) span() string {
	size, err := bucket.ParseSize(e.BucketSize)
	if err != nil { // of a later version
		return e.window()
	}
	w := size.Window(e.BucketStart)
	return fmt.Sprintf("%s, %s to %s UTC", e.BucketSize, w.Start.Format(minutes), w.End.Format(minutes))
}

func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.DateTime) + " UTC"
}

// line is what one of several events says.
func (e Event) line() string {
	if u := e.Undelivered; u != nil {
		return strings.TrimSpace(fmt.Sprintf("%s %s, %s: %s %s", e.Type, e.Time.Format(time.DateTime), events.OneLine(e.ID), u.Code, u.Answer))
	}
	text := fmt.Sprintf("%s (%s)", e.window(), e.Chain)
	if e.RunID != 0 {
		text += fmt.Sprintf(", run %d", e.RunID)
	}
	switch e.Type {
	case events.TypeRunLate:
		text += ": deadline " + moment(e.Deadline)
	case events.TypeBucketDrifted:
		text += fmt.Sprintf(": %d buckets", e.Changes)
	case events.TypeCheckFailed:
		text += fmt.Sprintf(": %s, %s: %s", e.Check, e.Severity, e.Message)
	default:
		text += ": " + e.Error
	}
	return text
}

// commands are what to look further with, without the program's name.
func (e Event) commands(count int) []string {
	if e.Undelivered != nil {
		return []string{"status"}
	}
	var all []string
	if e.RunID != 0 && count == 1 {
		all = append(all, fmt.Sprintf("run show %d", e.RunID))
	}
	switch e.Type {
	case events.TypeRunFailed:
		all = append(all, fmt.Sprintf("run list %s --state failed", e.Metric))
		if count == 1 {
			return append(all, fmt.Sprintf("run retry %d", e.RunID))
		}
		return append(all, "run retry --metric "+e.Metric)
	case events.TypeRunRetried, events.TypeRunLate:
		return append(all, fmt.Sprintf("run list %s --state queued", e.Metric), "status")
	case events.TypeCheckFailed:
		all = append(all, "check list "+e.Metric)
	}
	return append(all, fmt.Sprintf("query %s --bucket %s", e.Metric, e.BucketSize), "metric show "+e.Metric)
}
