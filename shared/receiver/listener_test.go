package receiver_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/go-cmp/cmp"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/receiver"
)

// listener notes what it hears.
type listener struct {
	receiver.NoStreams
	heard []string
	err   error
}

func (*listener) Ready(context.Context) error { return nil }
func (*listener) Tick(context.Context, events.Tick, time.Time) error {
	return errors.New("it hears ticks")
}

func (l *listener) Hear(_ context.Context, ce event.Event, now time.Time) error {
	if now.IsZero() {
		return errors.New("no time")
	}
	l.heard = append(l.heard, ce.Type()+" "+ce.ID())
	return l.err
}

func (l *listener) HearDeadLetter(_ context.Context, ce event.Event, _ time.Time) error {
	l.heard = append(l.heard, "dead "+ce.Type()+" "+ce.ID())
	return l.err
}

// deaf is a function that hears nothing.
type deaf struct{ receiver.NoStreams }

func (deaf) Ready(context.Context) error                        { return nil }
func (deaf) Tick(context.Context, events.Tick, time.Time) error { return nil }

// TestDeadLetters come to a path of their own, which only functions that take them have.
func TestDeadLetters(t *testing.T) {
	t.Parallel()
	l := &listener{}
	for _, tt := range []struct {
		function receiver.Function
		want     int
	}{{l, 204}, {deaf{}, 404}} {
		request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, receiver.PathDeadLetters, http.NoBody)
		for name, value := range headers(attributes(nil), "") { // a tick, which says nothing of it
			request.Header.Set(name, value)
		}
		recorder := httptest.NewRecorder()
		receiver.Handler(receiver.Config{MaxBodyBytes: 1 << 20, DeliveryTimeout: time.Minute}, tt.function).ServeHTTP(recorder, request)
		if recorder.Code != tt.want {
			t.Errorf("answered %d, want %d", recorder.Code, tt.want)
		}
	}
	if diff := cmp.Diff([]string{"dead " + events.TypePing + " 5f7a"}, l.heard); diff != "" {
		t.Error(diff)
	}
}

func TestListener(t *testing.T) {
	t.Parallel()
	plain := attributes(map[string]string{"type": "com.example.order", "metrictype": "", "bucketsize": ""})
	tests := map[string]struct {
		function receiver.Function
		header   map[string]string
		body     string
		want     int
		heard    []string
	}{
		"notice":     {&listener{}, headers(attributes(map[string]string{"type": events.TypeRunFailed}), "application/json"), "{}", 204, []string{events.TypeRunFailed + " 5f7a"}},
		"tick":       {&listener{}, headers(attributes(nil), ""), "", 204, []string{events.TypePing + " 5f7a"}},
		"structured": {&listener{}, structured, marshal(t, plain), 204, []string{"com.example.order 5f7a"}},
		"refused":    {&listener{err: fmt.Errorf("%w: no", events.ErrInvalid)}, headers(plain, ""), "", 400, []string{"com.example.order 5f7a"}},
		"not now":    {&listener{err: errors.New("no")}, headers(plain, ""), "", 503, []string{"com.example.order 5f7a"}},
		"no id":      {&listener{}, headers(attributes(map[string]string{"id": ""}), ""), "", 400, nil},
		"batch":      {&listener{}, map[string]string{"Content-Type": "application/cloudevents-batch+json"}, "[" + marshal(t, plain) + "]", 400, nil},
		"deaf":       {deaf{}, headers(plain, ""), "", 400, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(tt.body))
			for name, value := range tt.header {
				request.Header.Set(name, value)
			}
			recorder := httptest.NewRecorder()
			receiver.Handler(receiver.Config{MaxBodyBytes: 1 << 20, DeliveryTimeout: time.Minute}, tt.function).ServeHTTP(recorder, request)
			if recorder.Code != tt.want || recorder.Code == http.StatusNoContent && recorder.Body.Len() > 0 {
				t.Errorf("answered %d: %s", recorder.Code, recorder.Body)
			}
			if l, is := tt.function.(*listener); is {
				if diff := cmp.Diff(tt.heard, l.heard); diff != "" {
					t.Errorf("heard (-want +got)\n%s", diff)
				}
			}
		})
	}
}
