//go:build e2e

package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/mail"
	"slices"
	"strings"
	"time"

	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// message is what the inbox has taken, as inbox/main.go shows it.
type message struct {
	To      []string            `json:"to"`
	Headers map[string][]string `json:"headers"`
	Body    string              `json:"body"`
}

// messages gives all mails and webhooks that have come.
func (s *system) messages() (all []message) {
	request, err := http.NewRequestWithContext(s.Context(), http.MethodGet, "http://"+s.inbox, nil)
	if err != nil {
		s.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		s.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck // only read
	text, err := io.ReadAll(response.Body)
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err != nil {
		s.Fatal(err)
	}
	return all
}

// subject gives that of a mail.
func (s *system) subject(m message) string {
	parsed, err := mail.ReadMessage(strings.NewReader(m.Body))
	if err != nil {
		s.Fatalf("%v in the mail\n%s", err, m.Body)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(parsed.Header.Get("Subject"))
	if err != nil {
		s.Fatal(err)
	}
	return subject
}

// failing is a metric of which no window can be computed, since the store refuses it.
const failing = `
name: e2e_failing
type: gauge
calculation_logic: {stream: {event_type: block, value: event.size}}
chains: [bitcoin]
bucket_sizes: [monthly]
retries: 1
retry_delay: 5s
email: [somebody@example.org]
email_on_retry: true
`

// refuse has the store refuse every computation of the metric.
const refuse = `
create function e2e_refuse() returns trigger language plpgsql as $$ begin raise exception 'refused by the test'; end $$;
create trigger e2e_refuse before insert or update on windows for each row
	when (new.cut is not null and new.metric_id = %d) execute function e2e_refuse()`

// failRun has a run fail, and waits until the sweep has had it tried again, and mail and webhook tell of both.
func (s *system) failRun() string {
	pipeline.Apply(s.T, s.store, "failing.yaml", []byte(failing))
	var id int64
	if err := s.database.QueryRow(s.Context(), "select metric_id from metric_registry where name = 'e2e_failing'").Scan(&id); err != nil {
		s.Fatal(err)
	}
	if _, err := s.database.Exec(s.Context(), fmt.Sprintf(refuse, id)); err != nil {
		s.Fatal(err)
	}
	begin := time.Now()
	s.chainmetrics("backfill", "e2e_failing", "--detach")
	var retried, failed, hook time.Duration
	note := func(at *time.Duration, came bool) {
		if came && *at == 0 {
			*at = time.Since(begin)
		}
	}
	pipeline.Eventually(s.T, 2*patience, "two mails and a webhook tell of the failed run", func() bool {
		for _, m := range s.messages() {
			about := strings.Contains(m.Body, "e2e_failing")
			if slices.Contains(m.To, "somebody@example.org") {
				subject := s.subject(m)
				note(&retried, about && strings.Contains(subject, "attempt"))
				note(&failed, about && !strings.Contains(subject, "attempt") && strings.Contains(subject, "failed"))
			}
			if len(m.Headers["Webhook-Signature"]) > 0 {
				note(&hook, about && strings.Contains(m.Body, "dev.chainmetrics.run.failed.v1"))
			}
		}
		return retried > 0 && failed > 0 && hook > 0
	})
	var attempts int
	const query = "select min(attempt) from runs where metric_id = $1 and state = 'failed'"
	if err := s.database.QueryRow(s.Context(), query, id).Scan(&attempts); err != nil || attempts != 2 {
		s.Fatalf("it has failed after %d attempts: %v", attempts, err)
	}
	if _, err := s.database.Exec(s.Context(), "drop function e2e_refuse cascade"); err != nil {
		s.Fatal(err)
	}
	s.chainmetrics("metric", "delete", "e2e_failing", "--yes")
	return fmt.Sprintf("mails after %.0f and %.0f s, webhook after %.0f s, %d attempts", retried.Seconds(), failed.Seconds(),
		hook.Seconds(), attempts)
}
