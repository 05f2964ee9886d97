package chaos_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/chainmetrics/chainmetrics/tests/harness"
	"github.com/chainmetrics/chainmetrics/tests/oracle"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// mutants are mistakes in what makes loads exact, each with chaos that is aimed at it.
var mutants = map[string]struct {
	mutant
	chaos load
}{
	"watermark moved outside the transaction": {
		mutant{
			pkg: "functions/counter", file: "shared/postgres/turn.go",
			edits: []edit{{`	batch.Queue(moveWatermark, t.function, t.stream, done.mark.ID.String(), done.mark.Hash, lowWaterOf(done.low))
	batch.Queue("commit")
	if err := conn.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
`, `	batch.Queue("commit")
	if err := conn.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	_, err := conn.Exec(ctx, moveWatermark, t.function, t.stream, done.mark.ID.String(), done.mark.Hash, lowWaterOf(done.low))
	return err
`}},
		},
		load{weights: weights{forward: 1}, breaks: 40, kills: 8},
	},
	"overlapping batch applied whole": {
		mutant{
			pkg: "functions/counter", file: "shared/watermark/watermark.go",
			edits: []edit{{"return batch[i:], nil", "return batch, nil"}},
		},
		load{weights: weights{forward: 2, overlapped: 1, raced: 1}, kills: 5},
	},
	"applied by id alone": {
		mutant{
			pkg: "functions/counter", file: "shared/watermark/watermark.go",
			edits: []edit{{"		if d.Predecessor == m.ID {", "		if d.ID.Compare(m.ID) > 0 {"}, {
				`m.Hash != before && (i > 0 || before != "") {`, "i > 0 && m.ID == batch[i-1].ID && m.Hash != before {",
			}},
		},
		load{weights: weights{forward: 2, ahead: 1}},
	},
	"row lock removed": {
		mutant{
			pkg: "functions/counter", file: "shared/postgres/sql/lock_watermark.sql",
			edits: []edit{{"for update", ""}},
		},
		load{weights: weights{forward: 1, raced: 2}, drag: 3 * time.Millisecond, kills: 5},
	},
	"predecessor not compared": {
		mutant{
			pkg: "events/source", file: "events/redisstream/read.go",
			edits: []edit{{`if reason := check(mark, v); reason != "" {`, `if reason := check(mark, v); reason != "" && false {`}},
		},
		load{weights: weights{forward: 1}, losses: true},
	},
}

// TestMutants sees that the chaos notices these mistakes in streams of both modes, and that it finds nothing in programs
// without them, which TestKills sees for open streams.
func TestMutants(t *testing.T) {
	const blocks = 1500
	whole := build(t, "counter")
	file := pipeline.Beginning(t, blocks)
	expected := pipeline.Expected(t, file, "counter")
	for name, m := range mutants {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mistaken := whole
			switch binary := m.build(t); m.pkg {
			case "functions/counter":
				mistaken.function = binary
			case "events/source":
				mistaken.source = binary
			}
			l := m.chaos
			l.file, l.blocks, l.entries = file, blocks, 40
			l.catch(t, whole, mistaken, expected)
			if l.open = !l.losses; l.open { // what an open stream loses, nobody can put up again
				l.catch(t, whole, mistaken, expected)
			}
		})
	}
}

// catch tries seeds until the mutant is found out, which programs without mistake never are in a feed's stream.
func (l load) catch(t *testing.T, whole, mistaken programs, expected map[oracle.Key]oracle.Value) {
	t.Helper()
	const seeds = 20
	for l.seed = *seedFlag; l.seed < *seedFlag+seeds; l.seed++ {
		if !l.open {
			l.programs, l.limit = whole, time.Minute
			if result := l.try(t, "whole", expected); result.unfinished != nil || result.differences != "" {
				t.Fatalf("seed %d finds a mistake where there is none: %v\n%s\n%s", l.seed, result.unfinished, result.differences, result.summary)
			}
		}
		l.programs, l.limit = mistaken, 20*time.Second // one that hangs is not counted as caught
		if result := l.try(t, "mutant", expected); result.unfinished == nil && result.differences != "" {
			t.Logf("caught in a stream of mode %s with seed %d: %s\n%.500s", l.mode(), l.seed, result.summary, result.differences)
			return
		}
	}
	t.Errorf("not caught in a stream of mode %s with the seeds %d to %d", l.mode(), *seedFlag, *seedFlag+seeds-1)
}

// try carries a load out in a test of its own, which ends everything that was started for it.
func (l load) try(t *testing.T, name string, expected map[oracle.Key]oracle.Value) (result outcome) {
	t.Helper()
	t.Run(fmt.Sprintf("%s, %s stream, with seed %d", name, l.mode(), l.seed), func(t *testing.T) { result = l.run(t, expected) })
	return result
}

// build builds the programs as they are, with the function of a metric type.
func build(t *testing.T, kind string) programs {
	t.Helper()
	return programs{
		function: harness.Build(t, "functions/"+kind),
		source:   harness.Build(t, "events/source"),
		feed:     harness.Build(t, "events/feed"),
	}
}
