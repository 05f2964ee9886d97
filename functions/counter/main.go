// Command counter serves the counter metric type.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"knative.dev/pkg/signals"

	"github.com/chainmetrics/chainmetrics/functions/counter/counter"
	"github.com/chainmetrics/chainmetrics/shared/environment"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/shared/receiver"
	"github.com/chainmetrics/chainmetrics/shared/runner"
	"github.com/chainmetrics/chainmetrics/shared/telemetry"
)

type config struct {
	Postgres  postgres.Config
	Receiver  receiver.Config
	Telemetry telemetry.Config
}

func main() {
	if err := run(signals.NewContext()); err != nil {
		slog.Error("counter stopped", "error", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var cfg config
	if err := environment.Read(&cfg); err != nil {
		return err
	}
	stop, err := telemetry.Setup(ctx, cfg.Telemetry, "counter", os.Stderr)
	if err != nil {
		return err
	}
	defer stop()
	store, err := postgres.Open(ctx, cfg.Postgres)
	if err != nil {
		return fmt.Errorf("open postgres: %w", err)
	}
	defer store.Close()
	return receiver.Serve(ctx, cfg.Receiver, runner.NewFunction(counter.Type{}, store))
}
