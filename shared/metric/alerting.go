package metric

import (
	"net/mail"
	"slices"
	"strings"
)

// Alerting says who is told when something is wrong with a metric. The zero value is all defaults.
type Alerting struct {
	EmailOnFailure *bool    `json:"email_on_failure,omitempty"` // default true; also of what is late, and of checks
	EmailOnRetry   bool     `json:"email_on_retry,omitempty"`   // when an attempt has failed and another one follows
	Email          []string `json:"email,omitempty"`            // addresses, in the place of the default ones
}

// maxEmail is how many addresses a definition may name.
const maxEmail = 20

// MailsFailures tells whether a mail is sent of what has failed for good, or is late.
func (a Alerting) MailsFailures() bool { return a.EmailOnFailure == nil || *a.EmailOnFailure }

func (c *checker) alerting(a Alerting) {
	if len(a.Email) > maxEmail {
		c.refuse("email", "has %d addresses: write at most %d, such as that of a list", len(a.Email), maxEmail)
	}
	for i, address := range a.Email {
		// What net/mail takes may still be a line too many in a mail.
		parsed, err := mail.ParseAddress(address)
		switch {
		case err != nil || strings.ContainsFunc(parsed.Address, func(r rune) bool { return r <= ' ' || r > '~' }) || len(address) > maxTextLength:
			c.refuse("email", "%.80q is no address: write one such as ops@example.com", address)
		case slices.Contains(a.Email[:i], address):
			c.refuse("email", "%.80q is given twice: write it once", address)
		}
	}
}
