package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/chainmetrics/chainmetrics/cmd/chainmetrics/eventing"
	"github.com/chainmetrics/chainmetrics/cmd/chainmetrics/supervisor"
	"github.com/chainmetrics/chainmetrics/cmd/chainmetrics/wiring"
	"github.com/chainmetrics/chainmetrics/events/redisstream"
	"github.com/chainmetrics/chainmetrics/shared/devserver"
	"github.com/chainmetrics/chainmetrics/shared/metric"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
)

// Deadlines.
const (
	readyTimeout  = 60 * time.Second // of a child that starts
	eventTimeout  = 2 * time.Second  // of events under way when the schedules stop
	drainTimeout  = 15 * time.Second // of a child that stops
	serverTimeout = 30 * time.Second // of a server that stops
)

// localSystem is what up runs.
type localSystem struct {
	app         *app
	flags       upFlags
	definitions []metric.Definition
	wiring      *wiring.Wiring
	programs    map[string]string // paths by name
	directory   *dataDirectory
	screen      *screen
	fail        context.CancelCauseFunc
	settled     atomic.Bool // start-up is over: from now on children are started again for ever

	postgres, redis *server // nil where others run them
	store           *postgres.Store
	storeURL        string
	client          *redisstream.Client
	files           string         // to feed; empty with --no-feed
	ports           map[string]int // of children, by name
	functions       []*supervisor.Child
	sources         []*supervisor.Child
	feed            *supervisor.Child
	schedules       *eventing.Schedules
	brokers         *brokers
	planning        *planning
}

// run starts everything, loads what is to be fed, shows the outcome and, without --once, serves until ctx is done.
func (s *localSystem) run(ctx context.Context) error {
	s.screen.notice("", s.screen.bold("chainmetrics")+" in "+s.app.dataDir, "")
	for _, start := range []func(context.Context) error{
		s.findChain, s.startPostgres, s.startRedis, s.migrate, s.applyMetrics,
		s.startFunctions, s.startSources, s.startSchedules, s.startPlanner, s.load,
	} {
		if err := start(ctx); err != nil {
			if cause := context.Cause(ctx); ctx.Err() != nil && !errors.Is(err, cause) && !errors.Is(cause, context.Canceled) {
				err = cause
			}
			return err
		}
	}
	s.settled.Store(true)
	if err := s.showNewest(ctx); err != nil {
		return err
	}
	if s.flags.once {
		return nil
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

func (s *localSystem) startPostgres(ctx context.Context) error {
	return s.screen.phase("postgres", func() (string, error) {
		isLocal := local(s.app.postgresURL, postgresVariables)
		if isLocal {
			folder := s.directory.join(postgresFolder)
			var err error
			s.postgres, err = startServer(ctx, "postgres", s.screen, func(ctx context.Context) (*devserver.Server, error) {
				return devserver.StartPostgres(ctx, folder)
			})
			if err != nil {
				return "", err
			}
			if err := usePrivate(s.postgres.url(), postgresVariables); err != nil {
				return "", err
			}
			return "private PostgreSQL started", nil
		}
		if err := useURL(s.app.postgresURL, postgresVariables); err != nil {
			return "", err
		}
		return "the PostgreSQL that is named", nil
	})
}

func (s *localSystem) startRedis(ctx context.Context) error {
	return s.screen.phase("redis", func() (string, error) {
		result := "the Redis that is named"
		if local(s.app.redisURL, redisVariables) {
			folder := s.directory.join(redisFolder)
			var err error
			s.redis, err = startServer(ctx, "redis", s.screen, func(ctx context.Context) (*devserver.Server, error) {
				return devserver.StartRedis(ctx, folder)
			})
			if err != nil {
				return "", err
			}
			if err := usePrivate(s.redis.url(), redisVariables); err != nil {
				return "", err
			}
			result = "private Redis started"
		} else if err := useURL(s.app.redisURL, redisVariables); err != nil {
			return "", err
		}
		var err error
		s.client, err = s.app.openRedis(ctx)
		return result, err
	})
}

func (s *localSystem) migrate(ctx context.Context) error {
	return s.screen.phase("schema", func() (string, error) {
		cfg, _, err := s.app.postgresConfig()
		if err != nil {
			return "", err
		}
		s.storeURL = cfg.ConnString()
		from, to, err := s.app.migrate(ctx, cfg)
		if err != nil {
			return "", s.app.migrationError(err, false)
		}
		s.store, err = s.app.openStore(ctx)
		return migrated(from, to), err
	})
}

func (s *localSystem) applyMetrics(ctx context.Context) error {
	return s.screen.phase("metrics", func() (string, error) {
		if len(s.flags.metrics) == 0 {
			registered, err := s.store.Metrics(ctx)
			if err != nil {
				return "", err
			}
			if len(registered) > 0 { // perhaps examples that somebody has changed, or has deleted some of
				s.definitions = definitionsOf(registered)
				return fmt.Sprintf("%d registered", len(registered)), nil
			}
		}
		applied, unchecked, err := apply(ctx, s.store, s.definitions)
		if err != nil {
			return "", err
		}
		for _, line := range unchecked {
			s.screen.notice(s.screen.yellow("  " + line))
		}
		counts := make(map[postgres.Change]int)
		for _, m := range applied {
			counts[m.Change]++
		}
		var parts []string
		for _, change := range []postgres.Change{postgres.Created, postgres.Updated, postgres.Unchanged} {
			if counts[change] > 0 {
				parts = append(parts, fmt.Sprintf("%d %s", counts[change], change))
			}
		}
		return strings.Join(parts, ", "), nil
	})
}

// definitionsOf gives the definitions of metrics in the order in which they were registered.
func definitionsOf(registered []postgres.RegisteredMetric) []metric.Definition {
	slices.SortFunc(registered, func(a, b postgres.RegisteredMetric) int { return cmp.Compare(a.ID, b.ID) })
	definitions := make([]metric.Definition, len(registered))
	for i, m := range registered {
		definitions[i] = m.Definition
	}
	return definitions
}

func (s *localSystem) findChain(ctx context.Context) error {
	if s.flags.noFeed {
		return nil
	}
	return s.screen.phase("chain", func() (description string, err error) {
		s.files, description, err = s.flags.blockFiles(ctx)
		return description, err
	})
}

// stop drains: what feeds first, what is fed last. Afterwards nothing runs.
func (s *localSystem) stop(ctx context.Context, asked bool) error {
	if asked {
		s.screen.notice("", "  stopping; a second signal ends everything at once")
	}
	var failed []error
	s.stopSchedules(ctx)
	for _, child := range slices.Concat([]*supervisor.Child{s.feed}, s.sources, s.functions) {
		if child != nil {
			failed = append(failed, withTimeout(ctx, drainTimeout, child.Stop))
		}
	}
	if s.client != nil {
		failed = append(failed, s.client.Close())
	}
	if s.store != nil {
		s.store.Close()
	}
	for _, server := range []*server{s.redis, s.postgres} {
		if server != nil {
			failed = append(failed, withTimeout(ctx, serverTimeout, server.stop))
		}
	}
	err := errors.Join(failed...)
	if asked && err == nil {
		s.screen.notice("  stopped; to go on from here: " + s.app.command("up"))
	}
	return err
}

func withTimeout(ctx context.Context, timeout time.Duration, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return do(ctx)
}
