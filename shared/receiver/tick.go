package receiver

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/chainmetrics/chainmetrics/events"
)

var ticks = promauto.NewCounterVec(prometheus.CounterOpts{
	Name: "chainmetrics_ticks_total",
	Help: "Ticks answered, by bucket size, which is empty where the tick was refused, and HTTP status.",
}, []string{"bucket_size", "status"})

// tick gives a tick to the function, answers, and gives the status of the answer.
func (h eventHandler) tick(ctx context.Context, w http.ResponseWriter, r *http.Request, ce event.Event, now time.Time) int {
	tick, err := events.ParseTick(ce)
	if err == nil {
		err = h.function.Tick(ctx, tick, now)
	}
	status := http.StatusNoContent
	if err != nil {
		status = refuse(ctx, w, r, err)
	} else {
		w.WriteHeader(status)
		slog.InfoContext(ctx, "tick answered", "function", tick.Function, "bucket_size", tick.BucketSize, "seconds", time.Since(now).Seconds())
	}
	size := tick.BucketSize
	if status == http.StatusBadRequest {
		size = "" // nobody has checked it: whoever sends ticks must not make labels
	}
	ticks.WithLabelValues(size, strconv.Itoa(status)).Inc()
	return status
}
