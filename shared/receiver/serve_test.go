package receiver_test

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/receiver"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// stuck is a function that applies nothing until it is told to give up.
type stuck struct {
	receiver.Function
	begun, ended chan struct{}
}

func (s stuck) Apply(ctx context.Context, _ string, _ []events.Delivery) (watermark.Mark, int, error) {
	close(s.begun)
	<-ctx.Done()
	close(s.ended)
	return watermark.Mark{}, 0, ctx.Err()
}

// TestDrainGivesUp has a delivery that does not end by itself: what it holds must be free before the store can be closed.
func TestDrainGivesUp(t *testing.T) {
	t.Parallel()
	port := pipeline.FreePort(t)
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	cfg := receiver.Config{
		Host: "127.0.0.1", Port: number, MaxBodyBytes: 1 << 20,
		DeliveryTimeout: time.Hour, DrainTimeout: 50 * time.Millisecond,
	}
	function := stuck{begun: make(chan struct{}), ended: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	served := make(chan error, 1)
	go func() { served <- receiver.Serve(ctx, cfg, function) }()
	address := "http://127.0.0.1:" + port
	pipeline.Eventually(t, 10*time.Second, "the function is served", func() bool { return answers(t, address+"/healthz") })
	body := marshal(t, entry(1).CloudEvent())
	go func() {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, strings.NewReader(body))
		if err != nil {
			t.Error(err)
			return
		}
		request.Header.Set("Content-Type", structured["Content-Type"])
		if response, err := http.DefaultClient.Do(request); err == nil { // otherwise it was broken off
			_ = response.Body.Close()
		}
	}()
	<-function.begun
	cancel()
	if err := <-served; err == nil || !strings.Contains(err.Error(), "drain") {
		t.Errorf("served with %v, want that it was not drained", err)
	}
	select {
	case <-function.ended:
	case <-time.After(10 * time.Second):
		t.Error("the delivery goes on")
	}
}

func answers(t *testing.T, url string) bool {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK
}
