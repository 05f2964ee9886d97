package eventing_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/google/go-cmp/cmp"

	"github.com/chainmetrics/chainmetrics/cmd/chainmetrics/eventing"
	"github.com/chainmetrics/chainmetrics/cmd/chainmetrics/wiring"
	"github.com/chainmetrics/chainmetrics/events"
)

// bed is a function with a Trigger, in a Broker with another one.
type bed struct {
	trigger  wiring.Trigger
	function wiring.Function
	answer   http.HandlerFunc // 204 where there is none
	requests atomic.Int32
}

func newBed() *bed {
	return &bed{
		trigger: wiring.Trigger{
			Name: "hourly", Broker: "metrics", Function: "counter",
			Attributes: map[string]string{"type": "ping", "bucketsize": "hourly"},
			Delivery:   wiring.Delivery{Retries: 2, Delay: time.Millisecond},
		},
		function: wiring.Function{Process: wiring.Process{Name: "counter"}, Timeout: time.Minute},
	}
}

func (b *bed) router(t *testing.T) *eventing.Router {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.requests.Add(1)
		if b.answer != nil {
			b.answer(w, r)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(server.Close)
	return eventing.NewRouter([]wiring.Trigger{b.trigger}, []wiring.Function{b.function}, map[string]string{"counter": server.URL})
}

func ping(size string) event.Event {
	e := event.New()
	e.SetID("1")
	e.SetType("ping")
	e.SetSource("/ping")
	e.SetExtension("bucketsize", size)
	return e
}

func TestPublishRoutesByBrokerAndAttributes(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		broker, size string
		want         int32
	}{
		"taken":          {"metrics", "hourly", 1},
		"another size":   {"metrics", "daily", 0},
		"another Broker": {"others", "hourly", 0},
	}
	for name, tt := range tests {
		b := newBed()
		if err := b.router(t).Publish(t.Context(), tt.broker, ping(tt.size)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := b.requests.Load(); got != tt.want {
			t.Errorf("%s: %d requests, want %d", name, got, tt.want)
		}
	}
}

func TestPublishIsBinaryMode(t *testing.T) {
	t.Parallel()
	b := newBed()
	received := make(chan *event.Event, 1)
	b.answer = func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("ce-bucketsize") != "hourly" {
			t.Errorf("headers are %v", r.Header)
		}
		e, err := cehttp.NewEventFromHTTPRequest(r)
		if err != nil {
			t.Error(err)
		}
		received <- e
		w.WriteHeader(http.StatusNoContent)
	}
	sent := ping("hourly")
	sent.SetTime(time.Date(2026, 1, 1, 0, 8, 0, 0, time.UTC))
	if err := b.router(t).Publish(t.Context(), "metrics", sent); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sent.String(), (<-received).String()); diff != "" {
		t.Errorf("(-sent +received)\n%s", diff)
	}
}

func TestPublishRetriesAsKnativeDoes(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		statuses []int // the last one stays
		body     string
		requests int32
		want     string // part of the error
	}{
		"taken":         {statuses: []int{200}, requests: 1},
		"later taken":   {statuses: []int{503, 404, 202}, requests: 3},
		"unavailable":   {statuses: []int{503}, body: "not now", requests: 3, want: `deliver /ping to counter: answered 503: "not now"`},
		"not found":     {statuses: []int{404}, requests: 3, want: "answered 404"},
		"timeout":       {statuses: []int{408}, requests: 3, want: "answered 408"},
		"conflict":      {statuses: []int{409}, requests: 3, want: "answered 409"},
		"too many":      {statuses: []int{429}, requests: 3, want: "answered 429"},
		"bad request":   {statuses: []int{400}, requests: 1, want: "answered 400"},
		"not modified":  {statuses: []int{304}, requests: 1, want: "answered 304"},
		"body":          {statuses: []int{200}, body: "ok", requests: 3, want: "answered 200 with a body"},
		"later refused": {statuses: []int{500, 400}, requests: 2, want: "answered 400"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBed()
			b.answer = func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tt.statuses[min(int(b.requests.Load()), len(tt.statuses))-1])
				_, _ = w.Write([]byte(tt.body)) // some statuses have none
			}
			err := b.router(t).Publish(t.Context(), "metrics", ping("hourly"))
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("the error is %v, want %q", err, tt.want)
			}
			if got := b.requests.Load(); got != tt.requests {
				t.Errorf("%d requests, want %d", got, tt.requests)
			}
		})
	}
}

