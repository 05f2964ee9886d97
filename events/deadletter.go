package events

import (
	"encoding/base64"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"
)

// Names of the extension attributes by which Knative Eventing makes an event that it could not deliver a dead letter.
const (
	ExtensionErrorDest = "knativeerrordest" // the URL of who did not take it
	ExtensionErrorCode = "knativeerrorcode" // the last HTTP status; 500 where there was no answer
	ExtensionErrorData = "knativeerrordata" // the body of the last answer, in base64 that is cut
)

// maxErrorData is how many characters of base64 Knative leaves of an answer. It is a multiple of four, so that what is left can be
// decoded.
const maxErrorData = 1024

// Undelivered says of an event why it is a dead letter.
type Undelivered struct {
	Destination string // a URL
	Code        string // an HTTP status
	Answer      string // what of the last answer, or of the error in its place, is known and printable
}

// ParseUndelivered reads what Knative says of a dead letter. An event that does not say where it was to go is none.
func ParseUndelivered(ce event.Event) (u Undelivered, ok bool) {
	all := ce.Extensions()
	text := func(name string) string {
		value, err := types.Format(all[name])
		if err != nil {
			return ""
		}
		return value
	}
	u = Undelivered{
		Destination: OneLine(text(ExtensionErrorDest)), Code: OneLine(text(ExtensionErrorCode)),
		Answer: answerOf(text(ExtensionErrorData)),
	}
	return u, u.Destination != ""
}

// DeadLetter makes an event a dead letter, as Knative does.
func (u Undelivered) DeadLetter(ce event.Event) event.Event {
	letter := ce.Clone()
	data := base64.StdEncoding.EncodeToString([]byte(u.Answer))
	setExtensions(&letter, []extension{
		{ExtensionErrorDest, u.Destination},
		{ExtensionErrorCode, u.Code},
		{ExtensionErrorData, data[:min(len(data), maxErrorData)]},
	})
	return letter
}

// answerOf decodes what Knative has encoded. What is no base64 of a text, as of other Brokers, is taken as it is.
func answerOf(data string) string {
	decoded, err := base64.StdEncoding.DecodeString(data[:len(data)/4*4])
	for range utf8.UTFMax - 1 { // a character may have been cut
		if r, size := utf8.DecodeLastRune(decoded); r == utf8.RuneError && size == 1 {
			decoded = decoded[:len(decoded)-1]
		}
	}
	if err != nil || len(decoded) == 0 || !utf8.Valid(decoded) || isBinary(string(decoded)) {
		return OneLine(data)
	}
	return OneLine(string(decoded))
}

// isBinary tells whether what was decoded is no text: of one that colours a terminal only a little is control characters.
func isBinary(decoded string) bool {
	controls := 0
	for _, r := range decoded {
		if unicode.IsControl(r) && !unicode.IsSpace(r) {
			controls++
		}
	}
	return 8*controls > len(decoded)
}

// OneLine gives a text on one line, without what terminals and mails may take for more than a text.
func OneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return ' '
		}
		if !unicode.IsPrint(r) {
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(text, string(utf8.RuneError)))
	return strings.Join(strings.Fields(text), " ")
}
