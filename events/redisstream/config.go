package redisstream

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Config says where Redis is. Its text forms hold no credentials.
type Config struct {
	// URL is one address for any kind of Redis, with the options of go-redis as query parameters:
	//
	//	redis://user:password@host:6379/0, rediss:// with TLS, unix:///path/to/socket
	//	redis://sentinel:26379?master_name=main&addr=sentinel2:26379, where user and password are those of Sentinel
	//	redis+cluster://host:6379 or redis://host:6379?addr=host2:6379
	URL string `envconfig:"REDIS_URL"`

	Host string `envconfig:"REDIS_HOST"` // instead of URL, without TLS unless TLS is set
	Port int    `envconfig:"REDIS_PORT" default:"6379"`
	TLS  bool   `envconfig:"REDIS_TLS"` // refused beside a URL without TLS

	// Username and Password are those of the ACL user where URL has none.
	Username string `envconfig:"REDIS_USERNAME"`
	Password string `envconfig:"REDIS_PASSWORD"`

	CAFile     string `envconfig:"REDIS_CA_FILE"`     // certificates to trust instead of the system's
	ServerName string `envconfig:"REDIS_SERVER_NAME"` // name in the server's certificate; default the host
	CertFile   string `envconfig:"REDIS_CERT_FILE"`   // a client's certificate, in PEM
	KeyFile    string `envconfig:"REDIS_KEY_FILE"`
}

// Validate names everything that is wrong, without showing a secret.
func (cfg *Config) Validate() error {
	_, err := cfg.options()
	return err
}

// String names the variables that are set.
func (cfg Config) String() string {
	address := "REDIS_URL"
	if cfg.URL == "" {
		address = net.JoinHostPort(cfg.Host, strconv.Itoa(cfg.Port))
	}
	return "redis at " + address
}

// GoString is String.
func (cfg Config) GoString() string { return cfg.String() }

// LogValue is String.
func (cfg Config) LogValue() slog.Value { return slog.StringValue(cfg.String()) }

// options are those of one kind of Redis.
type options struct {
	standalone *redis.Options
	sentinel   *redis.FailoverOptions
	cluster    *redis.ClusterOptions
	secrets    []string // never to be shown
}

func (cfg *Config) options() (options, error) {
	var wrong []error
	o, err := cfg.address()
	wrong = append(wrong, err)
	security, err := cfg.security(o.tls())
	wrong = append(wrong, err)
	if err := errors.Join(wrong...); err != nil {
		return options{}, err
	}
	switch {
	case o.sentinel != nil:
		cfg.completeSentinel(o.sentinel, security)
	case o.cluster != nil:
		cfg.completeCluster(o.cluster, security)
	default:
		cfg.completeStandalone(o.standalone, security)
	}
	o.secrets = o.collectSecrets()
	return o, nil
}

// address reads where Redis is, and nothing else.
func (cfg *Config) address() (options, error) {
	if cfg.URL == "" {
		if cfg.Host == "" {
			return options{}, errors.New("REDIS_URL or REDIS_HOST is required")
		}
		if cfg.Port < 1 || cfg.Port > 65535 {
			return options{}, errors.New("REDIS_PORT is no port")
		}
		o := &redis.Options{Addr: net.JoinHostPort(cfg.Host, strconv.Itoa(cfg.Port))}
		if cfg.TLS {
			o.TLSConfig = &tls.Config{ServerName: cfg.Host, MinVersion: tls.VersionTLS12}
		}
		return options{standalone: o}, nil
	}
	u, err := url.Parse(cfg.URL)
	if err != nil { // the error repeats the URL with its password
		return options{}, errors.New("REDIS_URL is no URL: redis://, rediss://, unix:// or redis+cluster:// is expected")
	}
	query := u.Query()
	if query.Has("skip_verify") {
		return options{}, errors.New("REDIS_URL has skip_verify: name the certificate's authority in REDIS_CA_FILE instead")
	}
	scheme, isCluster := strings.CutSuffix(u.Scheme, "+cluster")
	u.Scheme = scheme
	var o options
	switch {
	case query.Has("master_name"):
		o.sentinel, err = redis.ParseFailoverURL(u.String())
	case isCluster || query.Has("addr"):
		o.cluster, err = redis.ParseClusterURL(u.String())
	default:
		o.standalone, err = redis.ParseURL(u.String())
	}
	if err != nil {
		secret, _ := u.User.Password()
		return options{}, fmt.Errorf("REDIS_URL: %w", redact(err, secret, query.Get("password"), query.Get("sentinel_password")))
	}
	if cfg.TLS && o.tls() == nil {
		return options{}, errors.New("REDIS_TLS is set beside a REDIS_URL without TLS: " +
			"use rediss:// or rediss+cluster:// there")
	}
	return o, nil
}

