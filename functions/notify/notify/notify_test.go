package notify_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"
	"github.com/google/go-cmp/cmp"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/functions/notify/message"
	"github.com/chainmetrics/chainmetrics/functions/notify/notify"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/tests/harness"
	"github.com/chainmetrics/chainmetrics/tests/mailbox"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// TestWhoIsTold is the table of docs/notifications.md.
func TestWhoIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.function = w.over(w.store, w.mail, w.webhook)
	const ops, owners, hook, nobody = "mail ops@example.com", "mail ann@example.com, mail bob@example.com", "webhook ", "none "
	id := int64(0)
	for ceType, want := range map[string]map[string]string{
		events.TypeRunFailed:     {"plain": ops + ", " + hook, "owned": owners + ", " + hook, "quiet": hook, "retries_only": hook, "gone": ops + ", " + hook},
		events.TypeRunLate:       {"plain": ops + ", " + hook, "owned": owners + ", " + hook, "quiet": hook, "retries_only": hook},
		events.TypeCheckFailed:   {"plain": ops + ", " + hook, "owned": owners + ", " + hook, "quiet": hook, "retries_only": hook},
		events.TypeRunRetried:    {"plain": nobody, "owned": owners + ", " + hook, "quiet": nobody, "retries_only": ops + ", " + hook},
		events.TypeBucketDrifted: {"plain": ops + ", " + hook, "owned": ops + ", " + hook, "quiet": ops + ", " + hook, "retries_only": ops + ", " + hook},
	} {
		for metric, ways := range want {
			id++
			ce := notice(t, ceType, metric, id)
			w.hear(t, ce)
			told := fmt.Sprintf("select string_agg(channel || ' ' || recipient, ', ' order by channel, recipient) from notifications where event_id = '%d'", id)
			w.expect(t, told, ways)
			letter := events.Undelivered{Destination: "http://report"}.DeadLetter(ce) // of whoever, whatever it is
			w.hear(t, letter)
			w.expect(t, told+" and destination <> ''", ops+", "+hook)
		}
	}
	w.expect(t, "select string_agg(distinct error, ', ') from notifications where channel = 'none'", "the metric's definition does not ask for it")
	w.expect(t, "select count(*) from notifications where (state = 'silent') <> (channel = 'none')", "0")
}

// TestEventsAreToldOnce, however often they come.
func TestEventsAreToldOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.function = w.over(w.store, w.mail, w.webhook)
	for range 2 {
		w.hear(t, notice(t, events.TypeRunFailed, "plain", 7))
		w.later(t, "2 h")
		w.tick(t)
	}
	w.expect(t, states, "mail ops@example.com sent 1, webhook  sent 1")
	if diff := cmp.Diff([]string{"ops@example.com: [chainmetrics] run failed: plain, daily 2009-01-12 (testchain)"}, w.mails()); diff != "" {
		t.Error(diff)
	}
	want := `A window could not be computed, and will not be tried again by itself.

metric     plain (counter, small)
chain      testchain
window     daily, 2009-01-12 00:00 to 2009-01-13 00:00 UTC
run        807
reason     due
attempt    4
error      no Bcc: all@example.com
time       2026-03-01 01:01:09 UTC
event      /chainmetrics/functions/counter 7

Look further:
    chainmetrics run show 807
    chainmetrics run list plain --state failed
    chainmetrics run retry 807
`
	if diff := cmp.Diff(want, strings.TrimLeft(text(t, w.mailbox.Mails()[0]), "\n")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if posts := w.posted(); len(posts) != 1 || !json.Valid([]byte(posts[0])) {
		t.Errorf("posted %q", posts)
	}
	w.expect(t, "select string_agg(distinct attempts::text || (settled_at > created_at)::text, ' ') from notifications", "1true")
}

