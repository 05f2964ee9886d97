package redisstream_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/events/redisstream"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
)

const secret = "s3cret%41" // as it stands in a URL

func TestWrongConfigurations(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		cfg  redisstream.Config
		want string
	}{
		"nothing":            {redisstream.Config{}, "REDIS_URL or REDIS_HOST"},
		"port":               {redisstream.Config{Host: "h", Port: 70000}, "REDIS_PORT"},
		"no URL":             {redisstream.Config{URL: "redis://u:" + secret + "@h:port"}, "REDIS_URL is no URL"},
		"scheme":             {redisstream.Config{URL: "http://u:" + secret + "@h"}, "scheme"},
		"database":           {redisstream.Config{URL: "redis://u:" + secret + "@h/" + "s3cretA"}, "database"},
		"option":             {redisstream.Config{URL: "redis://u:" + secret + "@h?pasword=s3cretA"}, "pasword"},
		"sentinel option":    {redisstream.Config{URL: "redis://h?master_name=m&password=s3cretA&db=s3cretA"}, "database"},
		"cluster scheme":     {redisstream.Config{URL: "http+cluster://u:" + secret + "@h"}, "scheme"},
		"no verification":    {redisstream.Config{URL: "rediss://u:" + secret + "@h?skip_verify=true"}, "REDIS_CA_FILE"},
		"CA without TLS":     {redisstream.Config{Host: "h", Port: 1, Password: "s3cretA", CAFile: empty}, "REDIS_TLS"},
		"TLS and URL":        {redisstream.Config{URL: "redis://u:" + secret + "@h", TLS: true}, "use rediss://"},
		"TLS and cluster":    {redisstream.Config{URL: "redis+cluster://u:" + secret + "@h", TLS: true}, "use rediss://"},
		"TLS and sentinel":   {redisstream.Config{URL: "redis://h?master_name=m", Password: secret, TLS: true}, "use rediss://"},
		"TLS and socket":     {redisstream.Config{URL: "unix:///tmp/redis", Password: secret, TLS: true}, "use rediss://"},
		"missing CA":         {redisstream.Config{URL: "rediss://h", CAFile: empty + "x"}, "REDIS_CA_FILE"},
		"empty CA":           {redisstream.Config{URL: "rediss://h", CAFile: empty}, "no certificate"},
		"client certificate": {redisstream.Config{URL: "rediss://h", CertFile: empty, KeyFile: empty}, "REDIS_CERT_FILE"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := tt.cfg.Validate()
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error is %v, want %q", err, tt.want)
			}
			if strings.Contains(err.Error(), "s3cret") {
				t.Errorf("error shows the password: %v", err)
			}
			if _, err := redisstream.Open(t.Context(), tt.cfg); err == nil {
				t.Error("opened")
			}
		})
	}
}

func TestConfigurationHidesCredentials(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	for _, cfg := range []redisstream.Config{
		{URL: "redis://u:" + secret + "@h"},
		{Host: "h", Port: 6379, Username: "u", Password: secret},
	} {
		slog.New(slog.NewTextHandler(&log, nil)).Info("configuration", "redis", cfg)
		fmt.Fprintf(&log, "%v %+v %#v %s", cfg, cfg, cfg, cfg)
	}
	if strings.Contains(log.String(), "s3cret") {
		t.Errorf("text shows the password: %s", log.String())
	}
}