func (o options) tls() *tls.Config {
	switch {
	case o.sentinel != nil:
		return o.sentinel.TLSConfig
	case o.cluster != nil:
		return o.cluster.TLSConfig
	case o.standalone != nil:
		return o.standalone.TLSConfig
	}
	return nil
}

// security gives the TLS configuration, nil where the address is without TLS.
func (cfg *Config) security(of *tls.Config) (*tls.Config, error) {
	if of == nil {
		if cfg.CAFile != "" || cfg.CertFile != "" || cfg.KeyFile != "" || cfg.ServerName != "" {
			return nil, errors.New("REDIS_CA_FILE, REDIS_SERVER_NAME, REDIS_CERT_FILE or REDIS_KEY_FILE is set for an address without TLS: " +
				"use rediss:// or REDIS_TLS=true")
		}
		return nil, nil
	}
	security := &tls.Config{ServerName: of.ServerName, MinVersion: tls.VersionTLS12}
	if cfg.ServerName != "" {
		security.ServerName = cfg.ServerName
	}
	if cfg.CAFile != "" {
		pem, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			return nil, fmt.Errorf("REDIS_CA_FILE: %w", err)
		}
		security.RootCAs = x509.NewCertPool()
		if !security.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New("REDIS_CA_FILE holds no certificate in PEM")
		}
	}
	if cfg.CertFile != "" || cfg.KeyFile != "" {
		certificate, err := tls.LoadX509KeyPair(cfg.CertFile, cfg.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("REDIS_CERT_FILE, REDIS_KEY_FILE: %w", err)
		}
		security.Certificates = []tls.Certificate{certificate}
	}
	return security, nil
}

// Defaults that URL may change. Commands are not retried: whoever calls knows whether to.
const (
	dialTimeout  = 5 * time.Second
	replyTimeout = 10 * time.Second
	noRetries    = -1
)

func quiet() *maintnotifications.Config {
	return &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}

func orElse[T comparable](value *T, otherwise T) {
	if *value == *new(T) {
		*value = otherwise
	}
}

func (cfg *Config) completeStandalone(o *redis.Options, security *tls.Config) {
	orElse(&o.Username, cfg.Username)
	orElse(&o.Password, cfg.Password)
	orElse(&o.DialTimeout, dialTimeout)
	orElse(&o.ReadTimeout, replyTimeout)
	orElse(&o.WriteTimeout, replyTimeout)
	o.TLSConfig, o.MaxRetries, o.DialerRetries = security, noRetries, 1
	o.DisableIdentity, o.ContextTimeoutEnabled, o.MaintNotificationsConfig = true, true, quiet()
}

func (cfg *Config) completeSentinel(o *redis.FailoverOptions, security *tls.Config) {
	orElse(&o.Username, cfg.Username)
	orElse(&o.Password, cfg.Password)
	orElse(&o.DialTimeout, dialTimeout)
	orElse(&o.ReadTimeout, replyTimeout)
	orElse(&o.WriteTimeout, replyTimeout)
	o.TLSConfig, o.MaxRetries, o.DialerRetries = security, noRetries, 1
	o.DisableIdentity, o.ContextTimeoutEnabled = true, true
}

func (cfg *Config) completeCluster(o *redis.ClusterOptions, security *tls.Config) {
	orElse(&o.Username, cfg.Username)
	orElse(&o.Password, cfg.Password)
	orElse(&o.DialTimeout, dialTimeout)
	orElse(&o.ReadTimeout, replyTimeout)
	orElse(&o.WriteTimeout, replyTimeout)
	o.TLSConfig, o.MaxRetries, o.DialerRetries = security, noRetries, 1
	o.DisableIdentity, o.ContextTimeoutEnabled, o.MaintNotificationsConfig = true, true, quiet()
}

func (o options) collectSecrets() []string {
	switch {
	case o.sentinel != nil:
		return []string{o.sentinel.Password, o.sentinel.SentinelPassword}
	case o.cluster != nil:
		return []string{o.cluster.Password}
	}
	return []string{o.standalone.Password}
}
