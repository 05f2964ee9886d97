package mail

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/mail"
	"os"
	"strconv"
	"strings"
)

// Config says through which server mails go. Without a host none are sent.
type Config struct {
	Host     string   `envconfig:"SMTP_HOST"`
	Port     int      `envconfig:"SMTP_PORT" default:"587"`
	User     string   `envconfig:"SMTP_USER"` // empty: the server is not told who sends
	Password string   `envconfig:"SMTP_PASSWORD"`
	From     string   `envconfig:"SMTP_FROM"`                   // an address
	To       []string `envconfig:"SMTP_TO"`                     // addresses, unless a metric's definition names others
	TLS      string   `envconfig:"SMTP_TLS" default:"starttls"` // starttls, tls, none
	CAFile   string   `envconfig:"SMTP_CA_FILE"`                // certificates to trust instead of the system's
}

// Ways of SMTP_TLS.
const (
	startTLS = "starttls" // a server that does not offer it is not used
	fromOnly = "tls"      // encrypted from the first byte on
	plain    = "none"
)

// Enabled tells whether mails are sent.
func (cfg *Config) Enabled() bool { return cfg.Host != "" }

// Validate names everything that is wrong, without showing a secret.
func (cfg *Config) Validate() error {
	if !cfg.Enabled() {
		if cfg.User != "" || cfg.Password != "" || cfg.From != "" || len(cfg.To) > 0 || cfg.CAFile != "" {
			return errors.New("SMTP_HOST is not set, but other variables of SMTP are: set it, or none of them")
		}
		return nil
	}
	var wrong []error
	if cfg.Port < 1 || cfg.Port > 65535 {
		wrong = append(wrong, errors.New("SMTP_PORT is no port: want 1 to 65535"))
	}
	if _, err := address(cfg.From); err != nil {
		wrong = append(wrong, errors.New("SMTP_FROM is no address: want one such as chainmetrics@example.com"))
	}
	if len(cfg.To) == 0 {
		wrong = append(wrong, errors.New("SMTP_TO is not set: want addresses, separated by commas"))
	}
	for _, to := range cfg.To {
		if _, err := address(to); err != nil {
			wrong = append(wrong, fmt.Errorf("SMTP_TO: %.100q is no address", to))
		}
	}
	if (cfg.User == "") != (cfg.Password == "") {
		wrong = append(wrong, errors.New("one of SMTP_USER and SMTP_PASSWORD is not set: set both, or none"))
	}
	switch cfg.TLS {
	case startTLS, fromOnly:
	case plain:
		if cfg.CAFile != "" {
			wrong = append(wrong, errors.New("SMTP_CA_FILE is set beside SMTP_TLS=none: no certificate is looked at"))
		}
	default:
		wrong = append(wrong, fmt.Errorf("SMTP_TLS is %.20q: want starttls, tls or none", cfg.TLS))
	}
	_, err := cfg.security()
	return errors.Join(append(wrong, err)...)
}

// address reads an address, with or without a name. It refuses what could be more than one line of a mail.
func address(text string) (string, error) {
	parsed, err := mail.ParseAddress(strings.TrimSpace(text))
	if err != nil {
		return "", err
	}
	if strings.ContainsFunc(parsed.Address, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return "", errors.New("it has white space in it")
	}
	return parsed.Address, nil
}

func (cfg *Config) security() (*tls.Config, error) {
	security := &tls.Config{ServerName: cfg.Host, MinVersion: tls.VersionTLS12}
	if cfg.CAFile == "" {
		return security, nil
	}
	pem, err := os.ReadFile(cfg.CAFile)
	if err != nil {
		return nil, fmt.Errorf("SMTP_CA_FILE: %w", err)
	}
	security.RootCAs = x509.NewCertPool()
	if !security.RootCAs.AppendCertsFromPEM(pem) {
		return nil, errors.New("SMTP_CA_FILE holds no certificate in PEM")
	}
	return security, nil
}

// String says which server it is, without the password.
func (cfg Config) String() string {
	if cfg.Host == "" {
		return "no mail"
	}
	return "mail through " + net.JoinHostPort(cfg.Host, strconv.Itoa(cfg.Port))
}

// GoString is String.
func (cfg Config) GoString() string { return cfg.String() }

// LogValue is String.
func (cfg Config) LogValue() slog.Value { return slog.StringValue(cfg.String()) }