// TestDeadLettersAreTold by who did not take them.
func TestDeadLettersAreTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	request := events.RunRequest{Metric: "plain", MetricType: "counter", BucketSize: "daily", Complexity: "small"}.CloudEvent("scheduler", now)
	letter := func(ce event.Event, to string) event.Event {
		return events.Undelivered{Destination: to, Code: "503", Answer: "not available\r\nBcc: x"}.DeadLetter(ce)
	}
	foreign := event.New()
	foreign.SetID("a\tb")
	foreign.SetSource("/elsewhere")
	foreign.SetType("com.example.order")
	if err := foreign.SetData("application/json", []byte("{")); err != nil { // perhaps why it was refused
		t.Fatal(err)
	}
	large := foreign.Clone()
	large.SetID("large")
	if err := large.SetData("application/json", []byte(`"`+strings.Repeat("x", 1<<20)+`"`)); err != nil {
		t.Fatal(err)
	}
	ping := event.New()
	ping.SetID("1")
	ping.SetSource("/ping")
	ping.SetType(events.TypePing)
	ping.SetExtension(events.ExtensionFunction, "archive")
	if err := w.function.Hear(t.Context(), ping, now); !errors.Is(err, events.ErrInvalid) {
		t.Errorf("a tick of another: %v", err)
	}
	for _, ce := range []event.Event{
		letter(request, "http://counter-small"), letter(request, "http://counter-small"), letter(request, "http://counter-medium"),
		letter(foreign, "http://shop"), letter(large, "http://warehouse"), letter(notice(t, events.TypeRunFailed, "plain", 1), "http://report"),
		ping, notice(t, events.TypeRunFailed, "plain", 2), request, // of which Knative says nothing
	} {
		if err := w.function.HearDeadLetter(t.Context(), ce, now); err != nil {
			t.Fatal(err)
		}
		w.later(t, "2 h") // those of unknown destinations are told together
	}
	want := []string{
		"ops@example.com: [chainmetrics] event not delivered: dev.chainmetrics.run.requested.v1 to http://counter-small",
		"ops@example.com: [chainmetrics] event not delivered: dev.chainmetrics.run.requested.v1 to http://counter-medium",
		"ops@example.com: [chainmetrics] event not delivered: com.example.order to http://shop",
		"ops@example.com: [chainmetrics] event not delivered: com.example.order to http://warehouse",
		"ops@example.com: [chainmetrics] event not delivered: dev.chainmetrics.run.failed.v1 to http://report",
		"ops@example.com: [chainmetrics] event not delivered: dev.knative.sources.ping to unknown",
		"ops@example.com: [chainmetrics] event not delivered: dev.chainmetrics.run.failed.v1 to unknown",
		"ops@example.com: [chainmetrics] event not delivered: dev.chainmetrics.run.requested.v1 to unknown",
	}
	if diff := cmp.Diff(want, w.mails()); diff != "" {
		t.Error(diff)
	}
	if got := text(t, w.mailbox.Mails()[0]); !strings.Contains(got, "status     503\nanswer     not available Bcc: x\n") {
		t.Errorf("the text is\n%s", got)
	}
	w.expect(t, "select max(length(payload::text)) < 2000 from notifications", "true")
	w.hear(t, notice(t, events.TypeRunFailed, "plain", 1)) // by itself it is told all the same
	if n := len(w.mails()); n != len(want)+1 {
		t.Errorf("%d mails, want %d", n, len(want)+1)
	}
}

