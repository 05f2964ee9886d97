package postgres

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Config says where the store is, and how long to wait for it. URL goes before Host, Port, DB, User and Password. What
// PostgreSQL's own variables say (PGSSLMODE, PGSSLROOTCERT, PGPASSFILE, …) holds where neither the URL nor a field says it.
type Config struct {
	URL      string `envconfig:"POSTGRES_URL"`  // postgres://user:password@host:port/database?sslmode=verify-full
	Host     string `envconfig:"POSTGRES_HOST"` // a host name, an address, or the folder of a Unix socket
	Port     int    `envconfig:"POSTGRES_PORT" default:"5432"`
	DB       string `envconfig:"POSTGRES_DB"`
	User     string `envconfig:"POSTGRES_USER"`
	Password string `envconfig:"POSTGRES_PASSWORD"`

	ApplicationName string `envconfig:"POSTGRES_APPLICATION_NAME" default:"chainmetrics"` // in pg_stat_activity
	PoolSize        int    `envconfig:"POSTGRES_POOL_SIZE"        default:"8"`            // connections at the same time

	ConnectTimeout   time.Duration `envconfig:"POSTGRES_CONNECT_TIMEOUT"   default:"5s"`
	StatementTimeout time.Duration `envconfig:"POSTGRES_STATEMENT_TIMEOUT" default:"30s"`
	LockTimeout      time.Duration `envconfig:"POSTGRES_LOCK_TIMEOUT"      default:"5s"`
	// IdleTimeout ends a transaction whose client says nothing: a frozen process must not hold the stream.
	IdleTimeout time.Duration `envconfig:"POSTGRES_IDLE_TIMEOUT" default:"5s"`
	// TCPTimeout ends a connection whose other end has gone without a word.
	TCPTimeout time.Duration `envconfig:"POSTGRES_TCP_TIMEOUT" default:"15s"`
}

const (
	shortestTimeout = 100 * time.Millisecond
	longestTimeout  = 24 * time.Hour
	largestPool     = 1000
	keepalives      = 3 // probes without an answer until a connection is dead
)

var errURL = errors.New("POSTGRES_URL cannot be read: want postgres://user:password@host:port/database")

// Validate tells everything that is wrong, by the names of the variables, without values.
func (c Config) Validate() error {
	var wrong []error
	switch {
	case c.URL != "":
		if _, err := c.pool(); err != nil {
			wrong = append(wrong, err)
		}
	case c.Host == "":
		wrong = append(wrong, errors.New("neither POSTGRES_URL nor POSTGRES_HOST is set"))
	default:
		if c.DB == "" {
			wrong = append(wrong, errors.New("POSTGRES_DB is not set"))
		}
		if c.User == "" {
			wrong = append(wrong, errors.New("POSTGRES_USER is not set"))
		}
		if c.Port < 1 || c.Port > 65535 {
			wrong = append(wrong, errors.New("POSTGRES_PORT is no port: want 1 to 65535"))
		}
	}
	if c.PoolSize < 1 || c.PoolSize > largestPool {
		wrong = append(wrong, fmt.Errorf("POSTGRES_POOL_SIZE is out of range: want 1 to %d", largestPool))
	}
	for _, timeout := range []struct {
		name  string
		value time.Duration
	}{
		{"POSTGRES_CONNECT_TIMEOUT", c.ConnectTimeout},
		{"POSTGRES_STATEMENT_TIMEOUT", c.StatementTimeout},
		{"POSTGRES_LOCK_TIMEOUT", c.LockTimeout},
		{"POSTGRES_IDLE_TIMEOUT", c.IdleTimeout},
		{"POSTGRES_TCP_TIMEOUT", c.TCPTimeout},
	} {
		if timeout.value < shortestTimeout || timeout.value > longestTimeout {
			wrong = append(wrong, fmt.Errorf("%s is out of range: want %s to %s", timeout.name, shortestTimeout, longestTimeout))
		}
	}
	return errors.Join(wrong...)
}

