// Package binding is what a SinkBinding of Knative tells a program: where it sends CloudEvents to.
package binding

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"time"

	"github.com/chainmetrics/chainmetrics/events"
)

const (
	dialTimeout = 10 * time.Second
	idleTimeout = 60 * time.Second // below the idle timeouts of servers and proxies that are common
)

// Config is what a SinkBinding sets.
type Config struct {
	Sink      string `envconfig:"K_SINK"`         // its URL
	Overrides string `envconfig:"K_CE_OVERRIDES"` // JSON {"extensions": {name: value}}, set on every CloudEvent
	CACerts   string `envconfig:"K_CA_CERTS"`     // PEM; trusted for the sink beside the system's certificates
}

// Validate names everything that is wrong.
func (cfg *Config) Validate() error {
	_, errURL := cfg.URL()
	_, errExtensions := cfg.Extensions()
	_, errSecurity := cfg.security()
	return errors.Join(errURL, errExtensions, errSecurity)
}

// URL gives the sink's address.
func (cfg *Config) URL() (*url.URL, error) {
	sink, err := url.Parse(cfg.Sink)
	if err != nil || sink.Host == "" || sink.Scheme != "http" && sink.Scheme != "https" {
		return nil, errors.New("K_SINK is no http or https URL")
	}
	return sink, nil
}

// ours are the attributes that a receiver relies on.
var ours = []string{
	events.ExtensionChain, events.ExtensionPartitionKey, events.ExtensionSequence, events.ExtensionPredecessor,
	events.ExtensionPredecessorHash, events.ExtensionContentHash, events.ExtensionParentHash, events.ExtensionAppendTime,
	events.ExtensionTraceparent, events.ExtensionTracestate, events.ExtensionMetric, events.ExtensionMetricType,
	events.ExtensionBucketSize, events.ExtensionComplexity, events.ExtensionRunID,
	"id", "source", "specversion", "type", "time", "data", "datacontenttype", "dataschema", "subject",
}

var extensionPattern = regexp.MustCompile(`^[a-z0-9]+$`)

// Extensions reads the part of Knative's CloudEventOverrides that there is; nil where there are none.
func (cfg *Config) Extensions() (map[string]string, error) {
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

// Client makes a client for the sink, which follows no redirection.
func (cfg *Config) Client() (*http.Client, error) {
	security, err := cfg.security()
	if err != nil {
		return nil, err
	}
	return &http.Client{
		Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
			TLSClientConfig:     security,
			TLSHandshakeTimeout: dialTimeout,
			ForceAttemptHTTP2:   true,
			MaxIdleConnsPerHost: 32, // of a source about two for each stream
			IdleConnTimeout:     idleTimeout,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// Retried tells whether what was answered with a status that is no success may be taken later, as Knative sees it.
func Retried(status int) bool {
	switch status {
	case http.StatusNotFound, http.StatusRequestTimeout, http.StatusConflict, http.StatusTooManyRequests:
		return true
	}
	return status >= http.StatusInternalServerError
}