// TestRefuses events that nobody is told of, and those that say nothing.
func TestRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	changed := func(change func(*event.Event)) event.Event {
		ce := notice(t, events.TypeRunFailed, "plain", 1)
		change(&ce)
		return ce
	}
	for name, ce := range map[string]event.Event{
		"finalized": changed(func(ce *event.Event) { ce.SetType(events.TypeBucketFinalized) }),
		"of others": changed(func(ce *event.Event) { ce.SetType("com.example.order") }),
		"no data":   changed(func(ce *event.Event) { ce.DataEncoded = nil }),
		"no metric": changed(func(ce *event.Event) {
			ce.DataEncoded = []byte(`{"chain": "a", "metric_type": "b", "complexity": "c", "bucket_size": "d"}`)
		}),
		"no chain":   changed(func(ce *event.Event) { ce.DataEncoded = []byte(`{"metric": "plain"}`) }),
		"command":    changed(func(ce *event.Event) { ce.DataEncoded = []byte(`{"metric": "plain; rm -rf /"}`) }),
		"empty tick": changed(func(ce *event.Event) { ce.SetType(events.TypePing); ce.SetExtension(events.ExtensionMetricType, nil) }),
	} {
		if err := w.function.Hear(t.Context(), ce, now); !errors.Is(err, events.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := w.function.Tick(t.Context(), events.Tick{Function: "archive"}, now); !errors.Is(err, events.ErrInvalid) {
		t.Errorf("a tick for the archive: %v", err)
	}
	w.expect(t, states, "")
}

// killed is a store whose process ends at a step.
type killed struct {
	notify.Store
	claim, settle bool
}

func (k killed) ClaimMessage(ctx context.Context, channel string, most int, lease time.Duration) (postgres.Message, bool, error) {
	if k.claim {
		return postgres.Message{}, false, errBroken
	}
	return k.Store.ClaimMessage(ctx, channel, most, lease)
}

func (k killed) SettleMessage(ctx context.Context, m postgres.Message, o postgres.Outcome) error {
	if k.settle {
		return errBroken
	}
	return k.Store.SettleMessage(ctx, m, o)
}

// TestKilled at each step: another process goes on, and a mail that is sent twice has one id, and says the same.
func TestKilled(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		store killed
		mails int
	}{
		"between commit and send": {killed{claim: true}, 1},
		"between send and note":   {killed{settle: true}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			tt.store.Store = w.store
			w.function = w.over(tt.store, w.mail)
			w.hear(t, notice(t, events.TypeRunFailed, "plain", 1))
			w.function = w.over(w.store, w.mail)
			w.hear(t, notice(t, events.TypeRunFailed, "plain", 1)) // Knative had no answer
			w.hear(t, notice(t, events.TypeRunFailed, "plain", 2))
			w.later(t, "1 min")
			w.tick(t) // too early, where the lease is still good
			if n := len(w.mails()); n != 1 {
				t.Errorf("%d mails before the lease has run out", n)
			}
			w.later(t, "1 min")
			w.tick(t)
			first := w.mailbox.Mails()
			if tt.mails == 2 && (len(first) != 2 || first[0].Header.Get("Message-Id") != first[1].Header.Get("Message-Id") ||
				text(t, first[0]) != text(t, first[1])) {
				t.Errorf("the mails are %+v", first)
			}
			w.later(t, "2 h")
			w.tick(t)
			w.expect(t, states, "mail ops@example.com sent 2")
			ids := map[string]bool{}
			for _, m := range w.mailbox.Mails() {
				ids[m.Header.Get("Message-Id")] = true
			}
			if want := map[int]int{1: 1, 2: 2}[tt.mails]; len(ids) < want {
				t.Errorf("ids are %v", ids)
			}
		})
	}
}

