// Command notify tells people by mail and webhook what has failed, is late, has drifted, or was not delivered.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"knative.dev/pkg/signals"

	"github.com/chainmetrics/chainmetrics/functions/notify/mail"
	"github.com/chainmetrics/chainmetrics/functions/notify/notify"
	"github.com/chainmetrics/chainmetrics/functions/notify/webhook"
	"github.com/chainmetrics/chainmetrics/shared/environment"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/shared/receiver"
	"github.com/chainmetrics/chainmetrics/shared/telemetry"
)

type config struct {
	Notify    notify.Config
	Mail      mail.Config
	Webhook   webhook.Config
	Postgres  postgres.Config
	Receiver  receiver.Config
	Telemetry telemetry.Config
}

func main() {
	if err := run(signals.NewContext()); err != nil {
		slog.Error("notify stopped", "error", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var cfg config
	if err := environment.Read(&cfg); err != nil {
		return err
	}
	stop, err := telemetry.Setup(ctx, cfg.Telemetry, notify.Name, os.Stderr)
	if err != nil {
		return err
	}
	defer stop()
	channels, err := open(cfg)
	if err != nil {
		return err
	}
	store, err := postgres.Open(ctx, cfg.Postgres)
	if err != nil {
		return fmt.Errorf("open postgres: %w", err)
	}
	defer store.Close()
	return receiver.Serve(ctx, cfg.Receiver, notify.NewFunction(store, cfg.Notify, channels...))
}

// open opens the channels that are configured.
func open(cfg config) (channels []notify.Channel, err error) {
	if cfg.Mail.Enabled() {
		mails, err := mail.New(cfg.Mail)
		if err != nil {
			return nil, err
		}
		channels = append(channels, mails)
	}
	if cfg.Webhook.Enabled() {
		posts, err := webhook.New(cfg.Webhook, time.Now)
		if err != nil {
			return nil, err
		}
		channels = append(channels, posts)
	}
	slog.Info("channels", "mail", cfg.Mail, "webhook", cfg.Webhook)
	return channels, nil
}
