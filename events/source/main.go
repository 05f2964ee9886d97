// Command source reads the entries of streams in Redis for one function, to which it sends them as CloudEvents.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"knative.dev/pkg/signals"

	"github.com/chainmetrics/chainmetrics/events/redisstream"
	"github.com/chainmetrics/chainmetrics/events/source/source"
	"github.com/chainmetrics/chainmetrics/shared/environment"
	"github.com/chainmetrics/chainmetrics/shared/telemetry"
)

type config struct {
	Redis     redisstream.Config
	Source    source.Config
	Telemetry telemetry.Config
	Probes    telemetry.ProbesConfig
}

func main() {
	if err := run(signals.NewContext()); err != nil {
		slog.Error("source stopped", "error", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	var cfg config
	if err := environment.Read(&cfg); err != nil {
		return err
	}
	stop, err := telemetry.Setup(ctx, cfg.Telemetry, "source", os.Stderr)
	if err != nil {
		return err
	}
	defer stop()
	client, err := redisstream.Open(ctx, cfg.Redis)
	if err != nil {
		return fmt.Errorf("open redis: %w", err)
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	s, err := source.New(cfg.Source, client, slog.Default())
	if err != nil {
		return fmt.Errorf("configure source: %w", err)
	}
	prometheus.WrapRegistererWith(prometheus.Labels{"function": cfg.Source.Function}, prometheus.DefaultRegisterer).MustRegister(s)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return telemetry.ServeProbes(ctx, cfg.Probes, s.Ready) })
	group.Go(func() error { return s.Run(ctx) })
	return group.Wait()
}
