package postgres_test

import (
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// proxy stands between a store and its server, counts round trips, and can cut all connections.
type proxy struct {
	listener net.Listener
	network  string
	address  string
	trips    atomic.Int64 // requests that the server was asked to answer

	mu    sync.Mutex
	conns []net.Conn
	work  sync.WaitGroup
}

// through starts a proxy and gives the URL of the same database through it.
func through(t *testing.T, database string) (*proxy, string) {
	t.Helper()
	cfg, err := pgx.ParseConfig(database)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: listener}
	p.network, p.address = pgconn.NetworkAddress(cfg.Host, cfg.Port)
	p.work.Go(p.serve)
	t.Cleanup(func() {
		_ = listener.Close()
		p.cut()
		p.work.Wait()
	})
	address := url.URL{
		Scheme: "postgres", User: url.UserPassword(cfg.User, cfg.Password), Host: listener.Addr().String(),
		Path: "/" + cfg.Database, RawQuery: "sslmode=disable",
	}
	return p, address.String()
}

func (p *proxy) serve() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial(p.network, p.address) //nolint:noctx // ends with the test
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, client, server)
		p.mu.Unlock()
		p.work.Go(func() { p.forward(client, server) })
		p.work.Go(func() {
			_, _ = io.Copy(client, server)
			_ = client.Close()
		})
	}
}

// forward passes messages to the server. After the first they are a type, a length, and what the length counts.
func (p *proxy) forward(client, server net.Conn) {
	defer func() { _ = server.Close() }()
	kind := make([]byte, 1)
	for first := true; ; first = false {
		if !first {
			if _, err := io.ReadFull(client, kind); err != nil {
				return
			}
			if kind[0] == 'S' || kind[0] == 'Q' { // Sync, Query
				p.trips.Add(1)
			}
			if _, err := server.Write(kind); err != nil {
				return
			}
		}
		length := make([]byte, 4)
		if _, err := io.ReadFull(client, length); err != nil {
			return
		}
		if _, err := server.Write(length); err != nil {
			return
		}
		if _, err := io.CopyN(server, client, int64(binary.BigEndian.Uint32(length))-4); err != nil {
			return
		}
	}
}

// cut breaks all connections, as a crash of the client or of the network between does.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range p.conns {
		_ = conn.Close()
	}
	p.conns = nil
}
