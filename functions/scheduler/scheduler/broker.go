package scheduler

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"go.opentelemetry.io/otel/propagation"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/binding"
	"github.com/chainmetrics/chainmetrics/shared/span"
)

const (
	atOnce      = 16  // requests
	shownAnswer = 300 // bytes of a refusal that are noted
)

// errRefused says that the Broker will not take the same event later either.
var errRefused = errors.New("refused")

var sent = promauto.NewCounterVec(prometheus.CounterOpts{
	Name: "chainmetrics_events_sent_total",
	Help: "CloudEvents sent to the Broker, by type and outcome: sent, failed, which is tried again, or refused.",
}, []string{"type", "outcome"})

// Broker takes CloudEvents, each on its own, in binary mode.
type Broker struct {
	url        string
	extensions map[string]string
	client     *http.Client
}

// NewBroker makes the Broker of a binding.
func NewBroker(cfg binding.Config) (*Broker, error) {
	address, errURL := cfg.URL()
	extensions, errExtensions := cfg.Extensions()
	client, errClient := cfg.Client()
	if err := errors.Join(errURL, errExtensions, errClient); err != nil {
		return nil, err
	}
	return &Broker{url: address.String(), extensions: extensions, client: client}, nil
}

// send sends events, some at a time, and gives the error of each: errRefused where it would come again. What is not sent when ctx
// ends, or not within a time of its own, fails.
func (b *Broker) send(ctx context.Context, all []event.Event, within time.Duration) []error {
	failed := make([]error, len(all))
	places := make(chan int)
	var senders sync.WaitGroup
	for range min(atOnce, len(all)) {
		senders.Go(func() {
			for i := range places {
				failed[i] = b.post(ctx, all[i], within)
			}
		})
	}
	for i := range all {
		places <- i
	}
	close(places)
	senders.Wait()
	for i, err := range failed {
		outcome := "sent"
		switch {
		case errors.Is(err, errRefused):
			outcome = "refused"
		case err != nil:
			outcome = "failed"
		}
		sent.WithLabelValues(all[i].Type(), outcome).Inc()
	}
	return failed
}

func (b *Broker) post(ctx context.Context, e event.Event, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for name, value := range b.extensions {
		e.SetExtension(name, value)
	}
	request, err := cehttp.NewHTTPRequestFromEvent(ctx, b.url, e)
	if err != nil {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	if own, ok := e.Extensions()[events.ExtensionTraceparent].(string); ok { // what the event tells of began there
		request.Header.Set("Traceparent", own)
		if state, ok := e.Extensions()[events.ExtensionTracestate].(string); ok {
			request.Header.Set("Tracestate", state)
		}
	} else {
		span.Inject(ctx, propagation.HeaderCarrier(request.Header))
	}
	response, err := b.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()                                       //nolint:errcheck // only read
	text, _ := io.ReadAll(io.LimitReader(response.Body, shownAnswer)) // what there is of it
	switch status := response.StatusCode; {
	case status/100 == 2:
		return nil
	case binding.Retried(status):
		return fmt.Errorf("answered %d: %q", status, text)
	default:
		return fmt.Errorf("%w: answered %d: %q", errRefused, status, text)
	}
}