// TestDeadLetters are given, with what Knative says of them, to who is to have them, in the way of the event itself.
func TestDeadLetters(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		answer   http.HandlerFunc
		statuses []int // of who is given them; the last one stays
		want     events.Undelivered
		letters  int32  // requests
		lost     string // parts of the error, with a comma between them
	}{
		"taken": {answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, statuses: []int{204}},
		"refused": {
			answer:   func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no \x1b room", http.StatusBadRequest) },
			statuses: []int{204}, letters: 1, want: events.Undelivered{Destination: "http://counter", Code: "400", Answer: "no \uFFFD room"},
		},
		"retried": {
			answer:   func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "not now", http.StatusServiceUnavailable) },
			statuses: []int{503, 204}, letters: 2, want: events.Undelivered{Destination: "http://counter", Code: "503", Answer: "not now"},
		},
		"no answer": {
			answer:   func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
			statuses: []int{204}, letters: 1, want: events.Undelivered{Destination: "http://counter", Code: "500"},
		},
		"refused twice": {
			answer:   func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusBadRequest) },
			statuses: []int{400}, letters: 1, want: events.Undelivered{Destination: "http://counter", Code: "400", Answer: "no"},
			lost: `deliver /ping to counter: answered 400,nor, as a dead letter, to notify: answered 400`,
		},
		"never taken": {
			answer:   func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusBadRequest) },
			statuses: []int{503}, letters: 3, want: events.Undelivered{Destination: "http://counter", Code: "400", Answer: "no"},
			lost: `nor, as a dead letter, to notify: answered 503`,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBed()
			b.answer, b.trigger.Delivery.DeadLetter = tt.answer, "notify"
			b.trigger.Delivery.Path = "/dead-letters"
			counter := httptest.NewServer(tt.answer)
			t.Cleanup(counter.Close)
			var requests atomic.Int32
			letters := make(chan event.Event, 10)
			notify := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				e, err := cehttp.NewEventFromHTTPRequest(r)
				if err != nil {
					t.Error(err)
				}
				if r.URL.Path != "/dead-letters" {
					t.Errorf("a dead letter came to %s", r.URL.Path)
				}
				letters <- *e
				w.WriteHeader(tt.statuses[min(int(requests.Add(1)), len(tt.statuses))-1])
			}))
			t.Cleanup(notify.Close)
			router := eventing.NewRouter([]wiring.Trigger{b.trigger},
				[]wiring.Function{b.function, {Process: wiring.Process{Name: "notify"}, Timeout: time.Minute}},
				map[string]string{"counter": counter.URL, "notify": notify.URL})
			err := router.Publish(t.Context(), "metrics", ping("hourly"))
			for part := range strings.SplitSeq(tt.lost, ",nor") {
				if (err == nil) != (tt.lost == "") || err != nil && !strings.Contains(err.Error(), part) {
					t.Errorf("the error is %v, want %q", err, part)
				}
			}
			if got := requests.Load(); got != tt.letters {
				t.Errorf("%d requests, want %d", got, tt.letters)
			}
			if tt.letters == 0 {
				return
			}
			letter := <-letters
			got, ok := events.ParseUndelivered(letter)
			if tt.want.Answer == "" && strings.HasPrefix(got.Answer, "dispatch error: ") {
				got.Answer = ""
			}
			if diff := cmp.Diff(tt.want, got); diff != "" || !ok || letter.ID() != "1" || letter.Extensions()["bucketsize"] != "hourly" {
				t.Errorf("%s (-want +got)\n%s", letter, diff)
			}
		})
	}
}

func TestPublishRetriesWhereNobodyListens(t *testing.T) {
	t.Parallel()
	b := newBed()
	b.answer = func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	if err := b.router(t).Publish(t.Context(), "metrics", ping("hourly")); err == nil {
		t.Error("a broken connection is no error")
	}
	if got := b.requests.Load(); got != 3 {
		t.Errorf("%d requests, want 3", got)
	}
}

func TestAttemptsEnd(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ trigger, function time.Duration }{
		"by the Trigger's timeout":  {20 * time.Millisecond, time.Minute},
		"by the function's timeout": {time.Minute, 20 * time.Millisecond},
		"without a Trigger's":       {0, 20 * time.Millisecond},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBed()
			b.trigger.Delivery.Timeout, b.function.Timeout = tt.trigger, tt.function
			b.trigger.Delivery.Retries = 0
			b.answer = func(w http.ResponseWriter, r *http.Request) {
				if b.requests.Load() == 1 {
					<-r.Context().Done()
					return
				}
				w.WriteHeader(http.StatusNoContent)
			}
			if err := b.router(t).Publish(t.Context(), "metrics", ping("hourly")); err == nil ||
				!strings.HasSuffix(err.Error(), "no answer within 20ms") {
				t.Errorf("the error is %v", err)
			}
			b.requests.Store(0)
			b.trigger.Delivery.Retries = 1000 // of which a busy machine may need some
			if err := b.router(t).Publish(t.Context(), "metrics", ping("hourly")); err != nil {
				t.Errorf("with retries: %v", err)
			}
		})
	}
}

