// Package mail sends messages as e-mails, by SMTP.
package mail

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wneessen/go-mail"

	"github.com/chainmetrics/chainmetrics/functions/notify/message"
)

// timeout is how long reaching the server may take, and as long again handing it the mail, unless the caller has less time.
const timeout = 12 * time.Second

// closing is the answer of a server that ends, at whatever step.
const closing = 421

// Channel sends mails.
type Channel struct {
	cfg     Config
	options []mail.Option
	from    string
	domain  string // of message ids
	to      []string
}

// New makes the channel of a configuration that is valid.
func New(cfg Config) (*Channel, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	c := &Channel{cfg: cfg}
	var err error
	if c.from, err = address(cfg.From); err != nil {
		return nil, fmt.Errorf("SMTP_FROM: %w", err)
	}
	c.domain = c.from[strings.LastIndexByte(c.from, '@')+1:]
	for _, text := range cfg.To {
		to, err := address(text)
		if err != nil {
			return nil, fmt.Errorf("SMTP_TO: %w", err)
		}
		c.to = append(c.to, to)
	}
	security, err := cfg.security()
	if err != nil {
		return nil, err
	}
	c.options = []mail.Option{mail.WithPort(cfg.Port), mail.WithTLSConfig(security), mail.WithHELO(c.domain)}
	switch cfg.TLS {
	case startTLS:
		c.options = append(c.options, mail.WithTLSPolicy(mail.TLSMandatory))
	case fromOnly:
		c.options = append(c.options, mail.WithSSL())
	case plain:
		c.options = append(c.options, mail.WithTLSPolicy(mail.NoTLS))
	}
	if cfg.User != "" {
		c.options = append(c.options, mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover), mail.WithUsername(cfg.User), mail.WithPassword(cfg.Password))
	}
	return c, nil
}

// Name is message.Mail.
func (c *Channel) Name() string { return message.Mail }

// Recipients gives the addresses that are told: those of a definition or, where it names none, the default ones.
func (c *Channel) Recipients(named []string) []string {
	var all []string
	for _, text := range named {
		if to, err := address(text); err == nil { // the definition was validated
			all = append(all, to)
		}
	}
	if len(all) == 0 {
		return c.to
	}
	return all
}

// Send sends a message to its recipient. It fails with message.ErrRefused where the server will never take it, and with
// message.ErrPutOff where it takes others.
func (c *Channel) Send(ctx context.Context, m message.Message) error {
	letter, err := c.letter(m)
	if err != nil {
		return fmt.Errorf("%w: %w", message.ErrRefused, err)
	}
	patience := timeout // the library keeps to a context only while it dials
	if end, ends := ctx.Deadline(); ends {
		patience = max(min(timeout, time.Until(end)/2), time.Millisecond) //nolint:forbidigo // a context's deadline is by that clock
	}
	client, err := mail.NewClient(c.cfg.Host, append(slices.Clone(c.options), mail.WithTimeout(patience))...)
	if err != nil {
		return c.withoutSecret(err)
	}
	err = client.DialAndSendWithContext(ctx, letter)
	if err == nil || letter.IsDelivered() { // what comes after the server's word that it has it does not matter
		return nil
	}
	return c.withoutSecret(judge(err))
}

// letter gives a message its form as a mail.
func (c *Channel) letter(m message.Message) (*mail.Msg, error) {
	letter := mail.NewMsg()
	if err := errors.Join(letter.From(c.from), letter.To(m.Recipient)); err != nil {
		return nil, err
	}
	letter.Subject(m.Subject)
	letter.SetDate()
	letter.SetMessageIDWithValue(m.ID + "@" + c.domain)
	thread := "<" + m.Thread + ".thread@" + c.domain + ">"
	letter.SetGenHeader(mail.HeaderInReplyTo, thread)
	letter.SetGenHeader(mail.HeaderReferences, thread)
	letter.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: nobody's absence is answered to it
	letter.SetBulk()
	letter.SetBodyString(mail.TypeTextPlain, m.Text)
	return letter, nil
}

// judge tells errors that concern this recipient or this mail, for good or for now, from those of the server or of its configuration.
func judge(err error) error {
	var failed *mail.SendError
	if !errors.As(err, &failed) || failed.ErrorCode() == closing {
		return err
	}
	switch failed.Reason {
	case mail.ErrSMTPRcptTo, mail.ErrSMTPData, mail.ErrSMTPDataClose, mail.ErrWriteContent:
	default:
		return err
	}
	switch failed.ErrorCode() / 100 {
	case 5:
		return fmt.Errorf("%w: %w", message.ErrRefused, err)
	case 4:
		return fmt.Errorf("%w: %w", message.ErrPutOff, err)
	default: // the connection was lost
		return err
	}
}

// secretError is an error whose text held the password.
type secretError struct {
	text string
	err  error
}

func (e secretError) Error() string { return e.text }

func (e secretError) Unwrap() error { return e.err }

// withoutSecret gives an error without the password: servers may repeat what they do not understand.
func (c *Channel) withoutSecret(err error) error {
	if err == nil || c.cfg.Password == "" {
		return err
	}
	text := err.Error()
	for _, secret := range []string{
		c.cfg.Password, base64.StdEncoding.EncodeToString([]byte(c.cfg.Password)),
		base64.StdEncoding.EncodeToString([]byte("\x00" + c.cfg.User + "\x00" + c.cfg.Password)),
	} {
		text = strings.ReplaceAll(text, secret, "[redacted]")
	}
	if text == err.Error() {
		return err
	}
	return secretError{text: text, err: err}
}