// TestTwoPods tell every event once, though each event comes to both.
func TestTwoPods(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pods := []*notify.Function{w.over(w.store, w.mail), w.over(pipeline.Store(t, w.url), w.mail)}
	all := make([]event.Event, 40)
	for i := range all {
		all[i] = notice(t, events.TypeRunFailed, []string{"plain", "owned"}[i%2], int64(i))
	}
	var hearing sync.WaitGroup
	for _, pod := range pods {
		hearing.Go(func() {
			for _, ce := range all {
				if err := pod.Hear(t.Context(), ce, now); err != nil {
					t.Error(err)
				}
			}
		})
	}
	hearing.Wait()
	w.later(t, "2 h")
	for _, pod := range pods {
		hearing.Go(func() {
			if err := pod.Tick(t.Context(), events.Tick{Function: "notify"}, now); err != nil {
				t.Error(err)
			}
		})
	}
	hearing.Wait()
	w.expect(t, states, "mail ann@example.com sent 20, mail bob@example.com sent 20, mail ops@example.com sent 20")
	runs := map[string]int{}
	for _, m := range w.mailbox.Mails() {
		body := text(t, m)
		for i := range all {
			if strings.Contains(body, fmt.Sprintf("run %d: ", 800+i)) || strings.Contains(body, fmt.Sprintf("run        %d\n", 800+i)) {
				runs[fmt.Sprintf("%s %d", m.To, i)]++
			}
		}
	}
	for run, n := range runs {
		if n != 1 {
			t.Errorf("%s is told %d times", run, n)
		}
	}
	if len(runs) != 60 || len(w.mailbox.Mails()) != 6 {
		t.Errorf("%d runs were told in %d mails, want 60 in 6", len(runs), len(w.mailbox.Mails()))
	}
}

// TestStorm: a thousand failed runs of one metric are two mails.
func TestStorm(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var hearing sync.WaitGroup
	for range 4 {
		hearing.Go(func() {
			for id := range int64(1000) {
				if err := w.function.Hear(t.Context(), notice(t, events.TypeRunFailed, "plain", id), now); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	hearing.Wait()
	w.tick(t)
	if n := len(w.mails()); n != 1 {
		t.Errorf("%d mails before the interval is over", n)
	}
	w.later(t, "2 h")
	for range 3 {
		w.tick(t)
	}
	w.expect(t, states, "mail ops@example.com sent 1000")
	mails := w.mailbox.Mails()
	if len(mails) != 2 {
		t.Fatalf("%d mails: %v", len(mails), w.mails())
	}
	body := text(t, mails[1])
	for _, want := range []string{`^99\d runs failed\.\n`, `\nand 94\d more\n`, `chainmetrics run retry --metric plain\n`} { // some in the first
		if !regexp.MustCompile(want).MatchString(body) {
			t.Errorf("%q is not in\n%s", want, body)
		}
	}
	if mails[0].Header.Get("References") != mails[1].Header.Get("References") ||
		mails[0].Header.Get("Message-Id") == mails[1].Header.Get("Message-Id") {
		t.Errorf("headers are\n%v\n%v", mails[0].Header, mails[1].Header)
	}
}

// TestServersThatAreAway: what could not be sent is tried again, ever more rarely, with what it was; at last it is given up.
func TestServersThatAreAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	channel := &deaf{err: errBroken}
	w.function = w.over(w.store, channel)
	w.hear(t, notice(t, events.TypeRunFailed, "plain", 1))
	w.hear(t, notice(t, events.TypeRunFailed, "plain", 2)) // which waits for the first, though nothing was sent
	w.tick(t)
	w.expect(t, states, "mail ops@example.com queued 2")
	if channel.asked != 1 {
		t.Errorf("asked %d times", channel.asked)
	}
	var pauses []string
	for range 40 {
		var pause string
		err := w.database.QueryRow(t.Context(), "select round(extract(epoch from next_at - now()) / 60)::text from notification_groups").Scan(&pause)
		if err != nil {
			t.Fatal(err)
		}
		pauses = append(pauses, pause)
		w.expect(t, "select string_agg(attempts::text || coalesce(error, ''), ' ' order by notification_id) from notifications",
			fmt.Sprintf("%dbroken 0", len(pauses)))
		if len(pauses) == 29 {
			break
		}
		w.later(t, "2 h")
		w.tick(t)
	}
	want := slices.Concat([]string{"1", "2", "4", "8", "16", "32"}, slices.Repeat([]string{"60"}, 23))
	if diff := cmp.Diff(want, pauses); diff != "" {
		t.Errorf("pauses in minutes (-want +got)\n%s", diff)
	}
	troubles, err := w.store.Troubles(t.Context())
	if n := troubles.Notifications; err != nil || n.Waiting != 2 || n.WaitingError != "broken" || n.Since == nil || n.GivenUp != 0 {
		t.Errorf("troubles are %+v, %v", n, err)
	}
	w.later(t, "2 h")
	w.tick(t)
	w.expect(t, "select string_agg(state || attempts, ' ' order by notification_id) from notifications", "failed30 queued0")
	troubles, err = w.store.Troubles(t.Context())
	if n := troubles.Notifications; err != nil || n.Waiting != 0 || n.GivenUp != 1 || n.GivenUpError != "broken" {
		t.Errorf("troubles are %+v, %v", n, err)
	}
	w.function = w.over(w.store, w.mail)
	w.later(t, "2 h")
	w.tick(t)
	if n := len(w.mails()); n != 1 || strings.Contains(text(t, w.mailbox.Mails()[0]), "801") {
		t.Errorf("%d mails", n)
	}
	w.execute(t, "update notifications set state = 'queued', message = null, settled_at = null, created_at = now() where state = 'failed'") // as the page says
	w.later(t, "2 h")
	w.tick(t)
	w.expect(t, states, "mail ops@example.com sent 2")
}

// TestChannelsThatAskForTime get it; those that refuse are not asked again, and hold no other up.
func TestAnswersOfChannels(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		err    error
		state  string
		minute string // of the next message
	}{
		"later":        {&message.LaterError{After: 30 * time.Minute, Err: errBroken}, "queued", "30"},
		"sooner":       {&message.LaterError{After: time.Second, Err: errBroken}, "queued", "1"},
		"much later":   {&message.LaterError{After: 1000 * time.Hour, Err: errBroken}, "queued", "1440"},
		"refused":      {fmt.Errorf("%w: no", message.ErrRefused), "failed", "60"},
		"text of NULs": {errors.New("a\x00b\xff"), "queued", "1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.function = w.over(w.store, &deaf{err: tt.err})
			w.hear(t, notice(t, events.TypeRunFailed, "plain", 1))
			w.expect(t, states, "mail ops@example.com "+tt.state+" 1")
			w.expect(t, "select round(extract(epoch from next_at - now()) / 60)::text from notification_groups", tt.minute)
		})
	}
}

// TestATickLeavesADeadServerAlone after some messages.
func TestATickLeavesADeadServerAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	channel := &deaf{err: errBroken}
	w.function = w.over(killed{Store: w.store, claim: true}, channel, w.webhook)
	for i := range int64(10) {
		w.hear(t, notice(t, events.TypeRunFailed, fmt.Sprintf("m_%d", i), i))
	}
	w.function = w.over(w.store, channel, w.webhook)
	w.tick(t)
	if channel.asked != 3 || len(w.posted()) != 10 {
		t.Errorf("the dead server was asked %d times, the other took %d", channel.asked, len(w.posted()))
	}
	channel.err = message.ErrRefused
	w.tick(t)
	w.expect(t, states, "mail ops@example.com failed 7, mail ops@example.com queued 3, webhook  sent 10")
}

