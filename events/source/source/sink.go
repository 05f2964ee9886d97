package source

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"go.opentelemetry.io/otel/propagation"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/receiver"
	"github.com/chainmetrics/chainmetrics/shared/span"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
)

const (
	longestAdvice = time.Minute // of Retry-After
	maxAnswer     = 1 << 20     // bytes of a mark
	shownAnswer   = 300         // bytes of a refusal that are logged
)

// sink is the function that is fed.
type sink struct {
	url        *url.URL
	extensions map[string]string
	timeout    time.Duration
	client     *http.Client
}

func newSink(cfg Config) (*sink, error) {
	address, errURL := cfg.URL()
	extensions, errExtensions := cfg.Extensions()
	client, errClient := cfg.Client()
	if err := errors.Join(errURL, errExtensions, errClient); err != nil {
		return nil, err
	}
	return &sink{url: address, extensions: extensions, timeout: cfg.RequestTimeout, client: client}, nil
}

// answerError is an answer that is no success.
type answerError struct {
	status     int
	body       string
	retryAfter time.Duration
}

func (e *answerError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("answer %d %s: %s", e.status, http.StatusText(e.status), e.body))
}

// mark asks how far the function has applied a stream.
func (s *sink) mark(ctx context.Context, stream string) (watermark.Mark, error) {
	address := s.url.JoinPath("watermarks", url.PathEscape(stream))
	response, err := s.do(ctx, http.MethodGet, address, nil, nil)
	if err != nil {
		return watermark.Mark{}, fmt.Errorf("ask for the watermark: %w", err)
	}
	if response.status != http.StatusOK {
		return watermark.Mark{}, fmt.Errorf("ask for the watermark: %w", response.refusal())
	}
	var mark watermark.Mark
	if err := json.Unmarshal(response.body, &mark); err != nil {
		return watermark.Mark{}, fmt.Errorf("read the watermark: %w", err)
	}
	return mark, nil
}

// answer is what a function says to a batch that it has applied, or refused for standing elsewhere.
type answer struct {
	mark    events.ID // where it stands now
	applied int       // entries of the batch that this request applied
	refused bool      // the batch does not follow the mark
}

// deliver sends an encoded batch of a stream, which ends with an entry, and tells when it is on its way as a whole. Any error
// means that the batch may be sent again.
func (s *sink) deliver(ctx context.Context, stream string, last events.ID, batch []byte, written func()) (answer, error) {
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteRequest: func(how httptrace.WroteRequestInfo) {
			if how.Err == nil {
				written()
			}
		},
	})
	response, err := s.do(traced, http.MethodPost, s.url, batch, map[string]string{
		"Content-Type":        event.ApplicationCloudEventsBatchJSON,
		receiver.HeaderStream: url.PathEscape(stream),
		receiver.HeaderLast:   last.String(),
	})
	if err != nil {
		return answer{}, fmt.Errorf("deliver: %w", err)
	}
	refused := response.status == http.StatusConflict
	if response.status/100 != 2 && !refused {
		return answer{}, fmt.Errorf("deliver: %w", response.refusal())
	}
	id, err := events.ParseID(response.header.Get(receiver.HeaderWatermark))
	if err != nil {
		return answer{}, fmt.Errorf("deliver: answer %d without a watermark: %w", response.status, err)
	}
	applied, err := strconv.Atoi(response.header.Get(receiver.HeaderApplied))
	if err != nil && !refused {
		return answer{}, fmt.Errorf("deliver: answer %d without %s: %w", response.status, receiver.HeaderApplied, err)
	}
	return answer{mark: id, applied: applied, refused: refused}, nil
}

type response struct {
	status int
	header http.Header
	body   []byte
}

func (r response) refusal() error {
	return &answerError{
		status:     r.status,
		body:       strings.TrimSpace(string(r.body[:min(len(r.body), shownAnswer)])),
		retryAfter: retryAfter(r.header.Get("Retry-After")),
	}
}

// retryAfter reads the seconds of RFC 9110, section 10.2.3; its dates are for caches, no function of ours sends one.
func retryAfter(text string) time.Duration {
	seconds, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil || seconds < 0 {
		return 0
	}
	return min(time.Duration(min(seconds, 3600))*time.Second, longestAdvice)
}

func (s *sink) do(ctx context.Context, method string, address *url.URL, body []byte, header map[string]string) (response, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, address.String(), bytes.NewReader(body))
	if err != nil {
		return response{}, err
	}
	for name, value := range header {
		request.Header.Set(name, value)
	}
	span.Inject(ctx, propagation.HeaderCarrier(request.Header))
	got, err := s.client.Do(request)
	if err != nil {
		return response{}, err
	}
	defer func() { _ = got.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(got.Body, maxAnswer))
	if err != nil {
		return response{}, fmt.Errorf("read answer: %w", err)
	}
	return response{status: got.StatusCode, header: got.Header, body: text}, nil
}

// encode gives the JSON batch format of CloudEvents.
func (s *sink) encode(batch []events.Delivery) ([]byte, error) {
	if len(s.extensions) == 0 {
		return events.AppendBatch(nil, batch), nil
	}
	var b bytes.Buffer
	b.WriteByte('[')
	for i, d := range batch {
		if i > 0 {
			b.WriteByte(',')
		}
		ce := d.CloudEvent()
		for name, value := range s.extensions {
			ce.SetExtension(name, value)
		}
		if err := event.WriteJson(&ce, &b); err != nil {
			return nil, fmt.Errorf("encode entry %s: %w", d.ID, err)
		}
	}
	b.WriteByte(']')
	return b.Bytes(), nil
}

func (s *sink) close() { s.client.CloseIdleConnections() }
