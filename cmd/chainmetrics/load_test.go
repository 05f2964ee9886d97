package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chainmetrics/chainmetrics/cmd/chainmetrics/supervisor"
	"github.com/chainmetrics/chainmetrics/cmd/chainmetrics/wiring"
)

func TestFedStreamIsTheFeeds(t *testing.T) {
	t.Parallel()
	for want, environment := range map[string][]string{
		"blockchain_events:bitcoin":  nil,
		"blockchain_events:litecoin": {"CHAIN=litecoin"},
		"mine":                       {"CHAIN=bitcoin", "STREAM=mine"},
	} {
		if got := fedStream(wiring.Process{Environ: environment}); got != want {
			t.Errorf("the stream of a feed with %q is %s, want %s", environment, got, want)
		}
	}
}

// feeding is the load of a feed that is a shell script, and the port that it should serve on.
func feeding(t *testing.T, script string) (l *loading, port int) {
	t.Helper()
	program, err := filepath.Abs(filepath.Join("testdata", "program"))
	if err != nil {
		t.Fatal(err)
	}
	feed := filepath.Join(t.TempDir(), "feed")
	if err := errors.Join(os.Symlink(program, feed), os.WriteFile(feed+".sh", []byte(script), 0o600)); err != nil {
		t.Fatal(err)
	}
	ports, err := freePorts(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	process := supervisor.Process{Name: "feed", Path: feed, Env: os.Environ(), Log: feed + ".log"}
	child := supervisor.Start(process, func(supervisor.Exit) {})
	t.Cleanup(func() {
		if err := child.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	for child.PID() == 0 { // until it has started
		time.Sleep(time.Millisecond)
	}
	return &loading{system: &localSystem{
		flags: upFlags{once: true}, wiring: &wiring.Wiring{Feed: wiring.Process{Name: "feed"}}, feed: child,
		ports: map[string]int{"feed": ports[0]},
	}}, ports[0]
}

func TestAFeedReadsUntilItServes(t *testing.T) {
	t.Parallel()
	l, port := feeding(t, "exec sleep 60")
	if l.fed(t.Context()); !l.reading {
		t.Error("a feed that does not serve yet is not seen to read")
	}
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", fmt.Sprintf("%s:%d", loopback, port))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintln(w, "chainmetrics_feed_tip_height 7") // the test fails without
	})}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	if l.fed(t.Context()); l.reading {
		t.Error("a feed that serves is said to read")
	}
	if err := server.Close(); err != nil {
		t.Error(err)
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
	if l.fed(t.Context()); l.reading {
		t.Error("a feed that has served and does not answer is said to read")
	}
}

// TestAFeedThatDiesDoesNotRead keeps a feed that never comes to serve from being waited for without end.
func TestAFeedThatDiesDoesNotRead(t *testing.T) {
	t.Parallel()
	l, _ := feeding(t, "[ -e \"$0.died\" ] && exec sleep 60\nsleep 0.5\n: >\"$0.died\"\nexit 1")
	l.fed(t.Context())
	first := l.run
	for l.system.feed.PID() == first || l.system.feed.PID() == 0 {
		time.Sleep(10 * time.Millisecond)
	}
	if l.fed(t.Context()); first == 0 || l.reading {
		t.Errorf("a feed that has died after process %d is said to read", first)
	}
}
