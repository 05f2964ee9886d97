package receiver

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/chainmetrics/chainmetrics/events"
)

// Listener is a [Function] that takes CloudEvents of other types than those of streams.
type Listener interface {
	Function
	// Hear takes an event, ticks among them, which it may give to Tick. It fails with events.ErrInvalid where it knows nothing of
	// such events; any other error means that the same event may be taken later.
	Hear(ctx context.Context, ce event.Event, now time.Time) error
}

// DeadLetterListener is a [Listener] that is given what others have not taken.
type DeadLetterListener interface {
	Listener
	// HearDeadLetter takes an event that came to [PathDeadLetters], as Hear does: it was not delivered, whether it says so or not.
	HearDeadLetter(ctx context.Context, ce event.Event, now time.Time) error
}

// PathDeadLetters is the path of a deadLetterSink. Knative leaves out of an event that it was not delivered where its own filter did not
// answer, so only where it comes to tells.
const PathDeadLetters = "/dead-letters"

// hearing takes an event, as Hear of a [Listener] does.
type hearing func(ctx context.Context, ce event.Event, now time.Time) error

var heard = promauto.NewCounterVec(prometheus.CounterOpts{
	Name: "chainmetrics_events_heard_total",
	Help: "Events answered by a function that listens, by type, which is empty for types of others, and HTTP status.",
}, []string{"type", "status"})

// hear gives an event to who listens, and answers.
func hear(ctx context.Context, w http.ResponseWriter, r *http.Request, to hearing, ce event.Event, now time.Time) (status int) {
	status = http.StatusNoContent
	if err := to(ctx, ce, now); err != nil {
		status = refuse(ctx, w, r, err)
	} else {
		w.WriteHeader(status)
	}
	ceType := ce.Type()
	if !slices.Contains(events.Types(), ceType) {
		ceType = "" // whoever sends events must not make labels
	}
	heard.WithLabelValues(ceType, strconv.Itoa(status)).Inc()
	return status
}
