package runner_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/tests/pipeline"
)

// queried is the metric gas as a query.
const queried = `
name: queried_gas
type: counter
calculation_logic:
  sql:
    template: |
      select gas_used as value from blocks
      where chain = {chain} and timestamp >= {start_time} and timestamp < {end_time}
    event_types: [block]
chains: [testchain]
bucket_sizes: [hourly, daily]
`

// finalOf gives the buckets of a metric that are final.
func (w *world) finalOf(t *testing.T, name string) map[string]string {
	t.Helper()
	return w.pairs(t, `select bucket_size || ' ' || bucket_start || ' ' || dimensions, value from metric_buckets where final and metric = $1`, name)
}

// TestQueryEqualsStream: whatever happens to a chain, a metric made of a query ends with the same final buckets as one of events.
func TestQueryEqualsStream(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2) {
		h := &history{world: newWorld(t), random: rand.New(rand.NewPCG(seed, 7)), published: map[string]bool{}}
		var happened []string
		define := func() {
			pipeline.Apply(t, h.store, "queried.yaml", []byte(queried))
			happened = append(happened, "apply the query")
		}
		if seed%2 == 0 {
			define()
		}
		compare := func(of func(want, got map[string]string)) {
			h.settle(t)
			want, got := h.finalOf(t, "gas"), h.finalOf(t, "queried_gas")
			of(want, got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("seed %d after %q (-events +query):\n%s\n%s", seed, happened, diff,
					h.text(t, "select string_agg(state || ' ' || reason || ' ' || coalesce(error, ''), E'\n') from runs where state <> 'succeeded'"))
			}
		}
		for i := range 24 {
			if i == 12 && seed%2 == 1 {
				define()
			}
			if step := h.step(t); !strings.HasPrefix(step, "define") {
				happened = append(happened, step)
				continue
			}
			pipeline.Apply(t, h.store, "test.yaml", []byte(metrics)) // the query knows one definition
		}
		compare(func(want, got map[string]string) { // one that was defined later, or anew, may have fewer that are final
			for key := range want {
				if _, ok := got[key]; !ok {
					delete(want, key)
				}
			}
			for key := range got {
				if _, ok := want[key]; !ok {
					delete(got, key)
				}
			}
		})
		h.extend(t, uint64(len(h.branch)), uint64(len(h.branch))+100)
		compare(func(_, _ map[string]string) {})
		if n := len(h.finalOf(t, "queried_gas")); n < 40 {
			t.Errorf("seed %d: only %d final buckets", seed, n)
		}
	}
}

// TestQueryThatMissesSomething: an event that comes to a window while its query runs makes it run once more.
func TestQueryThatMissesSomething(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	slow := strings.Replace(queried, "select gas_used as value from blocks", "select gas_used as value from blocks join (select 1 from pg_sleep(1)) s on true", 1)
	pipeline.Apply(t, w.store, "queried.yaml", []byte(strings.Replace(slow, "[hourly, daily]", "[daily]", 1)))
	w.apply(t, chain(0, 0, 100, events.ID{}))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.tick(t)
	}()
	pipeline.Eventually(t, 10*time.Second, "the query runs", func() bool {
		return w.text(t, "select count(*) from pg_stat_activity where query like '%query_template%' and state = 'active' and pid <> pg_backend_pid()") != "0"
	})
	late := block(0, 20, events.ID{Minor: 100})
	late.ID = events.ID{Minor: 101}
	w.apply(t, []events.Delivery{late})
	<-ended
	w.tick(t)
	w.expect(t, `select string_agg(value || ' ' || final, ', ' order by bucket_start) from metric_buckets
		where metric = 'queried_gas'`, "1148 true, 3432 true")
}

// timeLimit is a short one for a query that waits, and a long one for others, which are to fail for another reason.
func timeLimit(template string) string {
	if strings.Contains(template, "pg_sleep") || strings.Contains(template, "wait()") {
		return "2s"
	}
	return "1m"
}

