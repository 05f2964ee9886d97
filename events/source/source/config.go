package source

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"time"

	"github.com/chainmetrics/chainmetrics/events"
)

// Config says which function is fed, and how.
type Config struct {
	Function  string   `envconfig:"FUNCTION"`       // its name, which its consumer groups bear
	Sink      string   `envconfig:"K_SINK"`         // its URL
	Overrides string   `envconfig:"K_CE_OVERRIDES"` // JSON {"extensions": {name: value}}, set on every CloudEvent
	CACerts   string   `envconfig:"K_CA_CERTS"`     // PEM; trusted for the sink beside the system's certificates
	Streams   []string `envconfig:"STREAMS"`        // default all that are announced, also later ones

	BatchEntries   int           `envconfig:"SOURCE_BATCH_ENTRIES"   default:"2000"`
	BatchBytes     int64         `envconfig:"SOURCE_BATCH_BYTES"     default:"4194304"`
	RequestTimeout time.Duration `envconfig:"SOURCE_REQUEST_TIMEOUT" default:"90s"` // time for a function to start and answer
	Takeover       time.Duration `envconfig:"SOURCE_TAKEOVER"        default:"5s"`  // standstill after which a standby delivers
	Recheck        time.Duration `envconfig:"SOURCE_RECHECK"         default:"1s"`  // between looks at lost streams, new streams, lags
	// QuarantineAfter is how long an entry must fail by itself, while the function is well, before it is given up; 0: it never is.
	QuarantineAfter time.Duration `envconfig:"SOURCE_QUARANTINE_AFTER" default:"1m"`
	Grace           time.Duration `envconfig:"SOURCE_GRACE"           default:"5s"` // for a delivery in flight at SIGTERM
}

var functionPattern = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)

// Validate names everything that is wrong.
func (cfg *Config) Validate() error {
	var wrong []error
	if !functionPattern.MatchString(cfg.Function) {
		wrong = append(wrong, errors.New("FUNCTION is required: lower-case letters, digits and hyphens"))
	}
	if _, err := cfg.sink(); err != nil {
		wrong = append(wrong, err)
	}
	if _, err := cfg.extensions(); err != nil {
		wrong = append(wrong, err)
	}
	if _, err := cfg.security(); err != nil {
		wrong = append(wrong, err)
	}
	if slices.Contains(cfg.Streams, "") {
		wrong = append(wrong, errors.New("STREAMS has an empty name"))
	}
	for name, positive := range map[string]bool{
		"SOURCE_BATCH_ENTRIES": cfg.BatchEntries > 0, "SOURCE_BATCH_BYTES": cfg.BatchBytes > 0,
		"SOURCE_REQUEST_TIMEOUT": cfg.RequestTimeout > 0, "SOURCE_TAKEOVER": cfg.Takeover > 0,
		"SOURCE_RECHECK": cfg.Recheck > 0, "SOURCE_GRACE": cfg.Grace > 0,
	} {
		if !positive {
			wrong = append(wrong, fmt.Errorf("%s must be more than zero", name))
		}
	}
	return errors.Join(wrong...)
}

func (cfg *Config) sink() (*url.URL, error) {
	sink, err := url.Parse(cfg.Sink)
	if err != nil || sink.Host == "" || sink.Scheme != "http" && sink.Scheme != "https" {
		return nil, errors.New("K_SINK is no http or https URL")
	}
	return sink, nil
}

// ours are the attributes that a function relies on.
var ours = []string{
	events.ExtensionChain, events.ExtensionPartitionKey, events.ExtensionSequence, events.ExtensionPredecessor,
	events.ExtensionPredecessorHash, events.ExtensionContentHash, events.ExtensionAppendTime, events.ExtensionTraceparent,
	events.ExtensionTracestate,
	"id", "source", "specversion", "type", "time", "data", "datacontenttype", "dataschema", "subject",
}

var extensionPattern = regexp.MustCompile(`^[a-z0-9]+$`)

// extensions reads the part of Knative's CloudEventOverrides that there is.
func (cfg *Config) extensions() (map[string]string, error) {
	if cfg.Overrides == "" {
		return nil, nil
	}
	var overrides struct {
		Extensions map[string]string `json:"extensions"`
	}
	if err := json.Unmarshal([]byte(cfg.Overrides), &overrides); err != nil {
		return nil, fmt.Errorf("K_CE_OVERRIDES: %w", err)
	}
	for name := range overrides.Extensions {
		if !extensionPattern.MatchString(name) {
			return nil, fmt.Errorf("K_CE_OVERRIDES: %q is no name of an extension: lower-case letters and digits", name)
		}
		if slices.Contains(ours, name) {
			return nil, fmt.Errorf("K_CE_OVERRIDES: %s cannot be overridden", name)
		}
	}
	return overrides.Extensions, nil
}

func (cfg *Config) security() (*tls.Config, error) {
	if cfg.CACerts == "" {
		return nil, nil
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM([]byte(cfg.CACerts)) {
		return nil, errors.New("K_CA_CERTS holds no certificate in PEM")
	}
	return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, nil
}
