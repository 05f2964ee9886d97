package scheduler

import (
	"context"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
)

// Send sends events as a sweep does.
func (b *Broker) Send(ctx context.Context, all []event.Event, within time.Duration) []error {
	return b.send(ctx, all, within)
}
