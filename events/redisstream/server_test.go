package redisstream_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/events/redisstream"
	"github.com/chainmetrics/chainmetrics/tests/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// open gives a client of a fresh private server, and a plain one to do to it what others might.
func open(t *testing.T) (*redisstream.Client, *redis.Client) {
	t.Helper()
	address := harness.Redis(t)
	options, err := redis.ParseURL(address)
	if err != nil {
		t.Fatal(err)
	}
	plain := redis.NewClient(options)
	t.Cleanup(func() { _ = plain.Close() })
	return connect(t, redisstream.Config{URL: address}), plain
}

func connect(t *testing.T, cfg redisstream.Config) *redisstream.Client {
	t.Helper()
	client, err := redisstream.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// startServer starts a Redis server with options of its own and gives its port once it accepts connections.
func startServer(t *testing.T, portOption string, options ...string) int {
	t.Helper()
	port := freePort(t)
	folder := t.TempDir()
	config := filepath.Join(folder, "redis.conf")
	if err := os.WriteFile(config, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	args := append([]string{config, "--dir", folder, "--save", "", portOption, strconv.Itoa(port)}, options...)
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "redis-server", args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	var dialer net.Dialer
	for range 100 {
		conn, err := dialer.DialContext(t.Context(), "tcp", address(port))
		if err == nil {
			_ = conn.Close()
			return port
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("redis-server %v does not answer", args)
	return 0
}

func freePort(t *testing.T) int {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().(*net.TCPAddr).Port
}

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// certificate writes a self-signed certificate for a server's name, with its key.
func certificate(t *testing.T, name string) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	certFile, keyFile = filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem")
	for file, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: der},
		keyFile:  {Type: "PRIVATE KEY", Bytes: keyDER},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

const stream = "blockchain_events:bitcoin"

// hashOf is the hash of block n of a test's chain; branch tells two blocks of one height apart.
func hashOf(n uint64, branch string) string { return fmt.Sprintf("%s%064x", branch, n) }

// blocks gives the entries of blocks from through to, in epoch 0.
func blocks(t *testing.T, from, to uint64, branch string) []events.Entry {
	t.Helper()
	var entries []events.Entry
	for n := from; n <= to; n++ {
		entries = append(entries, blockEntry(t, events.ID{Minor: n + 1}, n, hashOf(n, branch), hashOf(n-1, branch), ""))
	}
	return entries
}

func blockEntry(t *testing.T, id events.ID, number uint64, hash, parent, padding string) events.Entry {
	t.Helper()
	at := time.Unix(1231006505+int64(number)*600, 0)
	entry, err := events.NewBlockEntry(id, events.Block{
		Chain: "bitcoin", Number: number, Hash: hash, ParentHash: parent, Time: at,
		Fields: map[string]any{"number": number, "hash": hash, "timestamp": at.Unix(), "padding": padding},
	}, at)
	if err != nil {
		t.Fatal(err)
	}
	return entry
}

func flat(id events.ID, memo string) events.Entry {
	return events.Entry{ID: id, Fields: []events.Field{
		{Name: "type", Value: "x"},
		{Name: "chain", Value: "c"},
		{Name: "timestamp", Value: "1231006505"},
		{Name: "chainmetrics.appended_at", Value: "1231006505000"},
		{Name: "memo", Value: memo},
	}}
}
