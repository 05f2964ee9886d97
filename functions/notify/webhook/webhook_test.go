package webhook_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/functions/notify/message"
	"github.com/chainmetrics/chainmetrics/functions/notify/webhook"
)

var now = time.Date(2026, 3, 1, 1, 1, 9, 0, time.UTC)

func told(t *testing.T) message.Message {
	t.Helper()
	ce, err := events.Notice{
		ID: 4714, Type: events.TypeRunFailed, Time: now, RunID: 817,
		Subject: events.Window{
			Metric: "btc_fees", MetricType: "counter", Complexity: "small", Chain: "bitcoin", BucketSize: "daily",
			BucketStart: time.Date(2009, 1, 12, 0, 0, 0, 0, time.UTC),
		},
		Details: json.RawMessage(`{"reason": "due", "attempt": 4, "error": "no \"room\" in \\here: <b>&"}`),
	}.CloudEvent()
	if err != nil {
		t.Fatal(err)
	}
	e, err := message.Read(ce)
	if err != nil {
		t.Fatal(err)
	}
	return message.New(message.Webhook, "", 3, []message.Event{e})
}

func channel(t *testing.T, cfg webhook.Config) *webhook.Channel {
	t.Helper()
	c, err := webhook.New(cfg, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// post is what a server got.
type post struct {
	header http.Header
	body   string
}

// serve starts a server that answers so; it gives what it got.
func serve(t *testing.T, answer http.HandlerFunc) (url string, posts chan post) {
	t.Helper()
	posts = make(chan post, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s, %v, %v", r.Method, r.Header, err)
		}
		posts <- post{r.Header, string(body)}
		if answer != nil {
			answer(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL, posts
}

// verified checks a signature as the specification tells a receiver to.
func verified(t *testing.T, p post, key []byte) {
	t.Helper()
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(p.header.Get("Webhook-Id") + "." + p.header.Get("Webhook-Timestamp") + "." + p.body))
	want := base64.StdEncoding.EncodeToString(mac.Sum(nil))
	version, signature, _ := strings.Cut(p.header.Get("Webhook-Signature"), ",")
	if version != "v1" || !hmac.Equal([]byte(signature), []byte(want)) {
		t.Errorf("the signature is %s,%s, want v1,%s", version, signature, want)
	}
}

// TestSignature is that of the specification's own example.
func TestSignature(t *testing.T) {
	t.Parallel()
	key, err := base64.StdEncoding.DecodeString("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	example := post{http.Header{
		"Webhook-Id": {"msg_p5jXN8AQM9LWM0D4loKWxJek"}, "Webhook-Timestamp": {"1614265330"},
		"Webhook-Signature": {"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
	}, `{"test": 2432232314}`}
	verified(t, example, key)
	if got := webhook.Sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(example.body)); got != example.header.Get("Webhook-Signature") {
		t.Errorf("got %s", got)
	}
}

func TestSend(t *testing.T) {
	t.Parallel()
	key := []byte("0123456789abcdef")
	tests := map[string]struct {
		secret string
		key    []byte
	}{
		"plain":    {string(key), key},
		"standard": {"whsec_" + base64.StdEncoding.EncodeToString(key), key},
		"unsigned": {"", nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, posts := serve(t, nil)
			m := told(t)
			if err := channel(t, webhook.Config{URL: url + "/secret", Secret: tt.secret}).Send(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			p := <-posts
			if tt.key != nil {
				verified(t, p, tt.key)
			} else if p.header.Get("Webhook-Signature") != "" {
				t.Error("it is signed without a secret")
			}
			if p.header.Get("Webhook-Id") != "msg_"+m.ID || p.header.Get("Webhook-Timestamp") != fmt.Sprint(now.Unix()) {
				t.Errorf("headers are %v", p.header)
			}
			var body struct {
				Type, Text string
				Count      int
				Events     []struct {
					ID, Type, Source string
					Data             struct {
						Error string
						RunID int64 `json:"run_id"`
					}
				}
			}
			if err := json.Unmarshal([]byte(p.body), &body); err != nil {
				t.Fatal(err)
			}
			e := body.Events[0]
			if body.Type != events.TypeRunFailed || body.Count != 3 || body.Text != m.Subject+"\n\n"+m.Text || e.ID != "4714" ||
				e.Type != events.TypeRunFailed || e.Data.RunID != 817 || e.Data.Error != `no "room" in \here: <b>&` {
				t.Errorf("the body is %s", p.body)
			}
		})
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		status int
		after  string
		final  bool
		later  time.Duration
	}{
		"taken":          {http.StatusNoContent, "", false, 0},
		"bad request":    {http.StatusBadRequest, "", true, 0},
		"gone":           {http.StatusGone, "3", true, 0},
		"too large":      {http.StatusRequestEntityTooLarge, "", true, 0},
		"unprocessable":  {http.StatusUnprocessableEntity, "", true, 0},
		"unauthorized":   {http.StatusUnauthorized, "", false, 0},
		"forbidden":      {http.StatusForbidden, "60", false, time.Minute},
		"proxy":          {http.StatusProxyAuthRequired, "", false, 0},
		"moved":          {http.StatusMovedPermanently, "", false, 0},
		"no such method": {http.StatusMethodNotAllowed, "", false, 0},
		"not found":      {http.StatusNotFound, "", false, 0},
		"timeout":        {http.StatusRequestTimeout, "", false, 0},
		"conflict":       {http.StatusConflict, "", false, 0},
		"too many":       {http.StatusTooManyRequests, "120", false, 2 * time.Minute},
		"until a time":   {http.StatusServiceUnavailable, "Sun, 01 Mar 2026 01:31:09 GMT", false, 30 * time.Minute},
		"past":           {http.StatusServiceUnavailable, "Sun, 01 Mar 2026 00:31:09 GMT", false, 0},
		"for ever":       {http.StatusServiceUnavailable, "99999999999", false, 24 * time.Hour},
		"below zero":     {http.StatusServiceUnavailable, "-5", false, 0},
		"not a number":   {http.StatusServiceUnavailable, "soon", false, 0},
		"internal error": {http.StatusInternalServerError, "", false, 0},
		"not modified":   {http.StatusNotModified, "", false, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				if tt.after != "" {
					w.Header().Set("Retry-After", tt.after)
				}
				w.WriteHeader(tt.status)
			})
			err := channel(t, webhook.Config{URL: url}).Send(t.Context(), told(t))
			if (err == nil) != (tt.status < 300) || errors.Is(err, message.ErrRefused) != tt.final {
				t.Errorf("got %v", err)
			}
			var later time.Duration
			if l, ok := errors.AsType[*message.LaterError](err); ok {
				later = l.After
			}
			if later != tt.later {
				t.Errorf("later by %s, want %s", later, tt.later)
			}
		})
	}
}

