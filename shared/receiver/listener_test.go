package receiver_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/functions/counter/counter"
	"github.com/chainmetrics/chainmetrics/shared/receiver"
	"github.com/chainmetrics/chainmetrics/shared/runner"
)

// listener is a function that hears events, and fails as their subject says.
type listener struct{ *runner.Function }

var _ receiver.Listener = listener{}

func (listener) Hear(_ context.Context, ce event.Event, _ time.Time) error {
	switch ce.Subject() {
	case "invalid":
		return fmt.Errorf("%w: of no concern", events.ErrInvalid)
	case "later":
		return errors.New("not now")
	default:
		return nil
	}
}

func TestListenerHears(t *testing.T) {
	t.Parallel()
	notice := func(subject string) map[string]string {
		return map[string]string{
			"specversion": "1.0", "type": events.TypeMetricChanged, "id": "1", "source": "/chainmetrics/functions/counter", "subject": subject,
		}
	}
	function := runner.NewFunction(counter.Type{}, absent(t))
	cfg := receiver.Config{MaxBodyBytes: 1 << 20, DeliveryTimeout: time.Minute}
	hears := httptest.NewServer(receiver.Handler(cfg, listener{function}))
	defer hears.Close()
	for subject, want := range map[string]struct {
		status int
		body   string
	}{
		"fees":    {http.StatusNoContent, ""},
		"invalid": {http.StatusBadRequest, "of no concern"},
		"later":   {http.StatusServiceUnavailable, "not available now"},
	} {
		ask(t, http.MethodPost, hears.URL, headers(notice(subject), ""), "").want(t, want.status, want.body)
		ask(t, http.MethodPost, hears.URL, structured, marshal(t, notice(subject))).want(t, want.status, want.body)
	}
	ask(t, http.MethodPost, hears.URL, batched, marshal(t, []any{notice("fees")})).want(t, http.StatusBadRequest, "is none of a stream")

	deaf := httptest.NewServer(receiver.Handler(cfg, function))
	defer deaf.Close()
	ask(t, http.MethodPost, deaf.URL, headers(notice("fees"), ""), "").want(t, http.StatusBadRequest, "is none of a stream")
}
