package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/chainmetrics/chainmetrics/cmd/chainmetrics/eventing"
)

// brokers is the way into the Brokers, which listens.
type brokers struct {
	ingress *eventing.Ingress
	server  *http.Server
	served  chan struct{} // closed when it does no more
}

func serveBrokers(ctx context.Context, ingress *eventing.Ingress, port int) (*brokers, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(loopback, strconv.Itoa(port)))
	if err != nil {
		return nil, fmt.Errorf("take events for the Brokers: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("POST /{broker}", ingress)
	b := &brokers{
		ingress: ingress, server: &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}, served: make(chan struct{}),
	}
	go func() {
		defer close(b.served)
		_ = b.server.Serve(listener) // fails when it is stopped
	}()
	return b, nil
}

// stop takes no more events, and waits for those under way until ctx ends. Events may be lost: they are sent again.
func (b *brokers) stop(ctx context.Context) {
	if b.server.Shutdown(ctx) != nil {
		_ = b.server.Close() // of no consequence
	}
	<-b.served
	b.ingress.Stop(ctx)
}
