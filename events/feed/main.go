// Command feed appends a chain's blocks to a stream.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"knative.dev/pkg/signals"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/events/feed/bitcoin"
	"github.com/chainmetrics/chainmetrics/events/redisstream"
	"github.com/chainmetrics/chainmetrics/shared/environment"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/shared/telemetry"
)

type config struct {
	Feed      Config
	Bitcoin   bitcoin.Config
	Redis     redisstream.Config
	Postgres  postgres.Config
	Telemetry telemetry.Config
	Probes    telemetry.ProbesConfig
}

func main() {
	if err := run(signals.NewContext()); err != nil {
		slog.Error("feed stopped", "error", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var cfg config
	if err := environment.Read(&cfg); err != nil {
		return err
	}
	stop, err := telemetry.Setup(ctx, cfg.Telemetry, "feed", os.Stderr)
	if err != nil {
		return err
	}
	defer stop()
	log := slog.Default()
	files, err := bitcoin.Open(ctx, cfg.Bitcoin, log)
	if err != nil {
		return err
	}
	defer files.Close() //nolint:errcheck // it was only read
	db, err := postgres.Open(ctx, cfg.Postgres)
	if err != nil {
		return fmt.Errorf("open postgres: %w", err)
	}
	defer db.Close()
	redis, err := redisstream.Open(ctx, cfg.Redis)
	if err != nil {
		return fmt.Errorf("open redis: %w", err)
	}
	defer redis.Close() //nolint:errcheck // appends were answered
	f := &feed{
		cfg: cfg.Feed, chain: bitcoinChain{files}, redis: redis, store: db, log: log,
		progress: newProgress(prometheus.DefaultRegisterer), now: time.Now,
	}
	ctx, end := context.WithCancel(ctx)
	defer end()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return telemetry.ServeProbes(ctx, cfg.Probes, f.progress.check) })
	group.Go(func() error {
		defer end()
		return f.run(ctx)
	})
	return group.Wait()
}

// bitcoinChain is the chain of block files.
type bitcoinChain struct {
	*bitcoin.Chain
}

// Block reads the block at a height.
func (c bitcoinChain) Block(ctx context.Context, number uint64) (events.Block, error) {
	block, err := c.Read(ctx, number)
	if err != nil {
		return events.Block{}, err
	}
	return block.Event(), nil
}
