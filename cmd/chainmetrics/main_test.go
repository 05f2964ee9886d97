package main_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/events/redisstream"
	"github.com/chainmetrics/chainmetrics/functions/counter/counter"
	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/tests/harness"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) { harness.Main(m) }

const (
	testChain  = "testchain"
	testStream = "blockchain_events:testchain"
)

// operator runs the built command in an environment of its own.
type operator struct {
	binary  string
	folder  string // current directory
	environ []string
}

// result is what a run of the command left.
type result struct {
	out, errors string
	code        int
}

// newOperator has the environment name servers: "postgres", "redis". It works where clocks do not show UTC.
func newOperator(t *testing.T, servers ...string) *operator {
	t.Helper()
	o := &operator{binary: harness.Build(t, "cmd/chainmetrics"), folder: t.TempDir()}
	o.environ = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + o.folder, "TZ=Asia/Tokyo"}
	for _, server := range servers {
		switch server {
		case "postgres":
			o.environ = append(o.environ, "POSTGRES_URL="+harness.Database(t))
		case "redis":
			o.environ = append(o.environ, "REDIS_URL="+harness.Redis(t))
		default:
			t.Fatalf("no server %q", server)
		}
	}
	return o
}

func (o *operator) variable(name string) string {
	for _, variable := range o.environ {
		if value, found := strings.CutPrefix(variable, name+"="); found {
			return value
		}
	}
	return ""
}

func (o *operator) run(t *testing.T, args ...string) result {
	t.Helper()
	return o.answer(t, "", args...)
}

// answer runs the command with text on its standard input.
func (o *operator) answer(t *testing.T, input string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, o.binary, args...)
	cmd.Dir, cmd.Env = o.folder, o.environ
	cmd.Stdin = strings.NewReader(input)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("run chainmetrics %s: %v", strings.Join(args, " "), err)
	}
	return result{out: out.String(), errors: complaints.String(), code: cmd.ProcessState.ExitCode()}
}

// must runs the command and fails the test where it does not succeed.
func (o *operator) must(t *testing.T, args ...string) string {
	t.Helper()
	r := o.run(t, args...)
	if r.code != 0 {
		t.Fatalf("chainmetrics %s: exit status %d\n%s", strings.Join(args, " "), r.code, r.errors)
	}
	return r.out
}

// refused runs the command and fails the test unless its exit status and standard error are as wanted.
func (o *operator) refused(t *testing.T, code int, want string, args ...string) {
	t.Helper()
	r := o.run(t, args...)
	if r.code != code {
		t.Errorf("chainmetrics %s: exit status %d, want %d", strings.Join(args, " "), r.code, code)
	}
	if diff := cmp.Diff(want, r.errors); diff != "" {
		t.Errorf("chainmetrics %s: standard error differs (-want +got):\n%s", strings.Join(args, " "), diff)
	}
	if r.out != "" {
		t.Errorf("chainmetrics %s: standard output is not empty:\n%s", strings.Join(args, " "), r.out)
	}
}

func file(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// golden compares text with a golden file.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "golden", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", name, diff)
	}
}

// store opens the operator's Postgres.
func (o *operator) store(t *testing.T) *postgres.Store {
	t.Helper()
	cfg := postgres.Config{
		URL: o.variable("POSTGRES_URL"), PoolSize: 2,
		ConnectTimeout: time.Second, StatementTimeout: 30 * time.Second, LockTimeout: 5 * time.Second,
		IdleTimeout: 5 * time.Second, TCPTimeout: 15 * time.Second,
	}
	store, err := postgres.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	return store
}

// redis opens the operator's Redis.
func (o *operator) redis(t *testing.T) *redisstream.Client {
	t.Helper()
	client, err := redisstream.Open(t.Context(), redisstream.Config{URL: o.variable("REDIS_URL")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	return client
}

// chain makes the entries of the first blocks of a chain, one a day from 27 February 2024, with two transfers each.
func chain(t *testing.T, count uint64) []events.Entry {
	t.Helper()
	var entries []events.Entry
	for number := range count {
		at := time.Date(2024, 2, 27+int(number), 23, 30, 0, 0, time.UTC)
		block := events.Block{
			Chain: testChain, Number: number, Hash: blockHash(number), ParentHash: blockHash(number - 1), Time: at,
			Fields: map[string]any{"number": number, "hash": blockHash(number), "timestamp": at.Unix()},
			Events: []any{
				map[string]any{"type": "transfer", "kind": "normal", "from": "alice", "value": 100_000_000 * (number + 1)},
				map[string]any{"type": "transfer", "kind": "odd, \"quoted\"", "from": "bob", "value": 1},
			},
		}
		entry, err := events.NewBlockEntry(events.ID{Minor: number + 1}, block, at.Add(time.Second))
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, entry)
	}
	return entries
}

func blockHash(number uint64) string { return fmt.Sprintf("%064x", number+1000) }

// deliver has the counter function apply the first entries of the stream as a source would deliver them.
func (o *operator) deliver(t *testing.T, entries []events.Entry) {
	t.Helper()
	o.deliverTo(t, counter.Type{}, entries)
}

func (o *operator) deliverTo(t *testing.T, kind aggregate.Type, entries []events.Entry) {
	t.Helper()
	batch := make([]events.Delivery, len(entries))
	var after events.ID
	for i, entry := range entries {
		batch[i] = events.NewDelivery(testStream, entry, after)
		after = entry.ID
	}
	if _, _, err := aggregate.NewFunction(kind, o.store(t)).Apply(t.Context(), testStream, batch); err != nil {
		t.Fatal(err)
	}
}

// feed appends entries as a feed would.
func (o *operator) feed(t *testing.T, after events.ID, entries []events.Entry) {
	t.Helper()
	client, store := o.redis(t), o.store(t)
	stream := postgres.Stream{Name: testStream, Mode: postgres.ModeFeed, Chain: testChain}
	if err := store.RegisterStream(t.Context(), stream); err != nil {
		t.Fatal(err)
	}
	if err := client.Announce(t.Context(), testStream); err != nil {
		t.Fatal(err)
	}
	if err := client.Append(t.Context(), testStream, after, entries); err != nil {
		t.Fatal(err)
	}
}