// hung is a channel whose server takes messages and says nothing.
type hung struct {
	deaf
	entered chan time.Duration // how long each message may take
	over    chan struct{}
}

func (h *hung) Send(ctx context.Context, _ message.Message) error {
	end, _ := ctx.Deadline()
	h.entered <- time.Until(end)
	select {
	case <-h.over:
	case <-time.After(30 * time.Second): // others wait for it, which they must not
	}
	return errBroken
}

// TestAServerThatHangs delays one request by some seconds, and no other at all: events are recorded meanwhile.
func TestAServerThatHangs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	channel := &hung{entered: make(chan time.Duration, 20), over: make(chan struct{})}
	w.function = w.over(w.store, channel, w.webhook)
	heard := make(chan error, 1)
	go func() { heard <- w.function.Hear(t.Context(), notice(t, events.TypeRunFailed, "m_0", 0), now) }()
	select {
	case may := <-channel.entered:
		if may > 5*time.Second {
			t.Errorf("a message may take %s", may)
		}
	case err := <-heard:
		t.Fatal("nothing was sent:", err)
	}
	for i := range int64(9) {
		w.hear(t, notice(t, events.TypeRunFailed, fmt.Sprintf("m_%d", i+1), i+1))
	}
	if n := len(channel.entered); n != 0 {
		t.Errorf("%d requests more were sending", n)
	}
	w.expect(t, states, "mail ops@example.com queued 10, webhook  sent 10")
	close(channel.over)
	if err := <-heard; err != nil {
		t.Error(err)
	}
	w.function = w.over(w.store, w.mail, w.webhook)
	w.tick(t)
	w.expect(t, states, "mail ops@example.com queued 1, mail ops@example.com sent 9, webhook  sent 10")
}

