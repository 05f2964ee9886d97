// Command scheduler sees every minute that what is due is asked for, and tells others what has become true.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"knative.dev/pkg/signals"

	"github.com/chainmetrics/chainmetrics/functions/scheduler/scheduler"
	"github.com/chainmetrics/chainmetrics/shared/binding"
	"github.com/chainmetrics/chainmetrics/shared/environment"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/shared/receiver"
	"github.com/chainmetrics/chainmetrics/shared/telemetry"
)

type config struct {
	Broker    binding.Config
	Postgres  postgres.Config
	Receiver  receiver.Config
	Telemetry telemetry.Config
}

func main() {
	if err := run(signals.NewContext()); err != nil {
		slog.Error("scheduler stopped", "error", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var cfg config
	if err := environment.Read(&cfg); err != nil {
		return err
	}
	stop, err := telemetry.Setup(ctx, cfg.Telemetry, scheduler.Name, os.Stderr)
	if err != nil {
		return err
	}
	defer stop()
	broker, err := scheduler.NewBroker(cfg.Broker)
	if err != nil {
		return err
	}
	store, err := postgres.Open(ctx, cfg.Postgres)
	if err != nil {
		return fmt.Errorf("open postgres: %w", err)
	}
	defer store.Close()
	prometheus.MustRegister(scheduler.NewCollector(store, time.Now))
	return receiver.Serve(ctx, cfg.Receiver, scheduler.NewFunction(store, broker))
}
