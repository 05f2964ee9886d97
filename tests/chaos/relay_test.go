package chaos_test

import (
	"errors"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// relay stands between the instances of a function and Postgres. It slows messages down and breaks connections, before
// a message of the function has passed or right behind it, so that the function never learns whether it was heard.
type relay struct {
	listener net.Listener
	address  string // of the server: a Unix socket
	dice     *dice
	breaks   int           // of 1000 messages
	delay    time.Duration // the longest before a message
	serving  sync.WaitGroup

	mu     sync.Mutex
	closed bool
	open   map[net.Conn]bool
	broken int
}

// startRelay serves until the test ends.
func startRelay(t *testing.T, dice *dice, database string, breaks int, delay time.Duration) *relay {
	t.Helper()
	cfg, err := pgx.ParseConfig(database)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{
		listener: listener, address: filepath.Join(cfg.Host, ".s.PGSQL.5432"),
		dice: dice, breaks: breaks, delay: delay, open: map[net.Conn]bool{},
	}
	r.serving.Go(r.serve)
	t.Cleanup(r.close)
	return r
}

// url gives a database's address by way of the relay.
func (r *relay) url(t *testing.T, database, application string) string {
	t.Helper()
	address, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	address.Host, address.RawQuery = r.listener.Addr().String(), "sslmode=disable&application_name="+url.PathEscape(application)
	return address.String()
}

func (r *relay) close() {
	_ = r.listener.Close()
	r.mu.Lock()
	r.closed = true
	for conn := range r.open {
		_ = conn.Close()
	}
	r.mu.Unlock()
	r.serving.Wait()
}

// breakages counts the connections that were broken.
func (r *relay) breakages() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.broken
}

func (r *relay) serve() {
	for {
		client, err := r.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("unix", r.address) //nolint:noctx // ended by close
		if err != nil {
			_ = client.Close()
			continue
		}
		r.serving.Go(func() { r.pass(client, server) })
	}
}

// pass passes messages between the two until either side ends.
func (r *relay) pass(client, server net.Conn) {
	if !r.enter(client, server) {
		return
	}
	defer r.leave(client, server)
	r.serving.Go(func() {
		_, _ = io.Copy(client, server) // either end closes both
		_, _ = client.Close(), server.Close()
	})
	defer func() { _, _ = client.Close(), server.Close() }()
	message := make([]byte, 1<<20)
	for {
		n, err := client.Read(message)
		if n > 0 && r.forward(server, message[:n]) != nil || err != nil {
			return
		}
	}
}

var errBroken = errors.New("connection broken")

func (r *relay) forward(server net.Conn, message []byte) error {
	time.Sleep(r.dice.duration(r.delay))
	broken := r.dice.below(1000) < r.breaks
	heard := r.dice.below(2) == 0
	if broken {
		r.mu.Lock()
		r.broken++
		r.mu.Unlock()
	}
	if broken && !heard {
		return errBroken
	}
	if _, err := server.Write(message); err != nil {
		return err
	}
	if broken {
		return errBroken
	}
	return nil
}

func (r *relay) enter(conns ...net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, conn := range conns {
		if r.closed {
			_ = conn.Close()
		} else {
			r.open[conn] = true
		}
	}
	return !r.closed
}

func (r *relay) leave(conns ...net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, conn := range conns {
		delete(r.open, conn)
	}
}
