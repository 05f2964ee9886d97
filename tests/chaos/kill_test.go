// Package chaos_test breaks everything that can break between a chain and its buckets, which stay exact.
package chaos_test

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/chainmetrics/chainmetrics/tests/harness"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

var (
	seedFlag   = flag.Uint64("seed", 1, "the first seed of the randomness of the chaos")
	roundsFlag = flag.Int("rounds", 1, "loads of the kill test, each with the next seed")
)

func TestMain(m *testing.M) { harness.Main(m) }

// TestKills loads the sample chain while function, source and feed are killed and batches get lost, doubled and mixed up.
// What it leads to must be exactly what an independent computation says, for every metric type, whether a feed appends
// blocks or a producer flat events.
func TestKills(t *testing.T) {
	for _, c := range []struct {
		kind                  string
		blocks, kills, fewest int
		open                  bool
	}{
		{"counter", 8000, 48, 40, false},
		{"gauge", 2500, 15, 11, false},
		{"histogram", 2500, 15, 11, false},
		{"counter", 2500, 10, 8, true},
		{"gauge", 2500, 10, 8, true},
		{"histogram", 2500, 10, 8, true},
	} {
		l := load{
			programs: build(t, c.kind), file: pipeline.Beginning(t, c.blocks), blocks: uint64(c.blocks), entries: 80,
			weights: weights{
				forward: 8, repeated: 1, doubled: 1, raced: 1, overlapped: 1, replayed: 1, unanswered: 1, undelivered: 1,
				abandoned: 1, ahead: 1,
			},
			delay: 20 * time.Millisecond, breaks: 6, drag: time.Millisecond,
			kills: c.kills, limit: 3 * time.Minute, open: c.open,
		}
		expected := pipeline.Expected(t, l.file, c.kind)
		for round := range *roundsFlag {
			l.seed = *seedFlag + uint64(round)
			t.Run(fmt.Sprintf("%s, %s stream, with seed %d", c.kind, l.mode(), l.seed), func(t *testing.T) {
				t.Logf("to repeat: go test ./tests/chaos -run 'TestKills/%s,_%s' -seed %d", c.kind, l.mode(), l.seed)
				begin := time.Now()
				result := l.run(t, expected)
				t.Logf("%d of %d kills hit something; %s; %s",
					result.hits, result.kills, result.summary, time.Since(begin).Round(time.Second))
				if result.unfinished != nil {
					t.Error(result.unfinished)
				}
				if result.differences != "" {
					t.Error(result.differences)
				}
				if result.kills < c.fewest {
					t.Errorf("%d kills, want at least %d", result.kills, c.fewest)
				}
				if result.hits*10 < result.kills*8 {
					t.Errorf("%d of %d kills hit an undelivered batch or an open transaction, want 80 %%", result.hits, result.kills)
				}
			})
		}
	}
}
