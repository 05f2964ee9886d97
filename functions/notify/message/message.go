// Package message is what people are told: of one event, or of several that are about the same.
package message

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"time"
)

// DeadLetter is the type of messages of events that were not delivered, whatever their own type is.
const DeadLetter = "dead-letter"

// Channels.
const (
	Mail    = "mail"
	Webhook = "webhook"
)

// What an attempt to send a message fails with says whom it concerns. Any other error concerns the channel: it takes no message now.
var (
	// ErrRefused says that the same message will be refused again.
	ErrRefused = errors.New("refused")
	// ErrPutOff says that its recipient is not to have it now. Others may get theirs.
	ErrPutOff = errors.New("put off")
)

// LaterError says when to try again, at the earliest.
type LaterError struct {
	After time.Duration
	Err   error
}

func (e *LaterError) Error() string { return e.Err.Error() }

func (e *LaterError) Unwrap() error { return e.Err }

// Message is what one recipient is told. It is the same whenever it is sent.
type Message struct {
	ID        string // hexadecimal, of the recipient and the first event
	Thread    string // hexadecimal, the same for all messages to a recipient about the same
	Type      string // of the events, or DeadLetter
	Metric    string // of the events; empty for dead letters
	Recipient string // the address of a mail; otherwise empty
	Subject   string // on one line
	Text      string
	Count     int     // of the events
	Events    []Event // the first of them, at least one
}

// New makes the message of a channel of events that are about the same, of which there may be more than are given.
func New(channel, recipient string, count int, all []Event) Message {
	first := all[0]
	destination := ""
	if first.Undelivered != nil {
		destination = first.Undelivered.Destination
	}
	return Message{
		ID:      hash(channel, recipient, first.Source, first.ID, destination),
		Thread:  hash(channel, recipient, first.About()),
		Type:    first.Kind(),
		Metric:  first.Metric,
		Subject: subject(count, first), Text: text(count, all),
		Recipient: recipient, Count: count, Events: all,
	}
}

func hash(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:16])
}
