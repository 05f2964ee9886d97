package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chainmetrics/chainmetrics/cmd/chainmetrics/wiring"
	"github.com/chainmetrics/chainmetrics/config"
)

// TestSchedulesReachTheFunctionOfTheirTrigger has up's hourly schedule fire every second.
func TestSchedulesReachTheFunctionOfTheirTrigger(t *testing.T) {
	t.Parallel()
	manifests, err := config.Render("local")
	if err != nil {
		t.Fatal(err)
	}
	wired, err := wiring.Read(bytes.Replace(manifests, []byte("schedule: 8 * * * *"), []byte("schedule: '* * * * * *'"), 1))
	if err != nil {
		t.Fatal(err)
	}
	sizes := make(chan string, 100)
	counterSmall := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sizes <- r.Header.Get("ce-bucketsize")
		http.Error(w, "no", http.StatusBadRequest)
	}))
	defer counterSmall.Close()
	address, err := url.Parse(counterSmall.URL)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(address.Port())
	if err != nil {
		t.Fatal(err)
	}
	// Up says of the schedules what is true at a time at which the one of each second is due first.
	now := func() time.Time { return time.Date(2026, 1, 1, 0, 30, 0, 0, time.UTC) }
	var shown bytes.Buffer
	s := &localSystem{
		app: &app{now: now}, screen: newScreen(&shown, time.Now), wiring: wired, ports: map[string]int{"counter-small": port},
	}
	if err := s.startSchedules(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := <-sizes; got != "hourly" {
		t.Errorf("a tick of size %q has arrived", got)
	}
	s.stopSchedules(t.Context())
	text := shown.String()
	if !strings.Contains(text, "  schedules 19, next counter-hourly at 00:30 UTC") ||
		!strings.Contains(text, "\n  tick lost: deliver /apis/v1/namespaces/blockchain-metrics/pingsources/counter-hourly to counter-small: answered 400: \"no\\n\"\n") {
		t.Errorf("up shows:\n%s", text)
	}
}

func TestOnceRunsNoSchedules(t *testing.T) {
	t.Parallel()
	s := &localSystem{flags: upFlags{once: true}, wiring: &wiring.Wiring{Schedules: make([]wiring.Schedule, 1)}}
	if err := s.startSchedules(t.Context()); err != nil || s.schedules != nil {
		t.Errorf("schedules %v, %v", s.schedules, err)
	}
}
