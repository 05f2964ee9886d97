package receiver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
)

var (
	deliveries = promauto.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "chainmetrics_delivery_duration_seconds",
		Help:    "Time to answer a delivery, by HTTP status.",
		Buckets: prometheus.ExponentialBuckets(0.001, 2, 16),
	}, []string{"status"})
	entriesApplied = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "chainmetrics_entries_applied_total",
		Help: "Entries whose effects were committed, by stream.",
	}, []string{"stream"})
)

// deliver applies deliveries, answers, and gives the status of the answer.
func (h eventHandler) deliver(ctx context.Context, w http.ResponseWriter, r *http.Request, received []event.Event) int {
	batch, err := parseBatch(received)
	if err != nil {
		return refuse(w, r, err)
	}
	stream := batch[0].Stream
	mark, applied, err := h.function.Apply(ctx, stream, batch)
	if err == nil || errors.Is(err, watermark.ErrGap) || errors.Is(err, watermark.ErrDiverged) {
		w.Header().Set(HeaderWatermark, mark.ID.String())
		w.Header().Set(HeaderApplied, strconv.Itoa(applied))
	}
	if err != nil {
		return refuse(w, r, err)
	}
	entriesApplied.WithLabelValues(stream).Add(float64(applied))
	w.WriteHeader(http.StatusNoContent)
	return http.StatusNoContent
}

// parseBatch reads the deliveries of one stream.
func parseBatch(received []event.Event) ([]events.Delivery, error) {
	batch := make([]events.Delivery, len(received))
	for i, ce := range received {
		var err error
		if batch[i], err = events.ParseDelivery(ce); err != nil {
			return nil, err
		}
		if batch[i].Stream != batch[0].Stream {
			return nil, fmt.Errorf("%w: a batch of two streams, %s and %s", events.ErrInvalid, batch[0].Stream, batch[i].Stream)
		}
	}
	return batch, nil
}
