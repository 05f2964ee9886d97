package eventing

import (
	"context"
	"net/http"
	"sync"

	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
)

// Ingress takes events over HTTP, for the Broker that the path names. An event is accepted before it is delivered, as Knative's is;
// one that no Trigger takes is dropped.
type Ingress struct {
	router     *Router
	lost       func(error)
	ctx        context.Context //nolint:containedctx // of deliveries, which outlive the requests that brought their events
	drop       context.CancelFunc
	deliveries sync.WaitGroup
}

// NewIngress makes the way into a router. An event that was given up is told to lost, concurrently.
func NewIngress(ctx context.Context, router *Router, lost func(error)) *Ingress {
	i := &Ingress{router: router, lost: lost}
	i.ctx, i.drop = context.WithCancel(context.WithoutCancel(ctx))
	return i
}

// ServeHTTP answers 202 to an event.
func (i *Ingress) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e, err := cehttp.NewEventFromHTTPRequest(r)
	if err == nil {
		err = e.Validate()
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	broker := r.PathValue("broker")
	i.deliveries.Go(func() {
		if err := i.router.Publish(i.ctx, broker, *e); err != nil && i.ctx.Err() == nil {
			i.lost(err)
		}
	})
	w.WriteHeader(http.StatusAccepted)
}

// Stop waits for what is under way. What is not done when the context ends is dropped. Nothing may be served any more.
func (i *Ingress) Stop(ctx context.Context) {
	defer context.AfterFunc(ctx, i.drop)()
	i.deliveries.Wait()
	i.drop()
}
