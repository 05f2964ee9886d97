package mail_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chainmetrics/chainmetrics/functions/notify/mail"
	"github.com/chainmetrics/chainmetrics/functions/notify/message"
	"github.com/chainmetrics/chainmetrics/tests/mailbox"
)

var told = message.Message{
	ID: "0011", Thread: "2233", Type: "dev.chainmetrics.run.failed.v1", Recipient: "ops@example.com",
	Subject: "[chainmetrics] run failed: btc_fees, daily 2009-01-12 (bitcoin)",
	Text:    "A window could not be computed.\n\nerror      größer\n.\n.dot\n" + strings.Repeat("long ", 300) + "\n",
	Count:   1, Events: make([]message.Event, 1),
}

// configOf gives the configuration of a server.
func configOf(t *testing.T, s *mailbox.Server, change func(*mail.Config)) mail.Config {
	t.Helper()
	port, err := strconv.Atoi(s.Port)
	if err != nil {
		t.Fatal(err)
	}
	cfg := mail.Config{
		Host: s.Host, Port: port, User: mailbox.User, Password: mailbox.Password, From: "Metrics <metrics@example.com>",
		To: []string{"ops@example.com", " On Call <oncall@example.com>"}, TLS: "starttls", CAFile: s.CAFile,
	}
	if change != nil {
		change(&cfg)
	}
	return cfg
}

func channel(t *testing.T, cfg mail.Config) *mail.Channel {
	t.Helper()
	c, err := mail.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSend(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		options mailbox.Options
		change  func(*mail.Config)
		user    string
		tls     bool
	}{
		"STARTTLS": {mailbox.Options{}, nil, mailbox.User, true},
		"TLS":      {mailbox.Options{TLS: true}, func(cfg *mail.Config) { cfg.TLS = "tls" }, mailbox.User, true},
		"nobody's": {mailbox.Options{Open: true}, func(cfg *mail.Config) { cfg.User, cfg.Password = "", "" }, "", true},
		"nothing is hidden": {mailbox.Options{Open: true, Bare: true}, func(cfg *mail.Config) {
			cfg.TLS, cfg.User, cfg.Password, cfg.CAFile = "none", "", "", ""
		}, "", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := mailbox.Start(t, tt.options)
			c := channel(t, configOf(t, server, tt.change))
			for range 2 {
				if err := c.Send(t.Context(), told); err != nil {
					t.Fatal(err)
				}
			}
			mails := server.Mails()
			if len(mails) != 2 {
				t.Fatalf("%d mails", len(mails))
			}
			m := mails[1]
			if m.From != "metrics@example.com" || m.To != "ops@example.com" || m.User != tt.user || m.TLS != tt.tls {
				t.Errorf("got %+v", m)
			}
			want := map[string]string{
				"From": "<metrics@example.com>", "To": "<ops@example.com>", "Subject": told.Subject, "Message-Id": "<0011@example.com>",
				"In-Reply-To": "<2233.thread@example.com>", "References": "<2233.thread@example.com>", "Auto-Submitted": "auto-generated",
				"Precedence": "bulk",
			}
			got := map[string]string{}
			for name := range want {
				got[name] = m.Header.Get(name)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if at, err := m.Header.Date(); err != nil || time.Since(at) > time.Hour || mails[0].Header.Get("Message-Id") != "<0011@example.com>" {
				t.Errorf("date is %s, %v; the first id is %s", at, err, mails[0].Header.Get("Message-Id"))
			}
			text, err := io.ReadAll(quotedprintable.NewReader(strings.NewReader(m.Body)))
			if err != nil || !strings.HasPrefix(m.Header.Get("Content-Type"), "text/plain; charset=UTF-8") {
				t.Fatal(err, m.Header)
			}
			if diff := cmp.Diff(strings.TrimRight(told.Text, "\n"), strings.TrimRight(strings.ReplaceAll(string(text), "\r\n", "\n"), "\n")); diff != "" {
				t.Errorf("text (-want +got)\n%s", diff)
			}
		})
	}
}

