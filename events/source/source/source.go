package source

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chainmetrics/chainmetrics/events/redisstream"
)

// Source feeds one function with the streams that it follows. It is a prometheus.Collector.
type Source struct {
	cfg      Config
	redis    *redisstream.Client
	sink     *sink
	log      *slog.Logger
	counters counters
	now      func() time.Time
	found    atomic.Bool // whether Redis has named the streams

	mu        sync.Mutex
	followers map[string]*follower
}

// New makes a source. It fails where the configuration is wrong.
func New(cfg Config, redis *redisstream.Client, log *slog.Logger) (*Source, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	sink, err := newSink(cfg)
	if err != nil {
		return nil, err
	}
	return &Source{
		cfg:       cfg,
		redis:     redis,
		sink:      sink,
		log:       log.With("function", cfg.Function),
		counters:  newCounters(),
		now:       time.Now,
		followers: map[string]*follower{},
	}, nil
}

// Run delivers until ctx ends; then it finishes what is in flight, or gives it up after a grace.
func (s *Source) Run(ctx context.Context) error {
	var followers sync.WaitGroup
	defer s.sink.close()
	defer followers.Wait()
	trouble := newTrouble(s.log, "find streams")
	pause := newBackOff(s.cfg.Recheck)
	for ctx.Err() == nil {
		streams, err := s.streams(ctx)
		trouble.report(ctx, err)
		wait := s.cfg.Recheck
		if err != nil {
			wait = pause.NextBackOff()
		} else {
			pause.Reset()
			s.found.Store(true)
		}
		for _, stream := range streams {
			if f := s.follow(stream); f != nil {
				followers.Go(func() { f.run(ctx) })
			}
		}
		sleep(ctx, wait)
	}
	return nil
}

func (s *Source) streams(ctx context.Context) ([]string, error) {
	if len(s.cfg.Streams) > 0 {
		return s.cfg.Streams, s.redis.Ping(ctx)
	}
	return s.redis.Streams(ctx)
}

// follow gives the follower of a stream that has none yet, otherwise nil.
func (s *Source) follow(stream string) *follower {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.followers[stream] != nil {
		return nil
	}
	f := newFollower(s, stream)
	s.followers[stream] = f
	s.counters.begin(stream)
	return f
}

func (s *Source) followed() []*follower {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.followers))
}

var errNoStreams = errors.New("no answer from Redis to which streams there are")

// Ready tells whether Redis has named the streams to follow.
func (s *Source) Ready() error {
	if !s.found.Load() {
		return errNoStreams
	}
	return nil
}
