package receiver

import (
	"context"
	"fmt"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
)

// NoStreams is the part of a [Function] that takes no deliveries: ticks alone wake it.
type NoStreams struct{}

// Watermark fails with events.ErrInvalid.
func (NoStreams) Watermark(_ context.Context, stream string) (watermark.Mark, error) {
	return watermark.Mark{}, fmt.Errorf("%w: nothing here reads stream %.100q", events.ErrInvalid, stream)
}

// Expect expects nothing.
func (NoStreams) Expect(string, events.ID) (over func()) { return func() {} }

// Apply fails with events.ErrInvalid.
func (NoStreams) Apply(_ context.Context, stream string, _ []events.Delivery) (watermark.Mark, int, error) {
	return watermark.Mark{}, 0, fmt.Errorf("%w: nothing here reads stream %.100q", events.ErrInvalid, stream)
}
