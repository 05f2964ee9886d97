package postgres_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/kelseyhightower/envconfig"

	"github.com/chainmetrics/chainmetrics/shared/postgres"
)

func TestConfigFromTheEnvironment(t *testing.T) {
	for name, value := range map[string]string{
		"POSTGRES_URL": "", "POSTGRES_HOST": "db.example", "POSTGRES_DB": "metrics", "POSTGRES_USER": "writer",
		"POSTGRES_PASSWORD": "p@ss/w:rd?", "POSTGRES_LOCK_TIMEOUT": "2s",
	} {
		t.Setenv(name, value)
	}
	var cfg postgres.Config
	if err := envconfig.Process("", &cfg); err != nil {
		t.Fatal(err)
	}
	want := settings("")
	want.Host, want.DB, want.User, want.Password = "db.example", "metrics", "writer", "p@ss/w:rd?"
	want.ApplicationName, want.PoolSize, want.LockTimeout = "chainmetrics", 8, 2*time.Second
	if diff := cmp.Diff(want, cfg); diff != "" {
		t.Error(diff)
	}
	if err := cfg.Validate(); err != nil {
		t.Error(err)
	}
}

func TestConnString(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		cfg                            postgres.Config
		host, database, user, password string
		port                           uint16
	}{
		"host": {
			cfg:  postgres.Config{Host: "db.example", Port: 5433, DB: "metrics", User: "writer", Password: "p@ss/w:rd? %"},
			host: "db.example", port: 5433, database: "metrics", user: "writer", password: "p@ss/w:rd? %",
		},
		"address": {
			cfg:  postgres.Config{Host: "::1", Port: 5432, DB: "a b", User: "ü", Password: "p"},
			host: "::1", port: 5432, database: "a b", user: "ü", password: "p",
		},
		"socket": {
			cfg:  postgres.Config{Host: "/var/run/postgresql", Port: 5432, DB: "metrics", User: "writer"},
			host: "/var/run/postgresql", port: 5432, database: "metrics", user: "writer",
		},
		"url": {
			cfg:  postgres.Config{URL: "postgres://writer:p@db.example:5434/metrics", Host: "other"},
			host: "db.example", port: 5434, database: "metrics", user: "writer", password: "p",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := pgx.ParseConfig(c.cfg.ConnString())
			if err != nil {
				t.Fatal(err)
			}
			if got.Host != c.host || got.Port != c.port || got.Database != c.database || got.User != c.user ||
				c.password != "" && got.Password != c.password {
				t.Errorf("%s: host %s, port %d, database %s, user %s", c.cfg.ConnString(), got.Host, got.Port, got.Database, got.User)
			}
		})
	}
}

func TestConfigNamesEverythingWrong(t *testing.T) {
	t.Parallel()
	change := func(f func(*postgres.Config)) postgres.Config {
		cfg := settings("")
		cfg.Host, cfg.DB, cfg.User = "db.example", "metrics", "writer"
		f(&cfg)
		return cfg
	}
	const secret = "s3cr3t"
	cases := map[string]struct {
		cfg  postgres.Config
		want []string
	}{
		"nothing": {change(func(*postgres.Config) {}), nil},
		"empty": {
			postgres.Config{},
			[]string{
				"POSTGRES_URL", "POSTGRES_HOST", "POSTGRES_POOL_SIZE", "POSTGRES_CONNECT_TIMEOUT",
				"POSTGRES_STATEMENT_TIMEOUT", "POSTGRES_LOCK_TIMEOUT", "POSTGRES_IDLE_TIMEOUT", "POSTGRES_TCP_TIMEOUT",
			},
		},
		"parts": {
			change(func(c *postgres.Config) { c.DB, c.User, c.Port, c.PoolSize = "", "", 0, -1 }),
			[]string{"POSTGRES_DB", "POSTGRES_USER", "POSTGRES_PORT", "POSTGRES_POOL_SIZE"},
		},
		"another scheme": {settings("mysql://user:" + secret + "@host/db"), []string{"POSTGRES_URL"}},
		"no url":         {settings(secret), []string{"POSTGRES_URL"}},
		"pairs":          {settings("host=db password=" + secret), []string{"POSTGRES_URL"}},
		"bad escape":     {settings("postgres://user:" + secret + "%zz@host/db"), []string{"POSTGRES_URL"}},
		"bad port":       {settings("postgres://user:" + secret + "@host:x/db"), []string{"POSTGRES_URL"}},
		"bad mode":       {settings("postgres://user:" + secret + "@host/db?sslmode=maybe"), []string{"POSTGRES_URL", "sslmode"}},
		"slash":          {settings("postgres://user:" + secret + "/x@host/db"), []string{"POSTGRES_URL"}},
		"at sign":        {settings("postgres://user:x" + secret + "#@host/db"), []string{"POSTGRES_URL"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := c.cfg.Validate()
			if len(c.want) == 0 {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil {
				t.Fatal("it is valid")
			}
			for _, name := range c.want {
				if !strings.Contains(err.Error(), name) {
					t.Errorf("%q does not name %s", err, name)
				}
			}
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%q shows the password", err)
			}
		})
	}
}

func TestConfigIsShownWithoutThePassword(t *testing.T) {
	t.Parallel()
	parts := settings("")
	parts.Host, parts.DB, parts.User, parts.Password = "db.example", "metrics", "writer", "s3cr3t"
	const want = "writer@db.example:5432/metrics"
	for name, cfg := range map[string]postgres.Config{
		"parts": parts, "url": settings("postgres://writer:s3cr3t@db.example:5432/metrics?sslpassword=s3cr3t"),
	} {
		var log strings.Builder
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "postgres", cfg)
		for _, shown := range []string{log.String(), fmt.Sprintf("%v", cfg), fmt.Sprintf("%+v", struct{ P postgres.Config }{cfg})} {
			if !strings.Contains(shown, want) || strings.Contains(shown, "s3cr3t") {
				t.Errorf("%s: %q, want %q in it and no password", name, shown, want)
			}
		}
	}
}