// TestQueriesThatMustNot are stopped, say why, and leave everything as it was.
func TestQueriesThatMustNot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(t, chain(0, 0, 60, events.ID{}))
	w.tick(t)
	const where = " where {start_time} < {end_time}"
	state := func() string {
		return w.text(t, `select concat_ws(' ', (select md5(string_agg(d::text, ',' order by d::text)) from metrics_data d),
			(select count(*) from chain_events), (select count(*) from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'S')),
			(select count(*) from pg_largeobject_metadata))`)
	}
	before := state()
	for i, test := range []struct{ template, want string }{
		{"select n as value from (with d as (delete from metrics_data returning 1 as n) select n from d) x" + where, "WITH clause containing a data-modifying statement must be at the top level"},
		{"select nextval('run_lease') as value" + where, "permission denied for sequence run_lease"},
		{"select count(*) as value from metrics_data" + where, "permission denied for table metrics_data"},
		{"select count(*) as value from metric_registry" + where, "permission denied for table metric_registry"},
		{"select count(*) as value from chain_events" + where, "permission denied for table chain_events"},
		{"select length(pg_read_file('/etc/passwd')) as value" + where, "permission denied for function pg_read_file"},
		{"select length(pg_sleep(60)::text) as value" + where, "it took longer than it may"},
		{"select 1 as value, repeat('x', 2000000) as type" + where, "column \"type\" is neither value nor one of the dimensions"},
		{"select 1 as value from generate_series(1, 1000000) g" + where, "it gives more than 100000 rows"},
		{"select 'x' as value" + where, "column value is a text"},
		{"select 1.5::float8 as value" + where, "column value is a float8, which is not exact"},
		{"select 1 as value, 2 as other" + where, `column "other" is neither value nor one of the dimensions`},
		{"select nothing as value" + where, `column "nothing" does not exist`},
		{"select 1 / 0 as value" + where, "division by zero"},
	} {
		name := fmt.Sprintf("bad_%d", i)
		definition := strings.NewReplacer("queried_gas", name, "[hourly, daily]", "[daily]\nretries: 0\nexecution_timeout: "+timeLimit(test.template)).Replace(queried)
		head, _, _ := strings.Cut(definition, "      select")
		_, tail, _ := strings.Cut(definition, "    event_types")
		pipeline.Apply(t, w.store, "bad.yaml", []byte(head+"      "+test.template+"\n    event_types"+tail))
		w.tick(t)
		got := w.text(t, fmt.Sprintf("select string_agg(distinct state || ' ' || coalesce(error, ''), ', ') from runs join metric_registry using (metric_id) where name = '%s'", name))
		if !strings.HasPrefix(got, "failed") || !strings.Contains(got, test.want) {
			t.Errorf("%s\ngot  %s\nwant %s", test.template, got, test.want)
		}
	}
	if after := state(); after != before {
		t.Errorf("before %s, after %s", before, after)
	}
	w.expect(t, "select count(*) from metric_buckets where metric like 'bad_%'", "0")
}

// TestRoleOfQueries: what a template can no longer say would be refused by the role and the transaction too.
func TestRoleOfQueries(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for statement, want := range map[string]string{
		"select set_config('role', 'none', true), query_to_xml('select count(*) from metrics_data', true, true, '')": `cannot set parameter "role" within security-definer function`,
		"select set_config('session_authorization', current_user, true)":                                             `cannot set parameter "session_authorization" within security-definer function`,
		"select set_config('transaction_read_only', 'off', true)":                                                    "transaction read-write mode must be set before any query",
		"select query_to_xml('select count(*) from metrics_data', true, true, '')":                                   "permission denied for table metrics_data",
		"select 1; select 2": "syntax error",
	} {
		err := pgx.BeginTxFunc(t.Context(), w.database, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
			_, err := tx.Exec(t.Context(), "select query_template($1, now(), now(), 'x', 10)", statement)
			return err
		})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\ngot  %v\nwant %s", statement, err, want)
		}
	}
	w.expect(t, `select count(*) from query_template('select repeat(''x'', 2000000) as big', now(), now(), 'x', 10) as r (row) where row is null`, "1")
	w.execute(t, "create role somebody_else")
	w.execute(t, "alter function query_template owner to somebody_else")
	defer w.execute(t, "drop role somebody_else")
	defer w.execute(t, "alter function query_template owner to chainmetrics_sql")
	if _, err := w.database.Exec(t.Context(), "select query_template('select 1', now(), now(), 'x', 10)"); err == nil ||
		!strings.Contains(err.Error(), "queries of metrics would run as somebody_else") {
		t.Errorf("as somebody else: %v", err)
	}
}

// TestDimensionsAreNoSQL: what an event says is a value, whatever it says.
func TestDimensionsAreNoSQL(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	definition := strings.NewReplacer("select gas_used as value", "select gas_used as value, hash as miner", "event_types: [block]", "event_types: [block]\n    dimensions: [miner]").Replace(queried)
	pipeline.Apply(t, w.store, "queried.yaml", []byte(definition))
	w.apply(t, chain(0, 0, 60, events.ID{}))
	const evil = `'; delete from metrics_data; -- {chain} $1 "`
	const change = "update chain_events set fields = jsonb_set(fields, '{hash}', to_jsonb($1::text)) where event_type = 'block'"
	if _, err := w.database.Exec(t.Context(), change, evil); err != nil {
		t.Fatal(err)
	}
	w.tick(t)
	w.expect(t, "select count(*) || ' ' || min(dimensions ->> 'miner') from metric_buckets where metric = 'queried_gas' and bucket_size = 'daily' and final", "1 "+evil)
}
