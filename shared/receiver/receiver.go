// Package receiver serves a stream function over HTTP.
package receiver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/telemetry"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
)

// Names of the headers of a batch. They say what is coming before it has been read, so that the function can tell that the next
// batch, which may be sent before this one is answered, follows it.
const (
	HeaderStream = "Chainmetrics-Stream" // name of the stream, escaped as in a path
	HeaderLast   = "Chainmetrics-Last"   // id of the last entry
)

// Names of the headers of an answer to a delivery.
const (
	HeaderWatermark = "Chainmetrics-Watermark" // where the source goes on: the id of the last applied entry
	HeaderApplied   = "Chainmetrics-Applied"   // how many entries of the batch this request applied
)

// Config is read from the environment.
type Config struct {
	Host            string        `envconfig:"LISTEN_HOST"` // default: all interfaces
	Port            int           `envconfig:"PORT" default:"8080"`
	MaxBodyBytes    int64         `envconfig:"MAX_BODY_BYTES" default:"134217728"` // a 64 MiB entry in base64, with room
	DeliveryTimeout time.Duration `envconfig:"DELIVERY_TIMEOUT" default:"50s"`     // below Knative's timeoutSeconds of 60
	DrainTimeout    time.Duration `envconfig:"DRAIN_TIMEOUT" default:"20s"`        // for requests in flight at SIGTERM
}

// Validate names everything that is wrong at once.
func (cfg *Config) Validate() error {
	var wrong []error
	if cfg.Port < 1 || cfg.Port > 65535 {
		wrong = append(wrong, fmt.Errorf("PORT is %d: want 1 to 65535", cfg.Port))
	}
	if cfg.MaxBodyBytes < 1 {
		wrong = append(wrong, fmt.Errorf("MAX_BODY_BYTES is %d: want at least 1", cfg.MaxBodyBytes))
	}
	if cfg.DeliveryTimeout <= 0 {
		wrong = append(wrong, fmt.Errorf("DELIVERY_TIMEOUT is %s: want more than 0", cfg.DeliveryTimeout))
	}
	if cfg.DrainTimeout <= 0 {
		wrong = append(wrong, fmt.Errorf("DRAIN_TIMEOUT is %s: want more than 0", cfg.DrainTimeout))
	}
	return errors.Join(wrong...)
}

// Function applies deliveries of streams and answers ticks.
type Function interface {
	// Watermark gives how far the function has applied a stream.
	Watermark(ctx context.Context, stream string) (watermark.Mark, error)
	// Expect says that a batch of a stream that ends with an entry is on its way, until over is called. The batch that
	// follows it waits for that.
	Expect(stream string, last events.ID) (over func())
	// Apply applies a batch of one stream, in stream order, and gives the mark that it leaves and the number of entries
	// that were new. It fails with watermark.ErrGap and watermark.ErrDiverged, with the mark; with events.ErrInvalid; any
	// other error means that the same batch may succeed later.
	Apply(ctx context.Context, stream string, batch []events.Delivery) (mark watermark.Mark, applied int, err error)
	// Tick does what is due at a time. It fails with events.ErrInvalid where the function has no such ticks, those of an
	// unknown bucket size among them; any other error means that the same tick may succeed later.
	Tick(ctx context.Context, tick events.Tick, now time.Time) error
	// Ready tells whether what the function depends on can be reached.
	Ready(ctx context.Context) error
}

// Serve answers requests until ctx is done, then lets those in flight end. Those that do not end in time are given up, so
// that what they hold is free again.
func Serve(ctx context.Context, cfg Config, function Function) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(cfg.Host, strconv.Itoa(cfg.Port)))
	if err != nil {
		return fmt.Errorf("listen on port %d: %w", cfg.Port, err)
	}
	requests, abandon := context.WithCancel(context.WithoutCancel(ctx))
	defer abandon()
	server := &http.Server{
		BaseContext:       func(net.Listener) context.Context { return requests },
		Handler:           Handler(cfg, function),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       cfg.DeliveryTimeout,
		IdleTimeout:       5 * time.Minute,
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	slog.InfoContext(ctx, "serving", "port", cfg.Port)
	select {
	case err := <-served:
		return fmt.Errorf("serve on port %d: %w", cfg.Port, err)
	case <-ctx.Done():
	}
	slog.InfoContext(ctx, "draining")
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), cfg.DrainTimeout)
	defer cancel()
	if err := server.Shutdown(drain); err != nil {
		abandon()
		return fmt.Errorf("drain: %w", errors.Join(err, server.Close()))
	}
	return nil
}

// Handler gives the routes of a function: deliveries and ticks, dead letters where it takes them, watermarks, probes, metrics.
func Handler(cfg Config, function Function) http.Handler {
	mux := http.NewServeMux()
	single := eventHandler{cfg: cfg, function: function}
	if listener, listens := function.(Listener); listens {
		single.hear = listener.Hear
	}
	mux.Handle("POST /{$}", single)
	if listener, listens := function.(DeadLetterListener); listens {
		mux.Handle("POST "+PathDeadLetters, eventHandler{cfg: cfg, function: function, hear: listener.HearDeadLetter})
	}
	mux.HandleFunc("GET /watermarks/{stream}", func(w http.ResponseWriter, r *http.Request) {
		serveWatermark(w, r, function)
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
		defer cancel()
		if err := function.Ready(ctx); err != nil {
			refuse(ctx, w, r, err)
		}
	})
	mux.Handle("GET /metrics", telemetry.Handler())
	return mux
}

func serveWatermark(w http.ResponseWriter, r *http.Request, function Function) {
	ctx, cancel := context.WithTimeout(r.Context(), 10*time.Second)
	defer cancel()
	mark, err := function.Watermark(ctx, r.PathValue("stream"))
	if err != nil {
		refuse(ctx, w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(mark); err != nil {
		slog.WarnContext(ctx, "watermark not sent", "error", err)
	}
}

// refuse answers with the status of an error, which it gives, and logs it unless the source is expected to meet it.
func refuse(ctx context.Context, w http.ResponseWriter, r *http.Request, err error) (status int) {
	status = statusOf(err)
	switch {
	case status == http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "1")
		slog.WarnContext(ctx, "not available", "path", r.URL.Path, "error", err)
	case status != http.StatusConflict:
		slog.WarnContext(ctx, "request refused", "path", r.URL.Path, "status", status, "error", err)
	}
	text := err.Error()
	if status == http.StatusServiceUnavailable {
		text = "not available now" // the log has the reason, which may name servers
	}
	http.Error(w, text, status)
	return status
}

// statusOf is the one place where errors become HTTP statuses. Knative retries 409 and 5xx, and takes 400 and
// 413 as final; the sources retry all of them, since they may pass over nothing.
func statusOf(err error) int {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.Is(err, watermark.ErrGap), errors.Is(err, watermark.ErrDiverged):
		return http.StatusConflict
	case errors.As(err, &tooLarge):
		return http.StatusRequestEntityTooLarge
	case errors.Is(err, events.ErrInvalid):
		return http.StatusBadRequest
	default:
		return http.StatusServiceUnavailable
	}
}