func TestAFunctionHasNoMoreRequestsThanItMay(t *testing.T) {
	t.Parallel()
	for concurrency, want := range map[int]int32{0: 4, 1: 1, 2: 2} {
		b := newBed()
		b.function.Concurrency = concurrency
		arrived, release := make(chan struct{}, 4), make(chan struct{})
		var present, most atomic.Int32
		b.answer = func(w http.ResponseWriter, _ *http.Request) {
			if now := present.Add(1); now > most.Load() {
				most.Store(now)
			}
			arrived <- struct{}{}
			<-release
			present.Add(-1)
			w.WriteHeader(http.StatusNoContent)
		}
		router := b.router(t)
		var published sync.WaitGroup
		for range 4 {
			published.Go(func() {
				if err := router.Publish(t.Context(), "metrics", ping("hourly")); err != nil {
					t.Error(err)
				}
			})
		}
		for range want {
			<-arrived
		}
		select {
		case <-arrived:
			t.Errorf("with containerConcurrency %d more than %d requests at a time", concurrency, want)
		case <-time.After(50 * time.Millisecond):
		}
		close(release)
		published.Wait()
		if got := most.Load(); got != want {
			t.Errorf("with containerConcurrency %d at most %d requests at a time, want %d", concurrency, got, want)
		}
	}
}

func TestWaitingForOthersTakesTime(t *testing.T) {
	t.Parallel()
	b := newBed()
	b.function.Concurrency = 1
	b.trigger.Delivery = wiring.Delivery{Timeout: 50 * time.Millisecond}
	b.answer = func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	router := b.router(t)
	failed := make(chan error, 2)
	for range 2 {
		go func() { failed <- router.Publish(t.Context(), "metrics", ping("hourly")) }()
	}
	for range 2 {
		if err := <-failed; err == nil || !strings.HasSuffix(err.Error(), "no answer within 50ms") {
			t.Errorf("the error is %v", err)
		}
	}
}

// TestIngressAcceptsThenDelivers what a Trigger of the Broker takes.
func TestIngressAcceptsThenDelivers(t *testing.T) {
	t.Parallel()
	b := newBed()
	release := make(chan struct{})
	sizes := make(chan string, 1)
	b.answer = func(w http.ResponseWriter, r *http.Request) {
		<-release
		sizes <- r.Header.Get("ce-bucketsize")
		w.WriteHeader(http.StatusBadRequest)
	}
	lost := make(chan error, 1)
	ingress := eventing.NewIngress(t.Context(), b.router(t), func(err error) { lost <- err })
	mux := http.NewServeMux()
	mux.Handle("POST /{broker}", ingress)
	post := func(path string, e event.Event) int {
		request, err := cehttp.NewHTTPRequestFromEvent(t.Context(), "http://broker"+path, e)
		if err != nil {
			t.Fatal(err)
		}
		recorder := httptest.NewRecorder()
		mux.ServeHTTP(recorder, request)
		return recorder.Code
	}
	for path, e := range map[string]event.Event{"/metrics": ping("hourly"), "/others": ping("hourly"), "/metrics?": ping("daily")} {
		if got := post(path, e); got != http.StatusAccepted {
			t.Errorf("%s of %s is answered %d", path, e, got)
		}
	}
	recorder := httptest.NewRecorder()
	mux.ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/metrics", strings.NewReader("x")))
	if recorder.Code != http.StatusBadRequest {
		t.Errorf("what is no CloudEvent is answered %d", recorder.Code)
	}
	close(release)
	ingress.Stop(t.Context())
	if got := b.requests.Load(); got != 1 || <-sizes != "hourly" {
		t.Errorf("%d requests, want the one of the hours", got)
	}
	if err := <-lost; !strings.Contains(err.Error(), "answered 400") {
		t.Errorf("the error is %v", err)
	}
}

// once is a schedule that is due at one time.
type once time.Time

func (o once) Next(after time.Time) time.Time {
	if after.Before(time.Time(o)) {
		return time.Time(o)
	}
	return after.AddDate(1, 0, 0)
}

// soon is a schedule that is due once, very soon after it is asked first, however late that is.
type soon struct{ asked atomic.Bool }

func (s *soon) Next(after time.Time) time.Time {
	if s.asked.Swap(true) {
		return after.AddDate(1, 0, 0)
	}
	return after.Add(20 * time.Millisecond)
}

