package integration_test

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/tests/harness"
	"github.com/chainmetrics/chainmetrics/tests/mailbox"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// tell posts a CloudEvent, and gives the answer's status.
func tell(ctx context.Context, url string, ce event.Event) (int, error) {
	request, err := cehttp.NewHTTPRequestFromEvent(ctx, url, ce)
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	return response.StatusCode, response.Body.Close()
}

// TestNotifyIsKilled while the mail server has its mail and has not answered: the next process sends it once more, under the same id.
func TestNotifyIsKilled(t *testing.T) {
	t.Parallel()
	databaseURL := harness.Database(t)
	database := pipeline.Database(t, databaseURL)
	server := mailbox.Start(t, mailbox.Options{})
	program, url := pipeline.Function(t, "notify", harness.Build(t, "functions/notify"), databaseURL, map[string]string{
		"SMTP_HOST": server.Host, "SMTP_PORT": server.Port, "SMTP_USER": mailbox.User, "SMTP_PASSWORD": mailbox.Password,
		"SMTP_FROM": "metrics@example.com", "SMTP_TO": "ops@example.com", "SMTP_CA_FILE": server.CAFile,
	})
	start := func() {
		t.Helper()
		if err := program.Start(); err != nil {
			t.Fatal(err)
		}
		pipeline.AwaitReady(t, url)
	}
	start()
	var once sync.Once
	server.Hook(func(stage mailbox.Stage, _ string) (err error) {
		if stage == mailbox.Data {
			once.Do(func() {
				if err = program.Kill(); err == nil {
					err = mailbox.Refusal(451, "nobody hears this")
				}
			})
		}
		return err
	})
	failed, err := events.Notice{
		ID: 1, Type: events.TypeRunFailed, Time: time.Unix(1700000000, 0), RunID: 7,
		Subject: events.Window{
			Metric: "gas", MetricType: "counter", Complexity: "small", Chain: "testchain", BucketSize: "daily", BucketStart: time.Unix(1699920000, 0),
		},
		Details: json.RawMessage(`{"reason": "due", "attempt": 4, "error": "no room"}`),
	}.CloudEvent()
	if err != nil {
		t.Fatal(err)
	}
	if status, err := tell(t.Context(), url, failed); err == nil {
		t.Fatalf("it was killed, and has answered %d", status)
	}
	pipeline.Eventually(t, 30*time.Second, "it is dead", func() bool { return !program.Running() })
	start()
	if status, err := tell(t.Context(), url, failed); err != nil || status != http.StatusNoContent { // the Broker does so
		t.Fatalf("answered %d, %v", status, err)
	}
	tick := event.New()
	tick.SetID("1")
	tick.SetSource("/test")
	tick.SetType(events.TypePing)
	tick.SetExtension(events.ExtensionFunction, "notify")
	for _, mails := range []int{0, 1} { // the lease is good for two minutes
		if _, err := database.Exec(t.Context(), "update notification_groups set leased_until = leased_until - interval '1 min'"); err != nil {
			t.Fatal(err)
		}
		if status, err := tell(t.Context(), url, tick); err != nil || status != http.StatusNoContent {
			t.Fatalf("a tick is answered %d, %v", status, err)
		}
		if got := len(server.Mails()); got != mails {
			t.Errorf("%d mails, want %d", got, mails)
		}
	}
	mails := server.Mails()
	if len(mails) != 1 || mails[0].Header.Get("Subject") != "[chainmetrics] run failed: gas, daily 2023-11-14 (testchain)" {
		t.Errorf("mails are %+v", mails)
	}
	for unknown, want := range map[string]int{events.TypeBucketFinalized: http.StatusBadRequest, events.TypeRunLate: http.StatusNoContent} {
		other := failed.Clone()
		other.SetType(unknown)
		if status, err := tell(t.Context(), url, other); err != nil || status != want {
			t.Errorf("%s is answered %d, %v", unknown, status, err)
		}
	}
}

// TestNotifyNamesWhatIsWrong with its configuration, and shows no secret.
func TestNotifyNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	template := filepath.Join(t.TempDir(), "broken.tmpl")
	if err := os.WriteFile(template, []byte(`{"text": {{json .Subject}`), 0o600); err != nil {
		t.Fatal(err)
	}
	program, _ := pipeline.Function(t, "notify", harness.Build(t, "functions/notify"), "postgres://a:s3cret@127.0.0.1:1/b", map[string]string{
		"SMTP_HOST": "mail", "SMTP_PASSWORD": "s3cret", "SMTP_TO": "ops@example.com,nobody", "SMTP_TLS": "perhaps",
		"WEBHOOK_URL": "https://example.com/s3cret", "WEBHOOK_SECRET": "whsec_s3cret!", "WEBHOOK_TEMPLATE_FILE": template,
		"NOTIFY_GROUP_INTERVAL": "soon",
	})
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := program.Wait(ctx); err == nil || ctx.Err() != nil {
		t.Errorf("it ends with %v", err)
	}
	log, err := program.Log()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"SMTP_FROM", "SMTP_TO", "SMTP_USER", "SMTP_TLS", "WEBHOOK_SECRET", "WEBHOOK_TEMPLATE_FILE", "NOTIFY_GROUP_INTERVAL",
	} {
		if !strings.Contains(log, want) {
			t.Errorf("%s is not named:\n%s", want, log)
		}
	}
	if strings.Contains(log, "s3cret") {
		t.Errorf("a secret is shown:\n%s", log)
	}
}

// TestNotifyStartsWithoutChannels, and takes events.
func TestNotifyStartsWithoutChannels(t *testing.T) {
	t.Parallel()
	program, url := pipeline.Function(t, "notify", harness.Build(t, "functions/notify"), harness.Database(t), nil)
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	pipeline.AwaitReady(t, url)
	letter := event.New()
	letter.SetID("1")
	letter.SetSource("/me")
	letter.SetType("test")
	if status, err := tell(t.Context(), url, events.Undelivered{Destination: "http://nowhere"}.DeadLetter(letter)); err != nil || status != http.StatusNoContent {
		t.Fatalf("answered %d, %v", status, err)
	}
	log, err := program.Log()
	if err != nil || !strings.Contains(log, "nobody is told: no channel is configured") {
		t.Errorf("the log is\n%s\n%v", log, err)
	}
}
