package notify_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime/quotedprintable"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/functions/notify/mail"
	"github.com/chainmetrics/chainmetrics/functions/notify/message"
	"github.com/chainmetrics/chainmetrics/functions/notify/notify"
	"github.com/chainmetrics/chainmetrics/functions/notify/webhook"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/tests/harness"
	"github.com/chainmetrics/chainmetrics/tests/mailbox"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

func TestMain(m *testing.M) { harness.Main(m) }

// definitions of metrics that ask for mails in each way.
const definitions = `
name: plain
type: counter
calculation_logic: {stream: {event_type: block}}
chains: [testchain]
bucket_sizes: [daily]
---
name: owned
type: counter
calculation_logic: {stream: {event_type: block}}
chains: [testchain]
bucket_sizes: [daily]
email: [Ann <ann@example.com>, bob@example.com]
email_on_retry: true
---
name: quiet
type: counter
calculation_logic: {stream: {event_type: block}}
chains: [testchain]
bucket_sizes: [daily]
email_on_failure: false
email: [ann@example.com]
---
name: retries_only
type: counter
calculation_logic: {stream: {event_type: block}}
chains: [testchain]
bucket_sizes: [daily]
email_on_failure: false
email_on_retry: true
`

var now = time.Date(2026, 3, 1, 1, 1, 9, 0, time.UTC)

// world is notify over a database, with a mail server and who listens to a webhook.
type world struct {
	url      string
	store    *postgres.Store
	database *pgxpool.Pool
	mailbox  *mailbox.Server
	mail     *mail.Channel
	webhook  *webhook.Channel
	function *notify.Function

	mu     sync.Mutex
	status int
	posts  []string // bodies
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{url: harness.Database(t), mailbox: mailbox.Start(t, mailbox.Options{}), status: http.StatusNoContent}
	w.store, w.database = pipeline.Store(t, w.url), pipeline.Database(t, w.url)
	pipeline.Apply(t, w.store, "test.yaml", []byte(definitions))
	port, err := strconv.Atoi(w.mailbox.Port)
	if err != nil {
		t.Fatal(err)
	}
	w.mail, err = mail.New(mail.Config{
		Host: w.mailbox.Host, Port: port, User: mailbox.User, Password: mailbox.Password, From: "metrics@example.com",
		To: []string{"ops@example.com"}, TLS: "starttls", CAFile: w.mailbox.CAFile,
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.status == http.StatusNoContent {
			w.posts = append(w.posts, string(body))
		}
		rw.WriteHeader(w.status)
	}))
	t.Cleanup(server.Close)
	if w.webhook, err = webhook.New(webhook.Config{URL: server.URL}, time.Now); err != nil {
		t.Fatal(err)
	}
	w.function = w.over(w.store, w.mail)
	return w
}

// over makes notify over a store.
func (w *world) over(store notify.Store, channels ...notify.Channel) *notify.Function {
	return notify.NewFunction(store, notify.Config{GroupInterval: time.Hour}, channels...)
}

// answers has the webhook answer so.
func (w *world) answers(status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.status = status
}

func (w *world) posted() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.posts...)
}

var details = map[string]string{
	events.TypeBucketDrifted: `{"changes": 3}`,
	events.TypeRunFailed:     `{"reason": "due", "attempt": 4, "error": "no\r\nBcc: all@example.com"}`,
	events.TypeRunRetried:    `{"reason": "due", "attempt": 1, "error": "no room", "next_attempt_at": "2026-03-01T01:06:09Z"}`,
	events.TypeRunLate:       `{"deadline": "2026-03-01T06:00:00Z"}`,
	events.TypeCheckFailed:   `{"check": "min 0", "severity": "block", "message": "-1 is less than 0"}`,
}

// notice is the CloudEvent of a notice.
func notice(t *testing.T, ceType, metric string, id int64) event.Event {
	t.Helper()
	ce, err := events.Notice{
		ID: id, Type: ceType, Time: now, RunID: 800 + id, Details: json.RawMessage(details[ceType]),
		Subject: events.Window{
			Metric: metric, MetricType: "counter", Complexity: "small", Chain: "testchain", BucketSize: "daily",
			BucketStart: time.Date(2009, 1, 12, 0, 0, 0, 0, time.UTC),
		},
	}.CloudEvent()
	if err != nil {
		t.Fatal(err)
	}
	return ce
}

func (w *world) hear(t *testing.T, ce event.Event) {
	t.Helper()
	if err := w.function.Hear(t.Context(), ce, now); err != nil {
		t.Fatal(err)
	}
}

func (w *world) tick(t *testing.T) {
	t.Helper()
	if err := w.function.Tick(t.Context(), events.Tick{Function: "notify"}, now); err != nil {
		t.Fatal(err)
	}
}

// later has time pass for what waits.
func (w *world) later(t *testing.T, interval string) {
	t.Helper()
	w.execute(t, "update notification_groups set next_at = next_at - interval '"+interval+"', leased_until = leased_until - interval '"+interval+"'")
}

func (w *world) execute(t *testing.T, statement string) {
	t.Helper()
	if _, err := w.database.Exec(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

func (w *world) expect(t *testing.T, query, want string) {
	t.Helper()
	var got string
	if err := w.database.QueryRow(t.Context(), "select coalesce(("+query+")::text, '')").Scan(&got); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	if got != want {
		t.Errorf("%s:\ngot  %s\nwant %s", query, got, want)
	}
}

// states shows how many notifications are in which state.
const states = `select string_agg(s, ', ' order by s) from (
	select channel || ' ' || recipient || ' ' || state || ' ' || count(*) as s from notifications group by channel, recipient, state) x`

// mails gives the subjects of the mails, by recipients.
func (w *world) mails() []string {
	var all []string
	for _, m := range w.mailbox.Mails() {
		all = append(all, m.To+": "+m.Header.Get("Subject"))
	}
	return all
}

// text gives the text of a mail.
func text(t *testing.T, m mailbox.Mail) string {
	t.Helper()
	plain, err := io.ReadAll(quotedprintable.NewReader(strings.NewReader(m.Body)))
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(plain), "\r\n", "\n")
}

var errBroken = errors.New("broken")

// deaf is a channel that takes nothing, and counts how often it was asked.
type deaf struct {
	err error

	mu    sync.Mutex
	asked int
}

func (*deaf) Name() string { return message.Mail }

func (*deaf) Recipients([]string) []string { return []string{"ops@example.com"} }

func (d *deaf) Send(context.Context, message.Message) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked++
	return d.err
}