// schedule is due very soon.
func schedule() wiring.Schedule {
	return wiring.Schedule{Name: "hourly", When: &soon{}, Event: ping("hourly"), Broker: "metrics"}
}

func TestSchedulesPublishWhenDue(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 8, 0, 0, time.UTC)
	b := newBed()
	received := make(chan *event.Event, 10)
	b.answer = func(w http.ResponseWriter, r *http.Request) {
		e, err := cehttp.NewEventFromHTTPRequest(r)
		if err != nil {
			t.Error(err)
		}
		received <- e
		w.WriteHeader(http.StatusNoContent)
	}
	lost := func(err error) { t.Error(err) }
	s := eventing.Start(t.Context(), []wiring.Schedule{schedule(), schedule()}, b.router(t), func() time.Time { return now }, lost)
	first, second := <-received, <-received
	if first.ID() == second.ID() || !first.Time().Equal(now) || first.Extensions()["bucketsize"] != "hourly" {
		t.Errorf("the events are\n%s\n%s", first, second)
	}
	s.Stop(t.Context())
	if got := b.requests.Load(); got != 2 {
		t.Errorf("%d requests", got)
	}
}

func TestNextIsTheFirstThatIsDue(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	late := wiring.Schedule{Name: "late", When: once(now.Add(2 * time.Hour))}
	soon := wiring.Schedule{Name: "soon", When: once(now.Add(time.Hour))}
	s := eventing.Start(t.Context(), []wiring.Schedule{late, soon}, newBed().router(t), func() time.Time { return now }, nil)
	defer s.Stop(t.Context())
	if name, at := s.Next(); name != "soon" || !at.Equal(now.Add(time.Hour)) {
		t.Errorf("next is %s at %s", name, at)
	}
}

// TestSchedulesAreChangedWhileTheyRun: one is put in the place of another, which publishes no more, and is removed.
func TestSchedulesAreChangedWhileTheyRun(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 8, 0, 0, time.UTC)
	b := newBed()
	received := make(chan string, 10)
	b.answer = func(w http.ResponseWriter, r *http.Request) {
		received <- r.Header.Get("ce-source")
		w.WriteHeader(http.StatusNoContent)
	}
	later := wiring.Schedule{Name: "hourly", When: once(now.Add(time.Hour))}
	s := eventing.Start(t.Context(), []wiring.Schedule{later}, b.router(t), func() time.Time { return now }, nil)
	due := schedule()
	due.Name = "hourly"
	s.Put(due)
	if got := <-received; got != due.Event.Source() {
		t.Errorf("an event of %s has arrived", got)
	}
	s.Put(wiring.Schedule{Name: "daily", When: once(now.Add(2 * time.Hour))})
	s.Remove("hourly")
	s.Remove("weekly")
	if name, at := s.Next(); name != "daily" || !at.Equal(now.Add(2*time.Hour)) {
		t.Errorf("next is %q at %s", name, at)
	}
	s.Stop(t.Context())
	if got := b.requests.Load(); got != 1 {
		t.Errorf("%d requests", got)
	}
}

func TestALostEventIsTold(t *testing.T) {
	t.Parallel()
	b := newBed()
	b.answer = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) }
	lost := make(chan error, 1)
	s := eventing.Start(t.Context(), []wiring.Schedule{schedule()}, b.router(t), time.Now, func(err error) { lost <- err })
	defer s.Stop(t.Context())
	if err := <-lost; !strings.Contains(err.Error(), "answered 400") {
		t.Errorf("the error is %v", err)
	}
}

func TestStopWaitsAsLongAsItMay(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		cause error // that ends the wait; nil: the answer does
	}{
		"until it is answered": {},
		"until the context":    {errors.New("enough")},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBed()
			arrived, release := make(chan struct{}), make(chan struct{})
			dropped := make(chan bool, 1)
			b.answer = func(w http.ResponseWriter, r *http.Request) {
				close(arrived)
				select {
				case <-release:
					w.WriteHeader(http.StatusNoContent)
					dropped <- false
				case <-r.Context().Done():
					dropped <- true
				}
			}
			lost := func(err error) { t.Errorf("told: %v", err) }
			s := eventing.Start(t.Context(), []wiring.Schedule{schedule()}, b.router(t), time.Now, lost)
			<-arrived
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			if tt.cause == nil {
				time.AfterFunc(20*time.Millisecond, func() { close(release) })
			} else {
				cancel(tt.cause)
			}
			s.Stop(ctx)
			if got := <-dropped; got != (tt.cause != nil) {
				t.Errorf("it was dropped: %v", got)
			}
		})
	}
}