// TestErrorsHideCredentials uses a server that knows neither the user nor HELLO.
func TestErrorsHideCredentials(t *testing.T) {
	t.Parallel()
	port := startServer(t, "--port", "--requirepass", "another", "--rename-command", "HELLO", "", "--rename-command", "AUTH", "")
	for _, url := range []string{
		fmt.Sprintf("redis://u:%s@127.0.0.1:%d", secret, port),
		fmt.Sprintf("redis://u:%s@127.0.0.1:%d", secret, freePort(t)),
		fmt.Sprintf("redis+cluster://u:%s@127.0.0.1:%d", secret, freePort(t)),
		fmt.Sprintf("redis://u:%s@127.0.0.1:%d?master_name=m&password=s3cretA", secret, port),
	} {
		client := connect(t, redisstream.Config{URL: url})
		_, errRead := client.Read(t.Context(), stream, watermark.Mark{}, wide)
		errAppend := client.Append(t.Context(), stream, events.ID{}, blocks(t, 0, 1, "a"))
		for _, err := range []error{client.Ping(t.Context()), errRead, errAppend} {
			if err == nil || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("error is %v", err)
			}
			t.Log(err)
		}
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	certFile, keyFile := certificate(t, "redis.example")
	otherFile, _ := certificate(t, "redis.example")
	port := startServer(t, "--tls-port", "--port", "0", "--tls-cert-file", certFile, "--tls-key-file", keyFile,
		"--tls-ca-cert-file", certFile, "--tls-auth-clients", "no")
	url := fmt.Sprintf("rediss://127.0.0.1:%d", port)
	good := []redisstream.Config{
		{URL: url, CAFile: certFile, ServerName: "redis.example"},
		{Host: "127.0.0.1", Port: port, TLS: true, CAFile: certFile, ServerName: "redis.example"},
		{URL: url, TLS: true, CAFile: certFile, ServerName: "redis.example"},
	}
	for _, cfg := range good {
		if err := connect(t, cfg).Ping(t.Context()); err != nil {
			t.Error(err)
		}
	}
	bad := map[string]redisstream.Config{
		"unknown authority": {URL: url, ServerName: "redis.example"},
		"other authority":   {URL: url, CAFile: otherFile, ServerName: "redis.example"},
		"other name":        {URL: url, CAFile: certFile},
		"no TLS":            {Host: "127.0.0.1", Port: port},
	}
	for name, cfg := range bad {
		if err := connect(t, cfg).Ping(t.Context()); err == nil {
			t.Errorf("%s: connected", name)
		}
	}
}

// TestAccessControl uses the ACL lines of the package comment, on one server and on a Cluster.
func TestAccessControl(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ scheme, rules string }{"server": {"redis", ""}, "cluster": {"redis+cluster", " +cluster|slots"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var port int
			var plain *redis.Client
			if name == "cluster" {
				port, plain = startCluster(t)
			} else {
				port = startServer(t, "--port")
				plain = redis.NewClient(&redis.Options{Addr: address(port)})
				t.Cleanup(func() { _ = plain.Close() })
			}
			restrict(t, plain, c.rules)
			as := func(user string) *redisstream.Client {
				return connect(t, redisstream.Config{URL: fmt.Sprintf("%s://%s@127.0.0.1:%d", c.scheme, user, port), Password: user})
			}
			tryWithin(t, as("feed"), as("source"))
			tryMending(t, as("archive"))
		})
	}
}

