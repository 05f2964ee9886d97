// Command archive keeps the chain events of the streams: the history from which windows are computed again. What it has, and
// every function has applied, it trims from the streams.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"knative.dev/pkg/signals"

	"github.com/chainmetrics/chainmetrics/events/redisstream"
	"github.com/chainmetrics/chainmetrics/shared/archive"
	"github.com/chainmetrics/chainmetrics/shared/environment"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/shared/receiver"
	"github.com/chainmetrics/chainmetrics/shared/telemetry"
)

type config struct {
	Archive   archive.Config
	Postgres  postgres.Config
	Redis     redisstream.Config
	Receiver  receiver.Config
	Telemetry telemetry.Config
}

func main() {
	if err := run(signals.NewContext()); err != nil {
		slog.Error("archive stopped", "error", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var cfg config
	if err := environment.Read(&cfg); err != nil {
		return err
	}
	stop, err := telemetry.Setup(ctx, cfg.Telemetry, archive.Name, os.Stderr)
	if err != nil {
		return err
	}
	defer stop()
	store, err := postgres.Open(ctx, cfg.Postgres)
	if err != nil {
		return fmt.Errorf("open postgres: %w", err)
	}
	defer store.Close()
	client, err := redisstream.Open(ctx, cfg.Redis)
	if err != nil {
		return fmt.Errorf("open redis: %w", err)
	}
	defer client.Close() //nolint:errcheck // what was trimmed was answered
	return receiver.Serve(ctx, cfg.Receiver, archive.NewTrimmer(cfg.Archive, store, client))
}
