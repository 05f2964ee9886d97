package receiver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"

	"github.com/chainmetrics/chainmetrics/events"
)

// eventHandler takes CloudEvents: a tick by itself, deliveries one by one or in batches. The body of a success is empty,
// since Knative's trigger filter turns any body that is no CloudEvent into a 502.
type eventHandler struct {
	cfg      Config
	function Function
}

// ServeHTTP reads binary, structured or batched mode. What cannot be read counts as a delivery.
func (h eventHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	begin := time.Now()
	ctx, cancel := context.WithTimeout(r.Context(), h.cfg.DeliveryTimeout)
	defer cancel()
	r.Body = http.MaxBytesReader(w, r.Body, h.cfg.MaxBodyBytes)
	received, err := readEvents(r)
	var status int
	switch {
	case err != nil:
		status = refuse(w, r, err)
	case isTick(r, received):
		h.tick(ctx, w, r, received[0], begin)
		return
	default:
		status = h.deliver(ctx, w, r, received)
	}
	deliveries.WithLabelValues(strconv.Itoa(status)).Observe(time.Since(begin).Seconds())
}

// isTick tells a tick from deliveries, among which a ping is invalid.
func isTick(r *http.Request, received []event.Event) bool {
	return !cehttp.IsHTTPBatch(r.Header) && received[0].Type() == events.TypePing
}

// readEvents reads the CloudEvents of a request, at least one, each of which has all that a CloudEvent must have.
func readEvents(r *http.Request) ([]event.Event, error) {
	received, err := decode(r)
	if err != nil {
		return nil, bodyError(r, err)
	}
	if len(received) == 0 {
		return nil, fmt.Errorf("%w: empty batch", events.ErrInvalid)
	}
	for _, ce := range received {
		if err := ce.Validate(); err != nil {
			return nil, fmt.Errorf("%w: %w", events.ErrInvalid, err)
		}
	}
	return received, nil
}

func decode(r *http.Request) ([]event.Event, error) {
	if cehttp.IsHTTPBatch(r.Header) {
		return cehttp.NewEventsFromHTTPRequest(r)
	}
	received, err := cehttp.NewEventFromHTTPRequest(r)
	if err != nil {
		return nil, err
	}
	return []event.Event{*received}, nil
}

// bodyError tells a request that is no CloudEvent, which is final, from a body that did not arrive, which may come again.
func bodyError(r *http.Request, err error) error {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return fmt.Errorf("read body: %w", err)
	case r.Context().Err() != nil:
		return fmt.Errorf("read body: %w", r.Context().Err())
	default:
		return fmt.Errorf("%w: %w", events.ErrInvalid, err)
	}
}