// TestARecipientThatIsRefused keeps no other from getting the mail.
func TestARecipientThatIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mailbox.Hook(func(stage mailbox.Stage, argument string) error {
		if stage == mailbox.To && argument == "ann@example.com" {
			return mailbox.Refusal(550, "no such user")
		}
		return nil
	})
	w.hear(t, notice(t, events.TypeRunFailed, "owned", 1))
	w.tick(t)
	w.expect(t, states, "mail ann@example.com failed 1, mail bob@example.com sent 1")
	w.expect(t, "select error ~ 'no such user' from notifications where state = 'failed'", "true")
}

// TestRecipientsThatArePutOff keep no other from getting the mail, at once or with a tick.
func TestRecipientsThatArePutOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mailbox.Hook(func(stage mailbox.Stage, argument string) error {
		if stage == mailbox.To && argument != "bob@example.com" && argument != "ops@example.com" {
			return mailbox.Refusal(452, "mailbox full")
		}
		return nil
	})
	w.hear(t, notice(t, events.TypeRunFailed, "owned", 1))
	w.expect(t, states, "mail ann@example.com queued 1, mail bob@example.com sent 1")
	w.function = w.over(killed{Store: w.store, claim: true}, w.mail)
	w.execute(t, `update metric_registry set definition = jsonb_set(definition, '{email}', '["a@x.com", "b@x.com", "c@x.com", "d@x.com"]') where name = 'owned'`)
	w.hear(t, notice(t, events.TypeRunFailed, "owned", 2))
	w.hear(t, notice(t, events.TypeRunFailed, "plain", 3))
	w.function = w.over(w.store, w.mail)
	w.tick(t)
	w.expect(t, "select string_agg(distinct recipient, ' ') from notifications where state = 'sent'", "bob@example.com ops@example.com")
	w.expect(t, "select count(*) from notifications where state = 'queued' and attempts > 0", "5")
}

// TestTheWebhookIsAway while mails are sent.
func TestTheWebhookIsAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.function = w.over(w.store, w.mail, w.webhook)
	w.answers(http.StatusServiceUnavailable)
	w.hear(t, notice(t, events.TypeRunFailed, "plain", 1))
	w.expect(t, states, "mail ops@example.com sent 1, webhook  queued 1")
	w.answers(http.StatusNoContent)
	w.later(t, "2 min")
	w.tick(t)
	w.expect(t, states, "mail ops@example.com sent 1, webhook  sent 1")
}

// TestIdentitiesOfAnyText are recorded and told apart: what PostgreSQL does not take would come again until it is lost.
func TestIdentitiesOfAnyText(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	random := rand.New(rand.NewPCG(1, 2))
	var long strings.Builder // that no compression shortens
	for range 5000 {
		long.WriteByte(byte('!' + random.IntN(90)))
	}
	ids := []string{"a\x00b", "a\uFFFDb", "a\xffb", long.String(), long.String() + "x", strings.Repeat("\u00e9", 300)}
	for i, text := range ids {
		for range 2 {
			letter := notice(t, events.TypeRunFailed, "plain", int64(i))
			letter.Context = &event.EventContextV1{
				ID: text, Source: types.URIRef{URL: url.URL{Path: text}}, Type: "com.example." + text,
			}
			w.hear(t, events.Undelivered{Destination: "http://" + text}.DeadLetter(letter))
		}
		w.expect(t, "select count(*) from notifications", strconv.Itoa(i+1))
	}
	broken := notice(t, events.TypeRunFailed, "plain", 99)
	broken.DataEncoded = bytes.Replace(broken.DataEncoded, []byte("Bcc"), []byte("\xff"), 1)
	w.hear(t, broken)
	w.later(t, "2 h")
	w.tick(t)
	w.expect(t, "select count(*) from notifications where state = 'sent'", "7")
	w.expect(t, "select max(length(event_id)) < 600 from notifications", "true")
}

