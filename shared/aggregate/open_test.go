package aggregate_test

import (
	"context"
	"testing"
	"time"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/functions/counter/counter"
	"github.com/chainmetrics/chainmetrics/shared/aggregate"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
	"github.com/chainmetrics/chainmetrics/tests/harness"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

const archived = `insert into stream_watermarks (function, stream, entry_id, content_hash) values ('archive', '` + stream + `', $1, 'h')
	on conflict (function, stream) do update set entry_id = excluded.entry_id`

// TestNothingIsAppliedThatTheArchiveLacks, where the archive takes part in an open stream. A function is given entries 3 to 7 after
// it has applied 2.
func TestNothingIsAppliedThatTheArchiveLacks(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		mode    string
		archive string // its watermark; empty: there is none
		detach  bool
		mark    uint64 // afterwards
	}{
		"archived":             {mode: postgres.ModeOpen, archive: "0-7", mark: 7},
		"archived further":     {mode: postgres.ModeOpen, archive: "1-0", mark: 7},
		"archived in part":     {mode: postgres.ModeOpen, archive: "0-5", mark: 5},
		"not archived":         {mode: postgres.ModeOpen, archive: "0-2", mark: 2},
		"ahead of the archive": {mode: postgres.ModeOpen, archive: "0-1", mark: 2},
		"nothing archived yet": {mode: postgres.ModeOpen, archive: "0-0", mark: 2},
		"no archive":           {mode: postgres.ModeOpen, mark: 7},
		"a detached archive":   {mode: postgres.ModeOpen, archive: "0-2", detach: true, mark: 7},
		"a feed's stream":      {mode: postgres.ModeFeed, archive: "0-2", mark: 7},
		"not registered":       {archive: "0-2", mark: 7},
	}
	all := make([]events.Delivery, 7)
	for i := range all {
		all[i] = transfer(uint64(i+1), 1)
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := harness.Database(t)
			store, database := pipeline.Store(t, url), pipeline.Database(t, url)
			pipeline.Apply(t, store, "test.yaml", []byte(count))
			function := aggregate.NewFunction(counter.Type{}, store)
			apply(t, function, 2, all[:2]...)
			if tt.mode != "" { // the function learns of it
				of := postgres.Stream{Name: stream, Mode: tt.mode, Chain: "testchain"}
				if err := store.RegisterStream(t.Context(), of); err != nil {
					t.Fatal(err)
				}
			}
			if tt.archive != "" {
				if _, err := database.Exec(t.Context(), archived, tt.archive); err != nil {
					t.Fatal(err)
				}
			}
			if tt.detach {
				if err := store.Detach(t.Context(), "archive"); err != nil {
					t.Fatal(err)
				}
			}
			mark, applied, err := function.Apply(t.Context(), stream, all[1:])
			if err != nil || mark.ID.Minor != tt.mark || applied != int(tt.mark)-2 {
				t.Errorf("%d entries up to %s, %v, want up to 0-%d", applied, mark.ID, err, tt.mark)
			}
			if stored := pipeline.Watermark(t, database, "counter", stream); stored.Minor != tt.mark {
				t.Errorf("it stands at %s, want 0-%d", stored, tt.mark)
			}
			sum := 0
			for _, row := range rows(t, store, "transfer_count", bucket.Daily) {
				n, _ := row.Value.Int64()
				sum += int(n)
			}
			if sum != int(tt.mark) {
				t.Errorf("%d entries are counted, want %d", sum, tt.mark)
			}
		})
	}
}

// TestABatchWaitsForTheArchive, which has it soon, without being given again.
func TestABatchWaitsForTheArchive(t *testing.T) {
	t.Parallel()
	url := harness.Database(t)
	store, database := pipeline.Store(t, url), pipeline.Database(t, url)
	if err := store.RegisterStream(t.Context(), postgres.Stream{Name: stream, Mode: postgres.ModeOpen}); err != nil {
		t.Fatal(err)
	}
	archive := func(ctx context.Context, entry string) {
		if _, err := database.Exec(ctx, archived, entry); err != nil {
			t.Error(err)
		}
	}
	archive(t.Context(), "0-1")
	done := make(chan struct{})
	go func() {
		defer close(done)
		time.Sleep(30 * time.Millisecond)
		archive(t.Context(), "0-2")
	}()
	apply(t, aggregate.NewFunction(counter.Type{}, store), 2, transfer(1, 1), transfer(2, 1))
	<-done
}