// TestRedirections lead to no other host, and are followed only with what was posted.
func TestRedirections(t *testing.T) {
	t.Parallel()
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	t.Cleanup(other.Close)
	tests := map[string]struct {
		status int
		to     string
		taken  bool
	}{
		"same host":    {http.StatusPermanentRedirect, "/there", true},
		"another host": {http.StatusTemporaryRedirect, other.URL, false},
		"as a GET":     {http.StatusFound, "/there", false},
		"in a circle":  {http.StatusTemporaryRedirect, "/", false},
	}
	for name, tt := range tests {
		url, posts := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/" {
				http.Redirect(w, r, tt.to, tt.status)
			}
		})
		err := channel(t, webhook.Config{URL: url, Secret: "s"}).Send(t.Context(), told(t))
		if (err == nil) != tt.taken {
			t.Errorf("%s: %v", name, err)
		}
		if first := <-posts; tt.taken {
			if second := <-posts; second.body != first.body || second.header.Get("Webhook-Signature") == "" {
				t.Errorf("%s: posted %+v", name, second)
			}
		}
	}
	if n := elsewhere.Load(); n != 0 {
		t.Errorf("%d requests to another host", n)
	}
}

// TestTheURLIsNotShown, nor the secret.
func TestTheURLIsNotShown(t *testing.T) {
	t.Parallel()
	cfg := webhook.Config{URL: "http://127.0.0.1:1/hidden", Secret: "hidden"}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, ctx := range []context.Context{t.Context(), ended} {
		err := channel(t, cfg).Send(ctx, told(t))
		if err == nil || errors.Is(err, message.ErrRefused) || strings.Contains(err.Error(), "hidden") {
			t.Errorf("got %v", err)
		}
	}
	if shown := fmt.Sprintf("%v %+v %#v %s", cfg, cfg, cfg, cfg.LogValue()); strings.Contains(shown, "hidden") {
		t.Errorf("shown: %s", shown)
	}
}

func TestSlackTemplate(t *testing.T) {
	t.Parallel()
	url, posts := serve(t, nil)
	cfg := webhook.Config{URL: url, TemplateFile: filepath.Join("..", "..", "..", "examples", "notify", "slack.tmpl")}
	m := told(t)
	if err := channel(t, cfg).Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	var body struct {
		Text   string
		Blocks []struct {
			Type string
			Text struct{ Type, Text string }
		}
	}
	p := <-posts
	if err := json.Unmarshal([]byte(p.body), &body); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m.Subject, body.Text); diff != "" || len(body.Blocks) != 2 || body.Blocks[0].Text.Text != m.Subject ||
		body.Blocks[1].Text.Text != m.Text {
		t.Errorf("%s\n%s", p.body, diff)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	file := func(name, text string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	tests := map[string]struct {
		cfg  webhook.Config
		want string
	}{
		"nothing":       {webhook.Config{}, ""},
		"good":          {webhook.Config{URL: "https://example.com/x", Secret: "whsec_AAAA", TemplateFile: file("good", `{"a": {{json .Events}}}`)}, ""},
		"no URL":        {webhook.Config{Secret: "s"}, "WEBHOOK_URL is not set"},
		"another URL":   {webhook.Config{URL: "ftp://example.com"}, "WEBHOOK_URL is no http or https URL"},
		"secret":        {webhook.Config{URL: "https://example.com", Secret: "whsec_?"}, "WEBHOOK_SECRET"},
		"no template":   {webhook.Config{URL: "https://example.com", TemplateFile: "nowhere"}, "WEBHOOK_TEMPLATE_FILE"},
		"broken":        {webhook.Config{URL: "https://example.com", TemplateFile: file("broken", "{{")}, "WEBHOOK_TEMPLATE_FILE"},
		"unknown field": {webhook.Config{URL: "https://example.com", TemplateFile: file("field", `{"a": {{json .Nothing}}}`)}, "WEBHOOK_TEMPLATE_FILE"},
		"no JSON":       {webhook.Config{URL: "https://example.com", TemplateFile: file("text", `{"a": "{{.Text}}"}`)}, "WEBHOOK_TEMPLATE_FILE: the template gives no JSON"},
	}
	for name, tt := range tests {
		err := tt.cfg.Validate()
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", name, err, tt.want)
		}
	}
}