// TestNothingIsInjected: whatever a text says, it adds no header and no recipient.
func TestNothingIsInjected(t *testing.T) {
	t.Parallel()
	server := mailbox.Start(t, mailbox.Options{})
	c := channel(t, configOf(t, server, nil))
	m := told
	m.Subject = "x\r\nBcc: all@example.com\r\n\r\nbody"
	if err := c.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	taken := server.Mails()[0]
	subject, err := new(mime.WordDecoder).DecodeHeader(taken.Header.Get("Subject"))
	if err != nil || taken.Header.Get("Bcc") != "" || taken.To != "ops@example.com" || !strings.HasPrefix(subject, "x") {
		t.Errorf("got %+v, %v", taken, err)
	}
	for _, recipient := range []string{"a@example.com\r\nBcc: b@example.com", "a@example.com, b@example.com", "a@example.com>\r\nDATA", ""} {
		m := told
		m.Recipient = recipient
		if err := c.Send(t.Context(), m); !errors.Is(err, message.ErrRefused) {
			t.Errorf("%q: %v", recipient, err)
		}
	}
	if n := len(server.Mails()); n != 1 {
		t.Errorf("%d mails", n)
	}
}

// TestRefusals: what concerns the mail, or who gets it, is final or put off; all else concerns the server.
func TestRefusals(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		stage mailbox.Stage
		code  int
		want  error // nil: the server
	}{
		"recipient unknown":    {mailbox.To, 550, message.ErrRefused},
		"recipient greylisted": {mailbox.To, 450, message.ErrPutOff},
		"mail refused":         {mailbox.Data, 554, message.ErrRefused},
		"no room":              {mailbox.Data, 452, message.ErrPutOff},
		"closing":              {mailbox.To, 421, nil},
		"sender refused":       {mailbox.From, 553, nil},
		"sender later":         {mailbox.From, 451, nil},
		"password wrong":       {mailbox.Auth, 535, nil},
		"busy":                 {mailbox.Auth, 454, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := mailbox.Start(t, mailbox.Options{})
			server.Hook(func(stage mailbox.Stage, _ string) error {
				if stage == tt.stage {
					return mailbox.Refusal(tt.code, "no, "+mailbox.Password+" is not for you")
				}
				return nil
			})
			err := channel(t, configOf(t, server, nil)).Send(t.Context(), told)
			if err == nil || errors.Is(err, message.ErrRefused) != errors.Is(tt.want, message.ErrRefused) ||
				errors.Is(err, message.ErrPutOff) != errors.Is(tt.want, message.ErrPutOff) ||
				!strings.Contains(err.Error(), strconv.Itoa(tt.code)) {
				t.Errorf("got %v", err)
			}
			if strings.Contains(err.Error(), mailbox.Password) || !strings.Contains(err.Error(), "[redacted]") {
				t.Errorf("the password is shown: %v", err)
			}
			if n := len(server.Mails()); n != 0 {
				t.Errorf("%d mails", n)
			}
		})
	}
}

func TestServersThatAreNotToBeTrusted(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		options mailbox.Options
		change  func(*mail.Config)
		want    string
	}{
		"no STARTTLS":          {mailbox.Options{Open: true, Bare: true}, nil, "STARTTLS"},
		"unknown authority":    {mailbox.Options{}, func(cfg *mail.Config) { cfg.CAFile = "" }, "certificate"},
		"another name":         {mailbox.Options{}, func(cfg *mail.Config) { cfg.Host = "localhost" }, "certificate"},
		"password in the open": {mailbox.Options{Bare: true}, func(cfg *mail.Config) { cfg.TLS, cfg.CAFile = "none", "" }, "supported"},
		"wrong password":       {mailbox.Options{}, func(cfg *mail.Config) { cfg.Password = "guess" }, "AUTH failed"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := mailbox.Start(t, tt.options)
			err := channel(t, configOf(t, server, tt.change)).Send(t.Context(), told)
			if err == nil || errors.Is(err, message.ErrRefused) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
			if n := len(server.Mails()); n != 0 {
				t.Errorf("%d mails", n)
			}
		})
	}
}

