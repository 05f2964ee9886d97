package webhook

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"text/template"
	"time"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/functions/notify/message"
)

// Config says where to post messages. Without a URL nothing is posted.
type Config struct {
	URL          string `envconfig:"WEBHOOK_URL"`           // http or https; it may hold a secret
	Secret       string `envconfig:"WEBHOOK_SECRET"`        // signs; base64 behind whsec_, otherwise as it is. Empty: nothing is signed
	TemplateFile string `envconfig:"WEBHOOK_TEMPLATE_FILE"` // a template of text/template that gives JSON; empty: the default body
}

// secretPrefix is that of secrets of the Standard Webhooks.
const secretPrefix = "whsec_"

// Enabled tells whether messages are posted.
func (cfg *Config) Enabled() bool { return cfg.URL != "" }

// Validate names everything that is wrong, without showing a secret.
func (cfg *Config) Validate() error {
	if !cfg.Enabled() {
		if cfg.Secret != "" || cfg.TemplateFile != "" {
			return errors.New("WEBHOOK_URL is not set, but WEBHOOK_SECRET or WEBHOOK_TEMPLATE_FILE is: set it, or none of them")
		}
		return nil
	}
	var wrong []error
	if to, err := url.Parse(cfg.URL); err != nil || to.Host == "" || to.Scheme != "http" && to.Scheme != "https" {
		wrong = append(wrong, errors.New("WEBHOOK_URL is no http or https URL"))
	}
	_, errKey := cfg.key()
	_, errTemplate := cfg.template()
	return errors.Join(append(wrong, errKey, errTemplate)...)
}

// key gives what signs; nil where nothing is signed.
func (cfg *Config) key() ([]byte, error) {
	encoded, is := strings.CutPrefix(cfg.Secret, secretPrefix)
	if !is {
		return []byte(cfg.Secret), nil
	}
	key, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(key) == 0 {
		return nil, errors.New("WEBHOOK_SECRET begins with whsec_, but no base64 follows")
	}
	return key, nil
}

// functions are those that templates have beside Go's own.
var functions = template.FuncMap{
	"json": func(value any) (string, error) {
		text, err := json.Marshal(value)
		return string(text), err
	},
}

// template reads the template and tries it; nil where there is none.
func (cfg *Config) template() (*template.Template, error) {
	if cfg.TemplateFile == "" {
		return nil, nil //nolint:nilnil // no template
	}
	text, err := os.ReadFile(cfg.TemplateFile)
	if err != nil {
		return nil, fmt.Errorf("WEBHOOK_TEMPLATE_FILE: %w", err)
	}
	parsed, err := template.New("webhook").Funcs(functions).Option("missingkey=error").Parse(string(text))
	if err != nil {
		return nil, fmt.Errorf("WEBHOOK_TEMPLATE_FILE: %w", err)
	}
	sample, err := sample()
	if err != nil {
		return nil, err
	}
	if _, err := body(parsed, sample); err != nil {
		return nil, fmt.Errorf("WEBHOOK_TEMPLATE_FILE: %w", err)
	}
	return parsed, nil
}

// sample is a message to try templates with. Its texts have what JSON has to escape.
func sample() (message.Message, error) {
	at := time.Date(2026, 3, 1, 1, 1, 9, 0, time.UTC)
	ce, err := events.Notice{
		ID: 1, Type: events.TypeRunFailed, Time: at, RunID: 817,
		Subject: events.Window{
			Metric: "btc_fees", MetricType: "counter", Complexity: "small", Chain: "bitcoin", BucketSize: "daily",
			BucketStart: time.Date(2009, 1, 12, 0, 0, 0, 0, time.UTC),
		},
		Details: json.RawMessage(`{"reason": "due", "attempt": 4, "error": "a \"sample\" with \\ and <&>"}`),
	}.CloudEvent()
	if err != nil {
		return message.Message{}, err
	}
	e, err := message.Read(ce)
	if err != nil {
		return message.Message{}, err
	}
	return message.New(message.Webhook, "", 1, []message.Event{e}), nil
}

// String says whether there is one; the URL may be a secret.
func (cfg Config) String() string {
	if cfg.URL == "" {
		return "no webhook"
	}
	return "a webhook"
}

// GoString is String.
func (cfg Config) GoString() string { return cfg.String() }

// LogValue is String.
func (cfg Config) LogValue() slog.Value { return slog.StringValue(cfg.String()) }
