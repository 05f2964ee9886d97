// Command inbox takes mails and webhooks, and shows them: what the test on a cluster has notifications sent to.
package main

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
)

const most = 1 << 20 // bytes of a message

// Message is a mail or a webhook that has come.
type Message struct {
	To      []string            `json:"to,omitempty"`      // of a mail
	Headers map[string][]string `json:"headers,omitempty"` // of a webhook
	Body    string              `json:"body"`              // of a mail with its header
}

// inbox keeps what has come. It is an SMTP backend and an HTTP handler.
type inbox struct {
	mu  sync.Mutex
	all []Message
}

func main() {
	box := &inbox{}
	mails := smtp.NewServer(box)
	mails.Addr, mails.Domain, mails.MaxMessageBytes = ":2525", "inbox", most
	hooks := &http.Server{Addr: ":8080", Handler: box, ReadHeaderTimeout: 5 * time.Second}
	failed := make(chan error)
	go func() { failed <- mails.ListenAndServe() }()
	go func() { failed <- hooks.ListenAndServe() }()
	slog.Error("inbox stopped", "error", <-failed)
	os.Exit(1)
}

func (b *inbox) put(m Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all = append(b.all, m)
}

// ServeHTTP takes what is posted, and answers everything else with all that has come.
func (b *inbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		b.mu.Lock()
		defer b.mu.Unlock()
		_ = json.NewEncoder(w).Encode(b.all)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	b.put(Message{Headers: r.Header, Body: string(body)})
}

// NewSession begins a mail.
func (b *inbox) NewSession(*smtp.Conn) (smtp.Session, error) { return &session{inbox: b}, nil }

// session is one mail on its way.
type session struct {
	inbox *inbox
	to    []string
}

func (s *session) Mail(string, *smtp.MailOptions) error { return nil }

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.to = append(s.to, to)
	return nil
}

func (s *session) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return errors.Join(errors.New("read mail"), err)
	}
	s.inbox.put(Message{To: s.to, Body: string(text)})
	return nil
}

func (s *session) Reset()        { s.to = nil }
func (s *session) Logout() error { return nil }
