package migration_test

import (
	"context"
	"net/url"
	"strings"
	"testing"

	"github.com/chainmetrics/chainmetrics/shared/postgres/migration"
	"github.com/chainmetrics/chainmetrics/tests/harness"
)

// TestRoleOfQueries: who migrates need be no superuser. Where he may not make the role he is told what an administrator has to do; then,
// and each time that what the role has was lost, a migration puts it right.
func TestRoleOfQueries(t *testing.T) {
	t.Parallel()
	address := harness.Database(t)
	admin := connect(t, address)
	for login, may := range map[string]string{"test_plain": "", "test_maker": "createrole"} {
		execute(t, admin, "create role "+login+" login "+may)
		execute(t, admin, "create database "+login+" template template0 encoding utf8 owner "+login)
		t.Cleanup(func() {
			conn := connect(t, address)
			for _, statement := range []string{"drop database " + login + " with (force)", "drop role " + login} {
				if _, err := conn.Exec(context.WithoutCancel(t.Context()), statement); err != nil {
					t.Error(err)
				}
			}
		})
		location, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		superuser := location.User
		location.Path, location.User = "/"+login, url.User(login)
		if _, _, err = migration.Run(t.Context(), location.String()); may == "" {
			if err == nil || !strings.Contains(err.Error(), "grant chainmetrics_sql to test_plain") {
				t.Errorf("a login that may nothing: %v", err)
			}
			execute(t, admin, "grant chainmetrics_sql to test_plain")
			_, _, err = migration.Run(t.Context(), location.String())
		}
		if err != nil {
			t.Fatalf("%s: %v", login, err)
		}
		const runs = "select query_template('select count(*) as n from blocks', '2024-01-01Z', '2024-01-02Z', 'x', 1) ->> 'n'"
		conn := connect(t, location.String())
		want := func(when string) {
			t.Helper()
			if got := texts(t, conn, runs); len(got) != 1 || got[0] != "0" {
				t.Errorf("%s %s: %q", login, when, got)
			}
		}
		want("at first")
		if _, err := conn.Exec(t.Context(), strings.Replace(runs, "blocks", "metrics_data", 1)); err == nil || !strings.Contains(err.Error(), "permission denied for table metrics_data") {
			t.Errorf("%s: a table that is not for queries: %v", login, err)
		}
		location.User = superuser // as after a restore by an administrator
		restored := connect(t, location.String())
		execute(t, restored, "alter function query_template owner to "+login)
		execute(t, restored, "revoke select on blocks from chainmetrics_sql")
		if _, err := conn.Exec(t.Context(), runs); err == nil || !strings.Contains(err.Error(), "queries of metrics would run as "+login) {
			t.Errorf("%s: as its own user: %v", login, err)
		}
		location.User = url.User(login)
		if _, _, err := migration.Run(t.Context(), location.String()); err != nil {
			t.Fatalf("%s once more: %v", login, err)
		}
		want("once more")
	}
}
