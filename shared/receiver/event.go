package receiver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"

	"github.com/chainmetrics/chainmetrics/events"
)

// eventHandler takes CloudEvents: a tick by itself, deliveries one by one or in batches, for a [Listener] any other by itself. The body
// of a success is empty, since Knative's trigger filter turns any body that is no CloudEvent into a 502.
type eventHandler struct {
	cfg      Config
	function Function
	hear     hearing // nil: the function takes nothing but deliveries and ticks
}

// ServeHTTP reads binary, structured or batched mode. What cannot be read counts as a delivery.
func (h eventHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	begin := time.Now()
	ctx, cancel := context.WithTimeout(r.Context(), h.cfg.DeliveryTimeout)
	defer cancel()
	defer h.expect(r)()
	r.Body = http.MaxBytesReader(w, r.Body, h.cfg.MaxBodyBytes)
	batch, single, err := read(r, h.hear != nil)
	ctx, s := startSpan(ctx, r, batch, single, begin)
	var status int
	defer func() { endSpan(s, status) }()
	switch {
	case err != nil:
		status = refuse(ctx, w, r, err)
	case single != nil && h.hear != nil:
		status = hear(ctx, w, r, h.hear, *single, begin)
		return
	case single != nil:
		status = h.tick(ctx, w, r, *single, begin)
		return
	default:
		status = h.deliver(ctx, w, r, batch)
	}
	deliveries.WithLabelValues(strconv.Itoa(status)).Observe(time.Since(begin).Seconds())
}

// expect tells the function what the headers say of a batch, if they do.
func (h eventHandler) expect(r *http.Request) (over func()) {
	stream, errStream := url.PathUnescape(r.Header.Get(HeaderStream))
	last, errLast := events.ParseID(r.Header.Get(HeaderLast))
	if errStream != nil || errLast != nil || stream == "" || len(stream) > events.MaxStream {
		return func() {}
	}
	return h.function.Expect(stream, last)
}

// read gives the deliveries of a request, which are of one stream, or the tick that it is, or any other event for who listens. Among
// deliveries a tick is invalid.
func read(r *http.Request, listens bool) (batch []events.Delivery, single *event.Event, err error) {
	if cehttp.IsHTTPBatch(r.Header) {
		body, err := readBody(r)
		if err != nil {
			return nil, nil, err
		}
		if batch, ok := events.ParseBatch(body); ok {
			return batch, nil, ofOneStream(batch)
		}
		r.Body = io.NopCloser(bytes.NewReader(body)) // for the SDK, which reads it in any form
	}
	received, err := readEvents(r)
	if err != nil {
		return nil, nil, err
	}
	if !cehttp.IsHTTPBatch(r.Header) && (listens || events.Wakes(received[0].Type())) {
		return nil, &received[0], nil
	}
	batch = make([]events.Delivery, len(received))
	for i, ce := range received {
		if batch[i], err = events.ParseDelivery(ce); err != nil {
			return nil, nil, err
		}
	}
	return batch, nil, ofOneStream(batch)
}

func readBody(r *http.Request) ([]byte, error) {
	var body bytes.Buffer
	if r.ContentLength > 0 && r.ContentLength <= trustedLength {
		body.Grow(int(r.ContentLength) + bytes.MinRead)
	}
	if _, err := body.ReadFrom(r.Body); err != nil {
		return nil, fmt.Errorf("read body: %w", err) // nobody's fault but the connection's, unless it is too large
	}
	return body.Bytes(), nil
}

// trustedLength is the number of bytes up to which memory is taken because a request announces them.
const trustedLength = 16 << 20

func ofOneStream(batch []events.Delivery) error {
	for _, d := range batch {
		if d.Stream != batch[0].Stream {
			return fmt.Errorf("%w: a batch of two streams, %s and %s", events.ErrInvalid, batch[0].Stream, d.Stream)
		}
	}
	return nil
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
