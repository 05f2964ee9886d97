package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/chainmetrics/chainmetrics/events/redisstream"
	"github.com/chainmetrics/chainmetrics/shared/devserver"
	"github.com/chainmetrics/chainmetrics/shared/environment"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
)

// variables are those that say which server to use, and how to speak to it.
type variables struct {
	url, host string   // either of them names the server
	instead   []string // give way to a URL from elsewhere, as the host does
	access    []string // hold for any URL, but for that of a private server
}

var (
	postgresVariables = variables{
		url: "POSTGRES_URL", host: "POSTGRES_HOST",
		instead: []string{"POSTGRES_PORT", "POSTGRES_DB", "POSTGRES_USER", "POSTGRES_PASSWORD"},
	}
	redisVariables = variables{
		url: "REDIS_URL", host: "REDIS_HOST",
		instead: []string{"REDIS_PORT"},
		access: []string{
			"REDIS_TLS", "REDIS_USERNAME", "REDIS_PASSWORD",
			"REDIS_CA_FILE", "REDIS_SERVER_NAME", "REDIS_CERT_FILE", "REDIS_KEY_FILE",
		},
	}
)

// all gives the names of the variables.
func (v variables) all() []string { return slices.Concat([]string{v.url, v.host}, v.instead, v.access) }

// Folders of the local system below the data directory.
const (
	postgresFolder = "postgres"
	redisFolder    = "redis"
)

// errNoServer says that nobody has named a server, and that there is no local system.
var errNoServer = errors.New("no server is named, and there is no local system")

// local tells whether neither a flag nor the environment names a server.
func local(flag string, of variables) bool {
	return flag == "" && os.Getenv(of.url) == "" && os.Getenv(of.host) == ""
}

// serverURL gives the URL to use in place of the environment's: the flag's, or the local system's, or none.
func (a *app) serverURL(flag string, of variables, folder, flagName string) (url string, isLocal bool, err error) {
	if !local(flag, of) {
		return flag, false, nil
	}
	url, err = devserver.URL(filepath.Join(a.dataDir, folder))
	if errors.Is(err, fs.ErrNotExist) {
		return "", true, advise(fmt.Errorf("%s: %w in %s", folder, errNoServer, a.dataDir),
			"start one with: %s\nor name a server: --%s, or %s", a.command("up"), flagName, of.url)
	}
	return url, true, err
}

// useURL puts a flag's URL in the place of what names a server in the environment. Without one the environment holds.
func useURL(url string, of variables) error {
	if url == "" {
		return nil
	}
	return replace(url, of.url, append([]string{of.host}, of.instead...))
}

// usePrivate puts the URL of a private server in the place of all that the environment says of a server. What is meant
// for another one, such as its certificates, would be refused.
func usePrivate(url string, of variables) error { return replace(url, of.url, of.all()) }

func replace(url, variable string, unwanted []string) error {
	for _, name := range unwanted {
		if err := os.Unsetenv(name); err != nil {
			return fmt.Errorf("unset %s: %w", name, err)
		}
	}
	if err := os.Setenv(variable, url); err != nil {
		return fmt.Errorf("set %s: %w", variable, err)
	}
	return nil
}

// use puts the URL that [app.serverURL] has given into the environment.
func use(url string, isLocal bool, of variables) error {
	if isLocal {
		return usePrivate(url, of)
	}
	return useURL(url, of)
}

// postgresConfig gives the configuration of the store that the flags, the environment or the local system name.
func (a *app) postgresConfig() (cfg postgres.Config, isLocal bool, err error) {
	url, isLocal, err := a.serverURL(a.postgresURL, postgresVariables, postgresFolder, "postgres-url")
	if err != nil {
		return postgres.Config{}, isLocal, err
	}
	if err := use(url, isLocal, postgresVariables); err != nil {
		return postgres.Config{}, isLocal, err
	}
	var read struct{ Postgres postgres.Config }
	if err := environment.Read(&read); err != nil {
		return postgres.Config{}, isLocal, err
	}
	return read.Postgres, isLocal, nil
}

// openStore connects to Postgres.
func (a *app) openStore(ctx context.Context) (*postgres.Store, error) {
	cfg, isLocal, err := a.postgresConfig()
	if err != nil {
		return nil, err
	}
	store, err := postgres.Open(ctx, cfg)
	if err == nil {
		if err = a.patiently(ctx, store.Ping, anyError); err != nil {
			store.Close()
		}
	}
	if err != nil {
		return nil, a.unreachable("postgres", isLocal, err)
	}
	return store, nil
}

// openRedis connects to Redis.
func (a *app) openRedis(ctx context.Context) (*redisstream.Client, error) {
	url, isLocal, err := a.serverURL(a.redisURL, redisVariables, redisFolder, "redis-url")
	if err != nil {
		return nil, err
	}
	if err := use(url, isLocal, redisVariables); err != nil {
		return nil, err
	}
	var read struct{ Redis redisstream.Config }
	if err := environment.Read(&read); err != nil {
		return nil, err
	}
	client, err := redisstream.Open(ctx, read.Redis)
	if err == nil {
		if err = a.patiently(ctx, client.Ping, anyError); err != nil {
			err = errors.Join(err, client.Close())
		}
	}
	if err != nil {
		return nil, a.unreachable("redis", isLocal, err)
	}
	return client, nil
}

// patience is the pause between two attempts to reach a server.
const patience = time.Second

// patiently tries until it succeeds, as long as --wait allows where the error may pass. What it waits for is said once.
func (a *app) patiently(ctx context.Context, try func(context.Context) error, passes func(error) bool) error {
	until := a.now().Add(a.wait)
	for said := ""; ; {
		err := try(ctx)
		if err == nil || !passes(err) || a.now().Add(patience).After(until) {
			return err
		}
		if text := err.Error(); text != said {
			said = text
			fmt.Fprintf(a.errors, "waiting: %s\n", text)
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(patience):
		}
	}
}

func anyError(error) bool { return true }

// unreachable says what to do about a server that does not answer.
func (a *app) unreachable(server string, isLocal bool, err error) error {
	err = fmt.Errorf("open %s: %w", server, err)
	if errors.Is(err, postgres.ErrOutdated) {
		return err // which says what to do
	}
	if isLocal {
		return advise(err, "the local system in %s does not answer: start it with: %s", a.dataDir, a.command("up"))
	}
	return advise(err, "check that the server runs, and what --%s-url or the environment says of it", server)
}
