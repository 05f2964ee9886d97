package delivery

import (
	"context"

	"go.opentelemetry.io/otel/attribute"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/span"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
)

// Trace begins the span in which a function applies a batch. What became of that is told to done.
func Trace(ctx context.Context, function, stream string, batch []events.Delivery) (
	traced context.Context, done func(mark watermark.Mark, applied int, err error),
) {
	ctx, s := span.Start(ctx, "apply "+function)
	s.Set(func() []attribute.KeyValue {
		return append(Attributes(stream, batch), attribute.String("chainmetrics.function", function))
	})
	return ctx, func(mark watermark.Mark, applied int, err error) {
		s.Set(func() []attribute.KeyValue {
			return []attribute.KeyValue{
				attribute.Int("chainmetrics.entries.applied", applied), attribute.String("chainmetrics.watermark", mark.ID.String()),
			}
		})
		s.Done(err)
	}
}

// Attributes are those of a batch, which has entries, as spans tell of it.
func Attributes(stream string, batch []events.Delivery) []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.String("messaging.destination.name", stream), attribute.Int("messaging.batch.message_count", len(batch)),
		attribute.String("chainmetrics.entries.first", batch[0].ID.String()),
		attribute.String("chainmetrics.entries.last", batch[len(batch)-1].ID.String()),
	}
}