// ConnString is the URL of the database, with the password.
func (c Config) ConnString() string {
	if c.URL != "" {
		return c.URL
	}
	location := url.URL{Scheme: "postgres", Path: "/" + c.DB, User: url.User(c.User)}
	if c.Password != "" {
		location.User = url.UserPassword(c.User, c.Password)
	}
	port := strconv.Itoa(c.Port)
	if strings.HasPrefix(c.Host, "/") {
		location.RawQuery = url.Values{"host": {c.Host}, "port": {port}}.Encode()
	} else {
		location.Host = net.JoinHostPort(c.Host, port)
	}
	return location.String()
}

// String says where the store is, without the password.
func (c Config) String() string {
	location, err := url.Parse(c.ConnString())
	if err != nil {
		return "an unreadable URL"
	}
	host := location.Host
	if host == "" {
		host = location.Query().Get("host")
	}
	return fmt.Sprintf("%s@%s%s", location.User.Username(), host, location.Path)
}

// LogValue is what a log shows: String.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

// pool gives the settings of the connections. Its error names the variable and shows nothing of the URL, whose parts
// cannot be told apart where it is malformed.
func (c Config) pool() (*pgxpool.Config, error) {
	location, err := url.Parse(c.ConnString())
	if err != nil || location.Scheme != "postgres" && location.Scheme != "postgresql" {
		return nil, errURL
	}
	cfg, err := pgxpool.ParseConfig(c.ConnString())
	if err != nil {
		var unread *pgconn.ParseConfigError
		if cause := errors.Unwrap(err); errors.As(err, &unread) && cause != nil && !c.tells(cause) {
			return nil, fmt.Errorf("%w (%w)", errURL, cause)
		}
		return nil, errURL
	}
	cfg.MaxConns = int32(c.PoolSize) //nolint:gosec // at most largestPool
	cfg.ConnConfig.ConnectTimeout = c.ConnectTimeout
	dialer := net.Dialer{Timeout: c.ConnectTimeout, KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: c.TCPTimeout / (keepalives + 1), Interval: c.TCPTimeout / (keepalives + 1), Count: keepalives,
	}}
	cfg.ConnConfig.DialFunc = dialer.DialContext
	for name, value := range c.session() {
		if _, said := cfg.ConnConfig.RuntimeParams[name]; !said { // by the URL
			cfg.ConnConfig.RuntimeParams[name] = value
		}
	}
	return cfg, nil
}

// tells whether an error shows the password, or a part of it that is long enough to matter.
func (c Config) tells(err error) bool {
	location, parseErr := url.Parse(c.ConnString())
	if parseErr != nil {
		return true
	}
	password, _ := location.User.Password()
	for _, secret := range []string{password, location.Query().Get("password"), location.Query().Get("sslpassword")} {
		if secret != "" && strings.Contains(err.Error(), secret) {
			return true
		}
	}
	return false
}

// session gives the settings that every connection begins with.
//
// Sequential scans are off because plans are kept as long as the connection lasts: one made while a table was nearly empty
// would read all of it once it has grown. Compilation of plans is off because that detour makes them look expensive.
func (c Config) session() map[string]string {
	probe := max(1, int(c.TCPTimeout.Seconds())/(keepalives+1))
	return map[string]string{
		"application_name":                    c.ApplicationName,
		"timezone":                            "UTC",
		"datestyle":                           "ISO",
		"default_transaction_isolation":       "read committed",
		"statement_timeout":                   milliseconds(c.StatementTimeout),
		"lock_timeout":                        milliseconds(c.LockTimeout),
		"idle_in_transaction_session_timeout": milliseconds(c.IdleTimeout),
		"tcp_user_timeout":                    milliseconds(c.TCPTimeout),
		"tcp_keepalives_idle":                 strconv.Itoa(probe),
		"tcp_keepalives_interval":             strconv.Itoa(probe),
		"tcp_keepalives_count":                strconv.Itoa(keepalives),
		"enable_seqscan":                      "off",
		"jit":                                 "off",
	}
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
