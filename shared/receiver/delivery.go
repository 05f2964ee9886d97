package receiver

import (
	"context"
	"errors"
	"net/http"
	"strconv"

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
func (h eventHandler) deliver(ctx context.Context, w http.ResponseWriter, r *http.Request, batch []events.Delivery) int {
	stream := batch[0].Stream
	mark, applied, err := h.function.Apply(ctx, stream, batch)
	if err == nil || errors.Is(err, watermark.ErrGap) || errors.Is(err, watermark.ErrDiverged) {
		w.Header().Set(HeaderWatermark, mark.ID.String())
		w.Header().Set(HeaderApplied, strconv.Itoa(applied))
	}
	if err != nil {
		return refuse(ctx, w, r, err)
	}
	entriesApplied.WithLabelValues(stream).Add(float64(applied))
	w.WriteHeader(http.StatusNoContent)
	return http.StatusNoContent
}
