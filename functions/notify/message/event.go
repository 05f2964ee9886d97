package message

import (
	"encoding/json"
	"fmt"
	"regexp"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"github.com/chainmetrics/chainmetrics/events"
)

// Event is what a CloudEvent says that people are told of. Its texts are on one line.
type Event struct {
	ID, Source, Type string
	Time             time.Time
	events.Window    // of a dead letter empty
	RunID            int64
	Reason           string // why the run was requested
	Attempt          int64
	Error            string
	NextAttemptAt    time.Time
	Deadline         time.Time
	Changes          int64
	Check, Severity  string
	Message          string              // of the check
	Undelivered      *events.Undelivered // nil: it is no dead letter
	CloudEvent       json.RawMessage     // its JSON form
}

// data is what the data of the types have, each some of it.
type data struct {
	events.Window
	RunID         int64     `json:"run_id"`
	Reason        string    `json:"reason"`
	Attempt       int64     `json:"attempt"`
	Error         string    `json:"error"`
	NextAttemptAt time.Time `json:"next_attempt_at"`
	Deadline      time.Time `json:"deadline"`
	Changes       int64     `json:"changes"`
	Check         string    `json:"check"`
	Severity      string    `json:"severity"`
	Message       string    `json:"message"`
}

// Forms of names, as the schemas of the types have them.
var (
	metricName = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)
	word       = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)
)

// mostData is how many bytes of data of a dead letter are kept.
const mostData = 16 << 10

// Read reads a notice, or a dead letter of any type. It fails with events.ErrInvalid.
func Read(ce event.Event) (Event, error) {
	e := Event{ID: ce.ID(), Source: ce.Source(), Type: events.OneLine(ce.Type()), Time: ce.Time().UTC()}
	if undelivered, is := events.ParseUndelivered(ce); is {
		e.Undelivered = &undelivered
		if len(ce.Data()) > mostData {
			ce = ce.Clone()
			ce.DataEncoded = nil
		}
		return e.with(ce)
	}
	switch ce.Type() {
	case events.TypeRunFailed, events.TypeRunRetried, events.TypeRunLate, events.TypeBucketDrifted, events.TypeCheckFailed:
	default:
		return Event{}, fmt.Errorf("%w: nobody is told of type %.100q", events.ErrInvalid, ce.Type())
	}
	var d data
	if err := json.Unmarshal(ce.Data(), &d); err != nil {
		return Event{}, fmt.Errorf("%w: data of %s: %w", events.ErrInvalid, ce.Type(), err)
	}
	if !metricName.MatchString(d.Metric) { // others could be commands
		return Event{}, fmt.Errorf("%w: metric %.100q is no name of one", events.ErrInvalid, d.Metric)
	}
	for _, name := range []string{d.MetricType, d.Complexity, d.Chain, d.BucketSize} {
		if !word.MatchString(name) {
			return Event{}, fmt.Errorf("%w: %.100q is no metric type, complexity, chain or bucket size", events.ErrInvalid, name)
		}
	}
	line := events.OneLine
	e.Window = events.Window{
		Metric: d.Metric, MetricType: d.MetricType, Complexity: d.Complexity, Chain: d.Chain, BucketSize: d.BucketSize,
		BucketStart: d.BucketStart.UTC(),
	}
	e.RunID, e.Reason, e.Attempt, e.Error = d.RunID, line(d.Reason), d.Attempt, line(d.Error)
	e.NextAttemptAt, e.Deadline, e.Changes = d.NextAttemptAt.UTC(), d.Deadline.UTC(), d.Changes
	e.Check, e.Severity, e.Message = line(d.Check), line(d.Severity), line(d.Message)
	return e.with(ce)
}

func (e Event) with(ce event.Event) (Event, error) {
	text, err := json.Marshal(ce)
	if err != nil && e.Undelivered != nil { // data that are not what they are said to be may be why nobody took them
		ce = ce.Clone()
		ce.DataEncoded = nil
		text, err = json.Marshal(ce)
	}
	if err != nil {
		return Event{}, fmt.Errorf("%w: %w", events.ErrInvalid, err)
	}
	e.CloudEvent = text
	return e, nil
}

// About is what it has in common with the events that it is told with.
func (e Event) About() string {
	if e.Undelivered != nil {
		return "dead letters of " + e.Undelivered.Destination
	}
	return e.Type + " " + e.Metric
}

// Kind is the type of the messages that tell of it: its own, or [DeadLetter].
func (e Event) Kind() string {
	if e.Undelivered != nil {
		return DeadLetter
	}
	return e.Type
}
