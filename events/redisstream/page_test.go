package redisstream_test

import (
	"bytes"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/events/redisstream"
	"github.com/chainmetrics/chainmetrics/shared/watermark"
	"github.com/chainmetrics/chainmetrics/tests/harness"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// wire stands between a client and Redis, and counts what goes through.
type wire struct {
	mu      sync.Mutex
	fetched int64 // bytes from Redis
	ranges  int   // XRANGE commands to it
	before  func(n int)
}

// startWire gives the address of a wire to a server.
func startWire(t *testing.T, server string) (w *wire, address string) {
	t.Helper()
	to, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	network, at := "tcp", to.Host
	if to.Scheme == "unix" {
		network, at = "unix", to.Path
	}
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w = &wire{}
	var connections sync.WaitGroup
	t.Cleanup(func() {
		_ = listener.Close()
		connections.Wait()
	})
	connections.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			redis, err := new(net.Dialer).DialContext(t.Context(), network, at)
			if err != nil {
				t.Error(err)
				_ = client.Close()
				return
			}
			connections.Go(func() { w.pass(redis, client, w.commands) })
			connections.Go(func() { w.pass(client, redis, w.answers) })
		}
	})
	return w, "redis://" + listener.Addr().String()
}

func (w *wire) pass(to, from net.Conn, note func([]byte)) {
	defer func() { _, _ = to.Close(), from.Close() }()
	data := make([]byte, 64<<10)
	for {
		n, err := from.Read(data)
		note(data[:n])
		if _, errWrite := io.Copy(to, bytes.NewReader(data[:n])); err != nil || errWrite != nil {
			return
		}
	}
}

func (w *wire) commands(data []byte) {
	for range bytes.Count(bytes.ToUpper(data), []byte("XRANGE")) {
		w.mu.Lock()
		w.ranges++
		n, before := w.ranges, w.before
		w.mu.Unlock()
		if before != nil {
			before(n)
		}
	}
}

func (w *wire) answers(data []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fetched += int64(len(data))
}

// reset gives what was counted since it was called last.
func (w *wire) reset() (fetched int64, ranges int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fetched, ranges = w.fetched, w.ranges
	w.fetched, w.ranges = 0, 0
	return fetched, ranges
}

// TestReadFetchesLittle has entries that grow to a thousand times their size.
func TestReadFetchesLittle(t *testing.T) {
	t.Parallel()
	server := harness.Redis(t)
	w, address := startWire(t, server)
	feed, client := connect(t, redisstream.Config{URL: server}), connect(t, redisstream.Config{URL: address})
	const small, large = 1 << 10, 1 << 20
	var all []events.Entry
	for n := range uint64(560) {
		size := small
		if n >= 500 {
			size = large
		}
		entry := flat(id(n+1), strings.Repeat("x", size))
		if err := feed.Append(t.Context(), stream, id(n), []events.Entry{entry}); err != nil {
			t.Fatal(err)
		}
		all = append(all, entry)
	}
	limit := redisstream.Limit{Count: 500, Bytes: 4 << 20}
	var mark watermark.Mark
	for seen, reads := 0, 0; seen < len(all); reads++ {
		w.reset()
		batch, err := client.Read(t.Context(), stream, mark, limit)
		if err != nil || len(batch) == 0 {
			t.Fatalf("after %d entries: %v", seen, err)
		}
		if fetched, _ := w.reset(); fetched > 5*limit.Bytes {
			t.Errorf("%d bytes fetched for %d entries after %d", fetched, len(batch), seen)
		}
		if reads > 40 {
			t.Fatalf("%d reads for %d entries", reads, seen)
		}
		seen += len(batch)
		mark = markAt(all[seen-1])
	}
}

// TestReadInOnePage has entries of about one size, as most streams do.
func TestReadInOnePage(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]redisstream.Limit{
		"count": {Count: 100, Bytes: 4 << 20}, "bytes": {Count: 500, Bytes: 100 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := harness.Redis(t)
			w, address := startWire(t, server)
			client := connect(t, redisstream.Config{URL: address})
			var all []events.Entry
			for n := range uint64(1000) {
				all = append(all, flat(id(n+1), strings.Repeat("x", int(500+n%7*100))))
			}
			if err := client.Append(t.Context(), stream, events.ID{}, all); err != nil {
				t.Fatal(err)
			}
			var mark watermark.Mark
			for seen, reads := 0, 0; seen < len(all); reads++ {
				w.reset()
				batch, err := client.Read(t.Context(), stream, mark, limit)
				if err != nil || len(batch) == 0 {
					t.Fatalf("after %d entries: %v", seen, err)
				}
				if _, ranges := w.reset(); reads > 0 && ranges != 1 {
					t.Errorf("read %d of %d entries in %d pages", reads, len(batch), ranges)
				}
				seen += len(batch)
				mark = markAt(all[seen-1])
			}
		})
	}
}

// TestLossBetweenPages loses an entry after the first page of a read was fetched.
func TestLossBetweenPages(t *testing.T) {
	t.Parallel()
	for name, lost := range map[string]string{
		"in the next page": "0-30", "in the one after it": "0-90", "in the first page": "0-8",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := harness.Redis(t)
			w, address := startWire(t, server)
			client, plain := connect(t, redisstream.Config{URL: address}), pipeline.Redis(t, server)
			var all []events.Entry
			for n := range uint64(200) {
				all = append(all, flat(id(n+1), "memo"))
			}
			if err := client.Append(t.Context(), stream, events.ID{}, all); err != nil {
				t.Fatal(err)
			}
			w.mu.Lock()
			w.before = func(n int) {
				if n == 2 {
					plain.XDel(t.Context(), stream, lost)
				}
			}
			w.mu.Unlock()
			batch, err := client.Read(t.Context(), stream, markAt(all[4]), wide)
			if err != nil || len(batch) != 16 {
				t.Errorf("read %d entries, want those of the first page: %v", len(batch), err)
			}
			if _, ranges := w.reset(); ranges < 2 {
				t.Error("read in one page")
			}
			if lost != "0-8" {
				wantLoss(t, client, markAt(all[20]), "entry "+lost+" was deleted")
			}
		})
	}
}