// restrict makes the users source, feed and archive, with their names as passwords, and takes the default user's rights away.
func restrict(t *testing.T, plain *redis.Client, more string) {
	t.Helper()
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	lines := regexp.MustCompile(`(?m)^//\t(~.*)$`).FindAllStringSubmatch(string(text), -1)
	if len(lines) != 3 {
		t.Fatalf("doc.go has %d ACL lines", len(lines))
	}
	for i, user := range []string{"source", "feed", "archive"} {
		command := []any{"acl", "setuser", user, "on", ">" + user}
		for rule := range strings.FieldsSeq(lines[i][1] + more) {
			command = append(command, rule)
		}
		if err := plain.Do(t.Context(), command...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := plain.Do(t.Context(), "acl", "setuser", "default", "off").Err(); err != nil {
		t.Fatal(err)
	}
}

// tryWithin uses what each of two users may, and what the source may not.
func tryWithin(t *testing.T, feed, source *redisstream.Client) {
	t.Helper()
	ctx := t.Context()
	all := blocks(t, 0, 9, "a")
	_, errGroups := feed.Groups(ctx, stream)
	_, errInfo := feed.Info(ctx, stream)
	_, errRange := feed.Range(ctx, stream, events.ID{}, events.ID{}, 10)
	for i, err := range []error{
		feed.Ping(ctx), feed.Announce(ctx, stream), feed.Append(ctx, stream, events.ID{}, all), errGroups, errInfo, errRange,
		feed.Replace(ctx, stream, redisstream.Info{Last: all[9].ID, LastEntry: all[9].ID, Length: 10}, 0, events.ID{}, all),
	} {
		if err != nil {
			t.Errorf("feed %d: %v", i, err)
		}
	}
	names, err := source.Streams(ctx)
	if err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{stream}, names); diff != "" {
		t.Error(diff)
	}
	if _, err := readAll(t, source, watermark.Mark{}, wide); err != nil {
		t.Error(err)
	}
	_, errGroups = source.Groups(ctx, stream)
	for i, err := range []error{
		source.Ping(ctx), source.Wait(ctx, stream, events.ID{}, 1), source.Mirror(ctx, stream, "counter", all[3].ID),
		source.Mirror(ctx, stream, "counter", all[4].ID), errGroups,
	} {
		if err != nil {
			t.Errorf("source %d: %v", i, err)
		}
	}
	if err := source.Append(ctx, stream, all[9].ID, blocks(t, 10, 10, "a")); err == nil {
		t.Error("a source can append")
	}
}

// tryMending uses what the archive may, on a stream of ten blocks.
func tryMending(t *testing.T, archive *redisstream.Client) {
	t.Helper()
	ctx := t.Context()
	_, errTrim := archive.Trim(ctx, stream, events.ID{Minor: 4}, 0)
	_, errLoss := archive.Loss(ctx, stream, watermark.Mark{})
	_, errLacks := archive.Lacks(ctx, stream, events.ID{})
	_, errBack := archive.Back(ctx, stream, events.ID{Minor: 9}, 10)
	_, _, errAtStart := archive.Mend(ctx, stream, watermark.Mark{})
	_, _, errAtEnd := archive.Mend(ctx, stream, watermark.Mark{ID: events.ID{Minor: 20}})
	_, _, errMissing := archive.Mend(ctx, stream+"2", watermark.Mark{ID: events.ID{Minor: 20}})
	for i, err := range []error{errTrim, errLoss, errLacks, errBack, errAtStart, errAtEnd, errMissing} {
		if err != nil {
			t.Errorf("archive %d: %v", i, err)
		}
	}
}

// startCluster starts a Cluster of one.
func startCluster(t *testing.T) (port int, plain *redis.Client) {
	t.Helper()
	port = startServer(t, "--port", "--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1")
	plain = redis.NewClient(&redis.Options{Addr: address(port)})
	t.Cleanup(func() { _ = plain.Close() })
	if err := plain.Do(t.Context(), "cluster", "addslotsrange", 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		info, err := plain.ClusterInfo(t.Context()).Result()
		if err == nil && strings.Contains(info, "cluster_state:ok") {
			return port, plain
		}
		if time.Now().After(deadline) { // it needs a moment to call itself whole
			t.Fatal(info, err)
		}
	}
}

func TestCluster(t *testing.T) {
	t.Parallel()
	port, plain := startCluster(t)
	for _, url := range []string{
		fmt.Sprintf("redis+cluster://127.0.0.1:%d", port),
		fmt.Sprintf("redis://127.0.0.1:%d?addr=127.0.0.1:%d", port, port),
	} {
		plain.FlushAll(t.Context())
		tryEverything(t, connect(t, redisstream.Config{URL: url}))
	}
}

func TestSentinel(t *testing.T) {
	t.Parallel()
	port := startServer(t, "--port", "--requirepass", "password")
	sentinel := startServer(t, "--port", "--sentinel")
	plain := redis.NewClient(&redis.Options{Addr: address(sentinel)})
	t.Cleanup(func() { _ = plain.Close() })
	for _, command := range [][]any{
		{"sentinel", "monitor", "main", "127.0.0.1", port, 1}, {"sentinel", "set", "main", "auth-pass", "password"},
	} {
		if err := plain.Do(t.Context(), command...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	tryEverything(t, connect(t, redisstream.Config{
		URL: fmt.Sprintf("redis://127.0.0.1:%d?master_name=main", sentinel), Password: "password",
	}))
}

// tryEverything uses each command once.
func tryEverything(t *testing.T, client *redisstream.Client) {
	t.Helper()
	ctx := t.Context()
	all := blocks(t, 0, 9, "a")
	if err := client.Append(ctx, stream, events.ID{}, all); err != nil {
		t.Fatal(err)
	}
	if err := client.Replace(ctx, stream, redisstream.Info{Last: all[9].ID, LastEntry: all[9].ID, Length: 10}, 0, events.ID{}, all); err != nil {
		t.Error(err)
	}
	if got, err := readAll(t, client, markAt(all[3]), wide); err != nil || len(got) != 6 {
		t.Errorf("%d deliveries, %v", len(got), err)
	}
	if _, err := client.Read(ctx, "missing", watermark.Mark{}, wide); err != nil {
		t.Error(err)
	}
	if _, err := client.Holes(ctx, stream, markAt(all[3])); err != nil {
		t.Error(err)
	}
	_, errStreams := client.Streams(ctx)
	_, errGroups := client.Groups(ctx, stream)
	for i, err := range []error{
		client.Ping(ctx), client.Announce(ctx, stream), client.Mirror(ctx, stream, "counter", all[3].ID),
		client.Wait(ctx, stream, events.ID{}, 1), errStreams, errGroups,
	} {
		if err != nil {
			t.Errorf("%d: %v", i, err)
		}
	}
}
