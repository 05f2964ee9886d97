package scheduler_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/go-cmp/cmp"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/functions/scheduler/scheduler"
	"github.com/chainmetrics/chainmetrics/shared/binding"
)

// TestTraceOfAnEvent is that of the request that carries it.
func TestTraceOfAnEvent(t *testing.T) {
	t.Parallel()
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for name, tracing := range map[string]struct{ parent, state string }{
		"none":            {},
		"without a state": {parent, ""},
		"with a state":    {parent, "vendor=1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			headers := make(chan http.Header, 1)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				headers <- r.Header
				w.WriteHeader(http.StatusAccepted)
			}))
			t.Cleanup(server.Close)
			to, err := scheduler.NewBroker(binding.Config{Sink: server.URL})
			if err != nil {
				t.Fatal(err)
			}
			e := event.New()
			e.SetID("1")
			e.SetType(events.TypeRunLate)
			e.SetSource("/test")
			if tracing.parent != "" {
				e.SetExtension(events.ExtensionTraceparent, tracing.parent)
			}
			if tracing.state != "" {
				e.SetExtension(events.ExtensionTracestate, tracing.state)
			}
			if err := errors.Join(to.Send(t.Context(), []event.Event{e}, time.Minute)...); err != nil {
				t.Fatal(err)
			}
			got := <-headers
			if diff := cmp.Diff([]string{tracing.parent, tracing.state}, []string{got.Get("Traceparent"), got.Get("Tracestate")}); diff != "" {
				t.Errorf("headers (-want +got)\n%s", diff)
			}
		})
	}
}
