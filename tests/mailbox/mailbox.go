// Package mailbox is an SMTP server for tests, which keeps the mails that it takes.
package mailbox

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/mail"
	"strconv"
	"sync"
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// Secret of the only user.
const (
	User     = "chainmetrics"
	Password = "pass word=\u00e4"
)

// Server is the SMTP server.
type Server struct {
	Host, Port string
	CAFile     string // its own authority's certificate

	open bool // no user is needed

	mu    sync.Mutex
	hook  func(stage Stage, argument string) error
	mails []Mail
}

// Mail is one that was taken.
type Mail struct {
	From, To string
	Header   mail.Header
	Body     string // as it was sent: encoded
	User     string // empty: the client has not said who it is
	TLS      bool
}

// Stage is a step of SMTP that a hook may refuse.
type Stage string

// Stages.
const (
	Auth Stage = "AUTH" // the argument is the user
	From Stage = "MAIL" // the sender
	To   Stage = "RCPT" // the recipient
	Data Stage = "DATA" // the mail
)

// Options of a server.
type Options struct {
	TLS  bool // from the first byte on; otherwise STARTTLS is offered
	Bare bool // not even that
	Open bool // anybody may send; otherwise only User
}

// Start starts a server until the test ends.
func Start(t testing.TB, options Options) *Server {
	t.Helper()
	certificate, file := identity(t)
	s := &Server{Host: "127.0.0.1", CAFile: file, open: options.Open}
	server := smtp.NewServer(s)
	server.Domain = "mailbox.example.com"
	server.AllowInsecureAuth = options.Bare
	security := &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	if !options.Bare {
		server.TLSConfig = security
	}
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Port = strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
	if options.TLS {
		listener = tls.NewListener(listener, security)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener) // fails when it is closed
	}()
	t.Cleanup(func() {
		_ = server.Close() // nothing is lost
		<-served
	})
	return s
}

// Hook has a function asked before each stage; its error is the server's answer.
func (s *Server) Hook(hook func(stage Stage, argument string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = hook
}

// Refusal is an answer of the server.
func Refusal(code int, text string) error {
	return &smtp.SMTPError{Code: code, EnhancedCode: smtp.NoEnhancedCode, Message: text}
}

// Mails gives those that were taken.
func (s *Server) Mails() []Mail {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Mail(nil), s.mails...)
}

func (s *Server) ask(stage Stage, argument string) error {
	s.mu.Lock()
	hook := s.hook
	s.mu.Unlock()
	if hook == nil {
		return nil
	}
	return hook(stage, argument)
}

// NewSession is of smtp.Backend.
func (s *Server) NewSession(c *smtp.Conn) (smtp.Session, error) {
	return &session{server: s, conn: c}, nil
}

type session struct {
	server *Server
	conn   *smtp.Conn
	mail   Mail
}

var _ smtp.AuthSession = (*session)(nil)

func (s *session) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *session) Auth(mechanism string) (sasl.Server, error) {
	check := func(user, password string) error {
		if err := s.server.ask(Auth, user); err != nil {
			return err
		}
		if user != User || password != Password {
			return smtp.ErrAuthFailed
		}
		s.mail.User = user
		return nil
	}
	if mechanism == sasl.Plain {
		return sasl.NewPlainServer(func(_, user, password string) error { return check(user, password) }), nil
	}
	return nil, errors.New("unknown mechanism")
}

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	if !s.server.open && s.mail.User == "" {
		return smtp.ErrAuthRequired
	}
	s.mail = Mail{From: from, User: s.mail.User}
	return s.server.ask(From, from)
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	if err := s.server.ask(To, to); err != nil {
		return err
	}
	if s.mail.To != "" {
		to = s.mail.To + "," + to
	}
	s.mail.To = to
	return nil
}

func (s *session) Data(r io.Reader) error {
	text, err := mail.ReadMessage(r)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(text.Body)
	if err != nil {
		return err
	}
	if err := s.server.ask(Data, string(body)); err != nil {
		return err
	}
	s.mail.Header, s.mail.Body = text.Header, string(body)
	_, s.mail.TLS = s.conn.TLSConnectionState()
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	s.server.mails = append(s.server.mails, s.mail)
	return nil
}

func (s *session) Reset() { s.mail = Mail{User: s.mail.User} }

func (s *session) Logout() error { return nil }
