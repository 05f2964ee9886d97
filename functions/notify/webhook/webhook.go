// Package webhook posts messages as JSON, signed as the Standard Webhooks specification says.
package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"text/template"
	"time"

	"github.com/chainmetrics/chainmetrics/functions/notify/message"
)

// Headers of the Standard Webhooks specification, version 1.0.
const (
	HeaderID        = "webhook-id"
	HeaderTimestamp = "webhook-timestamp" // Unix seconds
	HeaderSignature = "webhook-signature" // v1, and base64 of HMAC-SHA256 of id.timestamp.body
)

const (
	timeout       = 10 * time.Second
	mostRedirects = 3
	shownAnswer   = 300 // bytes of a refusal that are noted
)

// Channel posts messages to one URL.
type Channel struct {
	url      string
	key      []byte             // nil: nothing is signed
	template *template.Template // nil: the default body
	client   *http.Client
	now      func() time.Time
}

// New makes the channel of a configuration that is valid. The clock gives the time of each attempt.
func New(cfg Config, now func() time.Time) (*Channel, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	c := &Channel{url: cfg.URL, now: now, client: &http.Client{Timeout: timeout, CheckRedirect: sameHost}}
	var err error
	if c.key, err = cfg.key(); err != nil {
		return nil, err
	}
	if c.template, err = cfg.template(); err != nil {
		return nil, err
	}
	return c, nil
}

// sameHost keeps what is posted, and how it is signed, from other hosts. A redirection that posts nothing is none.
func sameHost(next *http.Request, via []*http.Request) error {
	first := via[0].URL
	if len(via) > mostRedirects || next.Method != http.MethodPost || next.URL.Host != first.Host || next.URL.Scheme != first.Scheme {
		return http.ErrUseLastResponse
	}
	return nil
}

// Name is message.Webhook.
func (c *Channel) Name() string { return message.Webhook }

// Recipients gives one, which has no name: whoever listens at the URL.
func (c *Channel) Recipients([]string) []string { return []string{""} }

// Send posts a message. It fails with message.ErrRefused where the same will be refused again, and with a message.LaterError where
// the answer says when to try again.
func (c *Channel) Send(ctx context.Context, m message.Message) error {
	text, err := body(c.template, m)
	if err != nil {
		return fmt.Errorf("%w: %w", message.ErrRefused, err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(text))
	if err != nil {
		return errors.New("the URL cannot be asked") // the error would show it
	}
	now := c.now()
	id, at := "msg_"+m.ID, strconv.FormatInt(now.Unix(), 10)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "chainmetrics")
	request.Header.Set(HeaderID, id)
	request.Header.Set(HeaderTimestamp, at)
	if len(c.key) > 0 {
		request.Header.Set(HeaderSignature, sign(c.key, id, at, text))
	}
	response, err := c.client.Do(request)
	if failed, ok := errors.AsType[*url.Error](err); ok { // which shows the URL
		return fmt.Errorf("post: %w", failed.Err)
	}
	if err != nil {
		return fmt.Errorf("post: %w", err)
	}
	defer response.Body.Close() //nolint:errcheck // only read
	return judge(response, now)
}

// sign gives the signature of a message.
func sign(key []byte, id, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, key)
	_, _ = fmt.Fprintf(mac, "%s.%s.", id, timestamp)
	_, _ = mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// judge tells from an answer whether the message has been taken. Few answers are about the message: a key that has run out, or a URL
// that has moved, is put right by a person, and what happened meanwhile is told then.
func judge(response *http.Response, now time.Time) error {
	text, _ := io.ReadAll(io.LimitReader(response.Body, shownAnswer)) // what there is of it
	if response.StatusCode/100 == 2 {
		return nil
	}
	err := fmt.Errorf("answered %d: %q", response.StatusCode, text)
	switch response.StatusCode {
	case http.StatusBadRequest, http.StatusGone, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return fmt.Errorf("%w: %w", message.ErrRefused, err)
	}
	if after := retryAfter(response.Header.Get("Retry-After"), now); after > 0 {
		return &message.LaterError{After: after, Err: err}
	}
	return err
}

// retryAfter reads the header of that name: seconds, or a time; zero where it has neither.
func retryAfter(text string, now time.Time) time.Duration {
	if seconds, err := strconv.Atoi(text); err == nil {
		return time.Duration(min(max(seconds, 0), 86400)) * time.Second
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	return max(at.Sub(now), 0)
}

// defaultBody is what is posted without a template.
type defaultBody struct {
	Type   string            `json:"type"`
	Text   string            `json:"text"`
	Count  int               `json:"count"`
	Events []json.RawMessage `json:"events"` // CloudEvents, the first of them
}

// body gives what is posted.
func body(of *template.Template, m message.Message) ([]byte, error) {
	if of == nil {
		all := defaultBody{Type: m.Type, Text: m.Subject + "\n\n" + m.Text, Count: m.Count}
		for _, e := range m.Events {
			all.Events = append(all.Events, e.CloudEvent)
		}
		return json.Marshal(all)
	}
	var text bytes.Buffer
	if err := of.Execute(&text, m); err != nil {
		return nil, err
	}
	if !json.Valid(text.Bytes()) {
		return nil, errors.New("the template gives no JSON")
	}
	return text.Bytes(), nil
}
