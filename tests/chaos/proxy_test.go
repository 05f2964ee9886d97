package chaos_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/receiver"
)

// fate is what becomes of a batch on its way to the function.
type fate int

const (
	forward     fate = iota + 1
	repeated         // twice, one after the other
	doubled          // at once to both instances
	raced            // at once: whole to one instance, its first half to the other
	overlapped       // together with the end of the batch before
	replayed         // and an old batch again, some time later
	unanswered       // applied, then 502
	undelivered      // 502 at once
	abandoned        // 502 at once, applied some time later
	ahead            // its second half first, to one instance; then whole to the other
)

var fateNames = [...]string{
	forward: "forwarded", repeated: "repeated", doubled: "doubled", raced: "raced", overlapped: "overlapped",
	replayed: "replayed", unanswered: "unanswered", undelivered: "undelivered", abandoned: "abandoned",
	ahead: "ahead of itself",
}

func (f fate) String() string { return fateNames[f] }

// weights says how often each fate befalls a batch.
type weights [ahead + 1]int

func (w weights) String() string {
	var counted []string
	for f := forward; f <= ahead; f++ {
		if w[f] > 0 {
			counted = append(counted, fmt.Sprintf("%d %s", w[f], f))
		}
	}
	return strings.Join(counted, ", ")
}

// flight is a batch that a source has sent and that is not answered yet.
type flight struct {
	batch string // what it holds
	fate  fate
	begin time.Time
}

func (f flight) String() string {
	return fmt.Sprintf("%s (%s for %s)", f.batch, f.fate, time.Since(f.begin).Round(time.Millisecond))
}

// proxy stands between the sources and the instances of a function. It does to batches what networks, retries and
// rolling updates do.
type proxy struct {
	instances []string // URLs
	weights   weights
	delay     time.Duration // the longest
	dice      *dice
	server    *httptest.Server
	client    *http.Client
	late      sync.WaitGroup // what is sent later
	held      sync.RWMutex   // locked while no batch may be answered

	mu       sync.Mutex
	number   int
	flights  map[int]flight
	fates    weights             // how often each has come
	old      [][]json.RawMessage // batches, the newest last
	applied  events.ID           // the highest watermark that was answered
	statuses map[int]int
}

// startProxy serves until the test ends.
func startProxy(t *testing.T, dice *dice, w weights, delay time.Duration, instances ...string) *proxy {
	t.Helper()
	p := &proxy{
		instances: instances, weights: w, delay: delay, dice: dice,
		client:  &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 16}},
		flights: map[int]flight{}, statuses: map[int]int{},
	}
	p.server = httptest.NewServer(p)
	t.Cleanup(p.close)
	return p
}

// close ends when everything that was to be sent later has been sent.
func (p *proxy) close() {
	p.server.Close()
	p.late.Wait()
	p.client.CloseIdleConnections()
}

// hold gives the batches that are not answered yet. None is until release is called.
func (p *proxy) hold() (flights []flight, release func()) {
	p.held.Lock()
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Collect(maps.Values(p.flights)), p.held.Unlock
}

// watermark gives the highest one that the function has answered.
func (p *proxy) watermark() events.ID {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.applied
}

// summary counts fates and answers.
func (p *proxy) summary() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return fmt.Sprintf("batches: %s; answers of the function: %v", p.fates, p.statuses)
}

// ServeHTTP passes everything on to one instance, but for batches, which meet their fates.
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the source was killed
	}
	var batch []json.RawMessage
	if r.Method != http.MethodPost || json.Unmarshal(body, &batch) != nil || len(batch) == 0 {
		p.send(r, body, p.dice.below(len(p.instances))).write(w)
		return
	}
	number, f, old := p.begin(batch)
	p.wait(p.delay)
	a := p.deliver(f, r, body, batch, old)
	p.held.RLock()
	defer p.held.RUnlock()
	p.end(number)
	a.write(w)
}

// begin throws the dice for a batch.
func (p *proxy) begin(batch []json.RawMessage) (number int, f fate, old [][]json.RawMessage) {
	f = p.dice.fate(p.weights)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.number++
	p.fates[f]++
	p.flights[p.number] = flight{batch: describe(batch), fate: f, begin: time.Now()}
	old = slices.Clone(p.old)
	p.old = append(p.old, batch)
	p.old = p.old[max(0, len(p.old)-40):]
	return p.number, f, old
}

func (p *proxy) end(number int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.flights, number)
}

