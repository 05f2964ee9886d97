package pipeline

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Stream is that of the sample chain.
const Stream = "blockchain_events:bitcoin"

// Function makes a function over a database, with the environment that Knative gives it. It gives its address.
func Function(t testing.TB, name, binary, database string, environment map[string]string) (function *Program, url string) {
	t.Helper()
	port := FreePort(t)
	return NewProgram(t, name, binary, with(environment, map[string]string{
		"PORT": port, "POSTGRES_URL": database, "LOG_FORMAT": "text", "K_SERVICE": filepath.Base(binary),
		"K_REVISION": filepath.Base(binary) + "-00001",
	})), "http://127.0.0.1:" + port
}

// Source makes a source that feeds a function, the counter unless the environment names another, at an address. It gives the
// address of its own metrics.
func Source(t testing.TB, name, binary, redis, sink string, environment map[string]string) (source *Program, url string) {
	t.Helper()
	port := FreePort(t)
	return NewProgram(t, name, binary, with(environment, map[string]string{
		"K_SINK": sink, "FUNCTION": "counter", "REDIS_URL": redis, "METRICS_PORT": port, "LOG_FORMAT": "text",
	})), "http://127.0.0.1:" + port
}

// Feed makes a feed of a block file.
func Feed(t testing.TB, name, binary, database, redis, file string, environment map[string]string) *Program {
	t.Helper()
	return NewProgram(t, name, binary, with(environment, map[string]string{
		"BLOCK_FILES": file, "CHAIN": "bitcoin", "STREAM": Stream, "POSTGRES_URL": database, "REDIS_URL": redis,
		"METRICS_PORT": FreePort(t), "LOG_FORMAT": "text",
	}))
}

// with gives the second environment, and what the first one says beyond or instead of it.
func with(first, second map[string]string) map[string]string {
	all := maps.Clone(second)
	maps.Copy(all, first)
	return all
}

// AwaitReady waits until a program says that it is ready.
func AwaitReady(t testing.TB, url string) {
	t.Helper()
	client := &http.Client{Timeout: 2 * time.Second}
	defer client.CloseIdleConnections()
	deadline := time.Now().Add(30 * time.Second)
	for time.Now().Before(deadline) {
		response, err := client.Get(url + "/readyz") //nolint:noctx // has a timeout
		if err == nil {
			_ = response.Body.Close()
			if response.StatusCode < http.StatusMultipleChoices {
				return
			}
		}
		time.Sleep(2 * time.Millisecond)
	}
	t.Fatalf("%s is not ready after 30 s", url)
}

// Metric gives the value of a program's Prometheus metric for the stream of the sample chain, empty where it has none.
func Metric(t testing.TB, url, name string) string {
	t.Helper()
	client := &http.Client{Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	response, err := client.Get(url + "/metrics") //nolint:noctx // has a timeout
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, name+"{") && strings.Contains(line, `stream="`+Stream+`"`) {
			return strings.TrimSpace(line[strings.LastIndex(line, " "):])
		}
	}
	return ""
}
