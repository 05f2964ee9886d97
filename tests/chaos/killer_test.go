package chaos_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// victim is a program that may be killed at any moment.
type victim struct {
	*pipeline.Program
	weight   int  // how often it is chosen
	function bool // it has transactions
}

// killer sends SIGKILL to victims, at moments that are spread over a load at random, and starts them again.
type killer struct {
	victims  []victim
	proxy    *proxy
	database *pgxpool.Pool
	applied  func() uint64                         // entries that the function has answered for
	appended func(context.Context) (uint64, error) // entries of the stream
	dice     *dice
	pause    time.Duration // the longest until a victim is started again
	restarts sync.WaitGroup

	kills, hits int // all, and those which met a batch that was not delivered or an open transaction
}

// moments gives n heights at which to kill, sorted, in the part of a load in which all programs work.
func moments(dice *dice, n int, blocks uint64) []uint64 {
	heights := make([]uint64, n)
	from, to := int(blocks/100), int(blocks-blocks/20)
	for i := range heights {
		heights[i] = uint64(from + dice.below(to-from))
	}
	slices.Sort(heights)
	return heights
}

// run kills at each of the moments, some milliseconds after the function has come to that height. It ends early with ctx.
func (k *killer) run(ctx context.Context, t *testing.T, moments []uint64) {
	t.Helper()
	defer k.restarts.Wait()
	for _, height := range moments {
		for k.applied() < height {
			if !sleep(ctx, 2*time.Millisecond) {
				return
			}
		}
		if !sleep(ctx, k.dice.duration(15*time.Millisecond)) {
			return
		}
		k.kill(ctx, t, height)
	}
}

// kill kills one of those that run, and starts it again after a pause.
func (k *killer) kill(ctx context.Context, t *testing.T, height uint64) {
	t.Helper()
	v, ok := k.choose()
	for ; !ok; v, ok = k.choose() { // all of them are about to be started again
		if !sleep(ctx, 5*time.Millisecond) {
			return
		}
	}
	flights, transactions, release := k.lurk(ctx, t, v)
	err := v.Kill()
	release()
	if err != nil {
		t.Error(err)
		return
	}
	k.kills++
	if len(flights) > 0 || len(transactions) > 0 {
		k.hits++
	}
	t.Logf("kill %2d, %-10s at block %5d, lag %4d, not delivered: %s, open transactions: %s",
		k.kills, v.Name+",", height, k.lag(ctx, t), list(flights), list(transactions))
	k.restarts.Go(func() {
		sleep(ctx, k.dice.duration(k.pause))
		if err := v.Start(); err != nil {
			t.Error(err)
		}
	})
}

// lurk waits a while for a good moment: a transaction of the function, or a batch on its way. Some kills come at any time.
// It gives what it has seen, which lasts until release is called: no batch is answered before.
func (k *killer) lurk(ctx context.Context, t *testing.T, v victim) (flights []flight, transactions []string, release func()) {
	t.Helper()
	good := func() bool { return len(flights) > 0 }
	switch n := k.dice.below(24); {
	case n == 0:
		good = func() bool { return true }
	case n <= 10 && v.function:
		good = func() bool { return slices.Contains(transactions, v.Name) }
	}
	for try := 0; ; try++ {
		flights, release = k.proxy.hold()
		transactions = k.transactions(ctx, t)
		if good() || try == 2000 || ctx.Err() != nil {
			return flights, transactions, release
		}
		release()
		sleep(ctx, time.Millisecond)
	}
}

// choose draws a victim by weight from those that run.
func (k *killer) choose() (victim, bool) {
	var running []victim
	for _, v := range k.victims {
		if v.Running() {
			running = append(running, slices.Repeat([]victim{v}, v.weight)...)
		}
	}
	if len(running) == 0 {
		return victim{}, false
	}
	return running[k.dice.below(len(running))], true
}

// transactions gives the names of the functions that have one open.
func (k *killer) transactions(ctx context.Context, t *testing.T) []string {
	t.Helper()
	var functions []string
	for _, v := range k.victims {
		if v.function {
			functions = append(functions, v.Name)
		}
	}
	const query = `select application_name from pg_stat_activity
		where datname = current_database() and application_name = any($1) and xact_start is not null order by 1`
	rows, err := k.database.Query(ctx, query, functions)
	if err != nil {
		t.Errorf("look for open transactions: %v", err)
		return nil
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Errorf("look for open transactions: %v", err)
	}
	return names
}

// lag gives how many blocks of the stream the function has not answered for.
func (k *killer) lag(ctx context.Context, t *testing.T) uint64 {
	t.Helper()
	appended, err := k.appended(ctx)
	if err != nil {
		t.Errorf("look at the stream's end: %v", err)
	}
	return appended - min(appended, k.applied())
}

// sleep waits, and tells whether there is time left.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func list[T any](what []T) string {
	if len(what) == 0 {
		return "none"
	}
	texts := make([]string, len(what))
	for i, w := range what {
		texts[i] = fmt.Sprint(w)
	}
	return strings.Join(texts, ", ")
}