// TestServersThatHang are given up when the time that a mail may take is over.
func TestServersThatHang(t *testing.T) {
	t.Parallel()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	hung := channel(t, configOf(t, &mailbox.Server{Host: "127.0.0.1", Port: port}, nil))
	begin := time.Now()
	if err := hung.Send(t.Context(), told); err == nil || errors.Is(err, message.ErrRefused) || time.Since(begin) > 45*time.Second {
		t.Errorf("got %v after %s", err, time.Since(begin))
	}
	short, done := context.WithTimeout(t.Context(), time.Second)
	defer done()
	begin = time.Now()
	if err := hung.Send(short, told); err == nil || errors.Is(err, message.ErrRefused) || time.Since(begin) > 10*time.Second {
		t.Errorf("within a second: got %v after %s", err, time.Since(begin))
	}
	_ = listener.Close()
	if err := hung.Send(t.Context(), told); err == nil || errors.Is(err, message.ErrRefused) {
		t.Errorf("nobody listens: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := hung.Send(ended, told); err == nil || errors.Is(err, message.ErrRefused) {
		t.Errorf("no time: %v", err)
	}
}

func TestRecipients(t *testing.T) {
	t.Parallel()
	c := channel(t, mail.Config{Host: "h", Port: 25, From: "a@example.com", To: []string{"ops@example.com", "On Call <oncall@example.com>"}, TLS: "none"})
	for _, tt := range []struct{ named, want []string }{
		{nil, []string{"ops@example.com", "oncall@example.com"}},
		{[]string{"Ann <ann@example.com>", "bob@example.com"}, []string{"ann@example.com", "bob@example.com"}},
	} {
		if diff := cmp.Diff(tt.want, c.Recipients(tt.named)); diff != "" {
			t.Error(diff)
		}
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "empty.crt")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	good := mail.Config{Host: "h", Port: 587, User: "u", Password: "secret", From: "a@example.com", To: []string{"b@example.com"}, TLS: "starttls"}
	tests := map[string]struct {
		change func(*mail.Config)
		want   string
	}{
		"good":             {func(*mail.Config) {}, ""},
		"nothing":          {func(cfg *mail.Config) { *cfg = mail.Config{Port: 587, TLS: "starttls"} }, ""},
		"no host":          {func(cfg *mail.Config) { cfg.Host = "" }, "SMTP_HOST is not set"},
		"no from":          {func(cfg *mail.Config) { cfg.From = "" }, "SMTP_FROM"},
		"header":           {func(cfg *mail.Config) { cfg.From = "a@example.com\r\nBcc: b@example.com" }, "SMTP_FROM"},
		"no to":            {func(cfg *mail.Config) { cfg.To = nil }, "SMTP_TO is not set"},
		"bad to":           {func(cfg *mail.Config) { cfg.To = []string{"b@example.com", "nobody"} }, `SMTP_TO: "nobody" is no address`},
		"port":             {func(cfg *mail.Config) { cfg.Port = 0 }, "SMTP_PORT"},
		"no user":          {func(cfg *mail.Config) { cfg.User = "" }, "SMTP_USER"},
		"no password":      {func(cfg *mail.Config) { cfg.Password = "" }, "SMTP_PASSWORD"},
		"tls":              {func(cfg *mail.Config) { cfg.TLS = "maybe" }, `SMTP_TLS is "maybe": want starttls, tls or none`},
		"no file":          {func(cfg *mail.Config) { cfg.CAFile = filepath.Join(empty, "x") }, "SMTP_CA_FILE"},
		"empty file":       {func(cfg *mail.Config) { cfg.CAFile = empty }, "SMTP_CA_FILE holds no certificate"},
		"file for nothing": {func(cfg *mail.Config) { cfg.TLS, cfg.CAFile = "none", empty }, "SMTP_CA_FILE is set beside SMTP_TLS=none"},
	}
	for name, tt := range tests {
		cfg := good
		tt.change(&cfg)
		err := cfg.Validate()
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", name, err, tt.want)
		}
		for _, shown := range []string{fmt.Sprint(err), fmt.Sprintf("%v %+v %#v", cfg, cfg, cfg), cfg.LogValue().String()} {
			if strings.Contains(shown, "secret") {
				t.Errorf("%s: the password is shown: %s", name, shown)
			}
		}
	}
}