func (p *proxy) deliver(f fate, r *http.Request, body []byte, batch []json.RawMessage, old [][]json.RawMessage) answer {
	one := p.dice.below(len(p.instances))
	other := len(p.instances) - 1 - one
	switch f {
	case forward:
		return p.send(r, body, one)
	case repeated:
		p.send(r, body, one)
		return p.send(r, body, other)
	case doubled:
		return p.both(r, body, body, one, other)
	case raced:
		return p.both(r, body, encode(batch[:(len(batch)+1)/2]), one, other)
	case ahead:
		if half := batch[len(batch)/2:]; len(half) < len(batch) {
			p.send(r, encode(half), other)
		}
		return p.send(r, body, one)
	case overlapped:
		return p.send(r, encode(overlap(old, batch)), one)
	case replayed:
		if len(old) > 0 {
			p.later(r, encode(old[p.dice.below(len(old))]))
		}
		return p.send(r, body, one)
	case unanswered:
		p.send(r, body, one)
	case abandoned:
		p.later(r, body)
	case undelivered:
	}
	return answer{status: http.StatusBadGateway}
}

// both sends two bodies at once, and gives the answer to the first.
func (p *proxy) both(r *http.Request, body, second []byte, one, other int) answer {
	var beside sync.WaitGroup
	beside.Go(func() { p.send(r, second, other) })
	first := p.send(r, body, one)
	beside.Wait()
	return first
}

// later sends a body after some time, whatever becomes of the request that r is.
func (p *proxy) later(r *http.Request, body []byte) {
	instance := p.dice.below(len(p.instances))
	r = r.Clone(context.WithoutCancel(r.Context()))
	p.late.Go(func() {
		p.wait(8 * p.delay)
		p.send(r, body, instance)
	})
}

func (p *proxy) wait(longest time.Duration) { time.Sleep(p.dice.duration(longest)) }

// answer is what the function, or the network in its place, has answered.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) write(w http.ResponseWriter) {
	maps.Copy(w.Header(), a.header)
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body) // where the source was killed it does not want the answer
}

// send sends a request to an instance or, where that one is down, to another. A request that breaks off is a 502.
func (p *proxy) send(r *http.Request, body []byte, instance int) answer {
	for try := range p.instances {
		a, err := p.sendTo(r, body, p.instances[(instance+try)%len(p.instances)])
		if err == nil {
			return a
		}
		if !strings.Contains(err.Error(), "connection refused") {
			break
		}
	}
	return answer{status: http.StatusBadGateway}
}

func (p *proxy) sendTo(r *http.Request, body []byte, instance string) (a answer, err error) {
	// A killed source breaks off its request, which may reach the function all the same.
	ctx := context.WithoutCancel(r.Context())
	request, err := http.NewRequestWithContext(ctx, r.Method, instance+r.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	request.Header = r.Header.Clone()
	response, err := p.client.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = response.Body.Close() }()
	a = answer{status: response.StatusCode, header: response.Header.Clone()}
	a.header.Del("Content-Length")
	if a.body, err = io.ReadAll(response.Body); err != nil {
		return answer{}, err
	}
	p.note(a)
	return a, nil
}

// note remembers how far the function has come.
func (p *proxy) note(a answer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.statuses[a.status]++
	id, err := events.ParseID(a.header.Get(receiver.HeaderWatermark))
	if err == nil && a.status == http.StatusNoContent && id.Compare(p.applied) > 0 {
		p.applied = id
	}
}

// place is what names an entry within a CloudEvent.
type place struct {
	ID          string `json:"id"`
	Sequence    string `json:"sequence"`
	Predecessor string `json:"predecessor"`
}

func placeOf(ce json.RawMessage) place {
	var at place
	_ = json.Unmarshal(ce, &at) // what is none has no place
	return at
}

func describe(batch []json.RawMessage) string {
	return placeOf(batch[0]).ID + ".." + placeOf(batch[len(batch)-1]).ID
}

// overlap gives a batch with the second half of the batch before it, where one is known.
func overlap(old [][]json.RawMessage, batch []json.RawMessage) []json.RawMessage {
	for _, before := range slices.Backward(old) {
		if placeOf(before[len(before)-1]).Sequence == placeOf(batch[0]).Predecessor {
			return slices.Concat(before[len(before)/2:], batch)
		}
	}
	return batch
}

func encode(batch []json.RawMessage) []byte {
	body, err := json.Marshal(batch)
	if err != nil {
		panic(err) // what was decoded can be encoded
	}
	return body
}

// dice are the seeded randomness of a run.
type dice struct {
	mu     sync.Mutex
	random *rand.Rand
}

func newDice(seed uint64) *dice {
	return &dice{random: rand.New(rand.NewPCG(seed, seed))}
}

// below gives a number from 0 to n-1.
func (d *dice) below(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.random.IntN(n)
}

// duration gives one from 0 to the longest.
func (d *dice) duration(longest time.Duration) time.Duration {
	return time.Duration(d.below(int(longest) + 1))
}

func (d *dice) fate(w weights) fate {
	total := 0
	for _, weight := range w {
		total += weight
	}
	n := d.below(total)
	for f := forward; f <= ahead; f++ {
		if n -= w[f]; n < 0 {
			return f
		}
	}
	panic("fate: weights are negative")
}