// TestADefinitionOfANewerVersion keeps nobody from being told.
func TestADefinitionOfANewerVersion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.execute(t, `update metric_registry set definition = definition || '{"email": {"to": "ann@example.com"}}' where name = 'owned'`)
	w.hear(t, notice(t, events.TypeRunFailed, "owned", 1))
	w.expect(t, states, "mail ops@example.com sent 1")
}

// TestClocksThatAreFarOff: neither an event's time nor a process's matters.
func TestClocksThatAreFarOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i, at := range []time.Time{{}, time.Unix(0, 0), now.AddDate(200, 0, 0)} {
		ce := notice(t, events.TypeRunFailed, fmt.Sprintf("m_%d", i), int64(i))
		ce.SetTime(at)
		if err := w.function.Hear(t.Context(), ce, at); err != nil {
			t.Fatal(err)
		}
		if err := w.function.Tick(t.Context(), events.Tick{Function: "notify"}, at); err != nil {
			t.Fatal(err)
		}
	}
	w.expect(t, states, "mail ops@example.com sent 3")
}

// TestWithoutChannels events are recorded, and nobody is told later.
func TestWithoutChannels(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.function = w.over(w.store)
	w.hear(t, notice(t, events.TypeRunFailed, "plain", 1))
	w.tick(t)
	w.function = w.over(w.store, w.mail)
	w.hear(t, notice(t, events.TypeRunFailed, "plain", 1))
	w.tick(t)
	w.expect(t, "select string_agg(channel || ' ' || state || ' ' || coalesce(error, ''), ', ' order by channel) from notifications",
		"mail sent , none silent no channel is configured")
}

// TestPostgresIsAway: the event may come again.
func TestPostgresIsAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	store := pipeline.Store(t, "postgres://nobody@127.0.0.1:1/nothing")
	for metric, ce := range map[string]event.Event{
		"notice":      notice(t, events.TypeRunFailed, "plain", 1),
		"dead letter": events.Undelivered{Destination: "http://x"}.DeadLetter(notice(t, events.TypeRunFailed, "plain", 1)),
	} {
		if err := w.over(store, w.mail).Hear(t.Context(), ce, now); err == nil || errors.Is(err, events.ErrInvalid) {
			t.Errorf("%s: %v", metric, err)
		}
	}
	if n := len(w.mails()); n != 0 {
		t.Errorf("%d mails", n)
	}
}

// TestOldOnesAreForgotten, but what is to be sent.
func TestOldOnesAreForgotten(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.hear(t, notice(t, events.TypeRunFailed, "plain", 1))
	w.hear(t, notice(t, events.TypeRunFailed, "plain", 2)) // waits
	w.hear(t, notice(t, events.TypeRunFailed, "owned", 3))
	w.hear(t, notice(t, events.TypeRunRetried, "plain", 4)) // nobody
	w.execute(t, "update notifications set created_at = created_at - interval '29 days'")
	w.tick(t)
	w.expect(t, "select count(*) from notifications", "5")
	w.execute(t, "update notifications set created_at = created_at - interval '1 day'")
	w.tick(t)
	w.expect(t, states, "mail ops@example.com queued 1")
	w.execute(t, "update notification_groups set next_at = next_at - interval '31 days' where recipient <> 'ops@example.com'")
	w.later(t, "2 h") // the one that waits is sent now
	w.tick(t)
	w.tick(t)
	w.expect(t, "select count(*) from notifications", "0")
	w.expect(t, "select count(*) from notification_groups", "1") // that in which something was sent just now
}

