// Package eventing does on one machine what Knative Eventing does in a cluster: its schedules are PingSources, its router
// is the Brokers with their Triggers.
package eventing

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"

	"github.com/chainmetrics/chainmetrics/cmd/chainmetrics/wiring"
	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/binding"
)

// Router hands events to functions.
type Router struct {
	triggers  []wiring.Trigger
	functions map[string]*function
}

// NewRouter routes to functions by their names, which listen at URLs.
func NewRouter(triggers []wiring.Trigger, functions []wiring.Function, urls map[string]string) *Router {
	r := &Router{triggers: triggers, functions: make(map[string]*function)}
	for _, f := range functions {
		r.functions[f.Name] = &function{url: urls[f.Name], timeout: f.Timeout}
		if f.Concurrency > 0 {
			r.functions[f.Name].slots = make(chan struct{}, f.Concurrency)
		}
	}
	return r
}

// Publish gives an event to every Trigger of a Broker that takes it, and waits for their functions. It fails where one of
// them has not taken it, after all retries, nor who is given its dead letters.
func (r *Router) Publish(ctx context.Context, broker string, e event.Event) error {
	var deliveries sync.WaitGroup
	failed := make([]error, len(r.triggers))
	for i, t := range r.triggers {
		if t.Broker == broker && t.Takes(e) {
			deliveries.Go(func() { failed[i] = r.deliver(ctx, t, e) })
		}
	}
	deliveries.Wait()
	return errors.Join(failed...)
}

func (r *Router) deliver(ctx context.Context, t wiring.Trigger, e event.Event) error {
	err := r.try(ctx, t.Function, "", t.Delivery, e)
	if err == nil {
		return nil
	}
	err = fmt.Errorf("deliver %s to %s: %w", e.Source(), t.Function, err)
	if t.Delivery.DeadLetter == "" || ctx.Err() != nil {
		return err
	}
	letter := undelivered(t.Function, err).DeadLetter(e)
	if failed := r.try(ctx, t.Delivery.DeadLetter, t.Delivery.Path, t.Delivery, letter); failed != nil {
		return fmt.Errorf("%w; nor, as a dead letter, to %s: %w", err, t.Delivery.DeadLetter, failed)
	}
	return nil
}

// try posts an event to a path of a function until it takes it, or there are no more retries.
func (r *Router) try(ctx context.Context, function, path string, delivery wiring.Delivery, e event.Event) error {
	post := func() (struct{}, error) {
		return struct{}{}, r.functions[function].post(ctx, path, e, delivery.Timeout)
	}
	_, err := backoff.Retry(ctx, post, backoff.WithBackOff(&pauses{of: delivery}),
		backoff.WithMaxTries(uint(delivery.Retries)+1), backoff.WithMaxElapsedTime(0))
	return err
}

// undelivered says why a function has not taken an event, as Knative does: an error in the place of an answer has the status 500. The
// function's name stands for its port, which is another one each time.
func undelivered(function string, err error) events.Undelivered {
	url := "http://" + function
	if a, ok := errors.AsType[*answerError](err); ok {
		return events.Undelivered{Destination: url, Code: strconv.Itoa(a.status), Answer: a.text}
	}
	return events.Undelivered{Destination: url, Code: "500", Answer: "dispatch error: " + err.Error()}
}

// pauses are those between the attempts of a delivery.
type pauses struct {
	of   wiring.Delivery
	made int
}

var _ backoff.BackOff = (*pauses)(nil)

func (p *pauses) Reset() { p.made = 0 }

func (p *pauses) NextBackOff() time.Duration {
	pause := p.of.Pause(p.made)
	p.made++
	return pause
}

// function is where events go.
type function struct {
	url     string
	timeout time.Duration
	slots   chan struct{} // one for each request that it may have; nil: no limit
}

// post sends an event in binary mode. Waiting for others belongs to the time that it may take. An error is permanent where
// Knative would not retry.
func (f *function) post(ctx context.Context, path string, e event.Event, timeout time.Duration) error {
	if timeout == 0 || timeout > f.timeout {
		timeout = f.timeout
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("no answer within %s", timeout))
	defer cancel()
	if f.slots != nil {
		select {
		case f.slots <- struct{}{}:
			defer func() { <-f.slots }()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	request, err := cehttp.NewHTTPRequestFromEvent(ctx, f.url+path, e)
	if err != nil {
		return backoff.Permanent(err)
	}
	response, err := http.DefaultClient.Do(request) //nolint:gosec // to a function, whatever the event says
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	defer response.Body.Close() //nolint:errcheck // only read
	return judge(response)
}

// judge tells from an answer whether an event has been taken.
func judge(response *http.Response) error {
	switch code := response.StatusCode; {
	case code >= 200 && code < 300:
		if n, _ := response.Body.Read(make([]byte, 1)); n > 0 || response.Header.Get("ce-specversion") != "" {
			return fmt.Errorf("answered %d with a body, which a Broker takes for a failure unless it is a CloudEvent", code)
		}
		return nil
	case binding.Retried(code):
		return answered(response)
	default:
		return backoff.Permanent(answered(response))
	}
}

// answerError is an answer other than that an event was taken.
type answerError struct {
	status int
	text   string // the beginning of the body
}

func (a *answerError) Error() string { return fmt.Sprintf("answered %d: %.200q", a.status, a.text) }

// answered gives an answer as an error, with what it says.
func answered(response *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(response.Body, 1000)) // what there is of it
	return &answerError{status: response.StatusCode, text: string(text)}
}