// TestOldNewsIsNotTold: by a channel that was taken away for some days, nor where notify itself was.
func TestOldNewsIsNotTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	older := func(interval string) {
		w.execute(t, "update notifications set created_at = created_at - interval '"+interval+"'")
		w.later(t, interval)
	}
	waiting := func(want int64) {
		t.Helper()
		troubles, err := w.store.Troubles(t.Context())
		if n := troubles.Notifications; err != nil || n.Waiting != want || (n.Since != nil) != (want > 0) {
			t.Errorf("troubles are %+v, %v; want %d that wait", n, err, want)
		}
	}
	w.function = w.over(killed{Store: w.store, claim: true}, w.mail, w.webhook)
	w.hear(t, notice(t, events.TypeRunFailed, "plain", 1))
	waiting(0)
	older("11 min")
	waiting(2) // nobody has tried to send them
	w.function = w.over(w.store, &deaf{err: errBroken})
	older("47 h")
	w.execute(t, "update notification_groups set next_at = clock_timestamp() where channel = 'mail'") // as after a failed attempt
	w.tick(t)
	w.expect(t, states, "mail ops@example.com queued 1, webhook  queued 1")
	older("1 h")
	w.execute(t, "update notification_groups set next_at = clock_timestamp() + interval '1 min' where channel = 'mail'")
	w.tick(t)
	w.expect(t, states, "mail ops@example.com queued 1, webhook  failed 1")
	older("25 h")
	w.function = w.over(w.store, w.mail, w.webhook)
	w.tick(t)
	w.expect(t, states, "mail ops@example.com failed 1, webhook  failed 1")
	w.expect(t, "select string_agg(error, '; ' order by channel) from notifications",
		"it was not sent in time, and is no news any more: broken; the channel is not configured any more")
	waiting(0)
	w.hear(t, notice(t, events.TypeRunFailed, "plain", 2))
	w.expect(t, states, "mail ops@example.com failed 1, mail ops@example.com sent 1, webhook  failed 1, webhook  sent 1")
	if n := len(w.mails()); n != 1 || strings.Contains(text(t, w.mailbox.Mails()[0]), "801") {
		t.Errorf("%d mails", n)
	}
}

// TestCommandsAreThose of the program: none that a message names is wrong usage, which has the exit status 2.
func TestCommandsAreThose(t *testing.T) {
	t.Parallel()
	binary := harness.Build(t, "cmd/chainmetrics")
	commands := map[string]bool{}
	add := func(ce event.Event) {
		e, err := message.Read(ce)
		if err != nil {
			t.Fatal(err)
		}
		for _, count := range []int{1, 2} {
			for line := range strings.Lines(message.New(message.Mail, "", count, []message.Event{e}).Text) {
				if command, is := strings.CutPrefix(line, "    chainmetrics "); is {
					commands[strings.TrimSpace(command)] = true
				}
			}
		}
	}
	for ceType := range details {
		add(notice(t, ceType, "plain", 7))
	}
	add(events.Undelivered{Destination: "x"}.DeadLetter(notice(t, events.TypeRunFailed, "plain", 7)))
	if len(commands) < 7 {
		t.Errorf("only %v", commands)
	}
	for command := range commands {
		cmd := exec.CommandContext(t.Context(), binary, strings.Fields(command)...)
		cmd.Dir, cmd.Env = t.TempDir(), []string{"PATH=/nowhere"} // which names no server
		output, err := cmd.CombinedOutput()
		var ended *exec.ExitError
		if !errors.As(err, &ended) || ended.ExitCode() != 1 || !strings.Contains(string(output), "no server is named") {
			t.Errorf("chainmetrics %s: %v\n%s", command, err, output)
		}
	}
}
