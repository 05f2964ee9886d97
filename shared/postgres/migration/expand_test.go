package migration_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// firstKept is the first migration that functions of a release may meet which do not know it.
const firstKept = "020"

// contracting are beginnings of what takes something from functions that are older than a migration: they run on while it is
// applied, and beside newer ones until those are ready. "column" may be left out, as SQL lets it be.
var contracting = regexp.MustCompile(`\b(drop (table|view|function|type|schema|materialized|index|sequence)\b|rename\b|` +
	`drop (column )?(if exists )?\w+|` +
	`alter (column )?\w+ (set not null|type|set data type|drop default|drop identity)\b|` +
	`create unique index\b|create (or replace )?trigger\b|delete from\b|truncate\b|` +
	`add (constraint \w+ )?(unique|primary key|foreign key|exclude|check)\b|` +
	`add (column )?(if not exists )?\w+ [^,;]*\b(not null|primary key|unique|references)\b)`)

// allowed tells whether something that looks like a contraction is none: a check that is made wider, which is dropped and added again by
// one statement, a column that has a default, and what only a new column loses.
func allowed(statement, taken, rest string) bool {
	if taken == "drop constraint" {
		return strings.Contains(statement, "add constraint "+firstWord(rest)+" check")
	}
	if name, ok := strings.CutPrefix(taken, "add constraint "); ok && strings.HasSuffix(taken, " check") {
		return strings.Contains(statement, "drop constraint "+firstWord(name))
	}
	isColumn := strings.HasPrefix(taken, "add ") && strings.HasSuffix(taken, " not null")
	return isColumn && strings.Contains(taken+rest, " default ")
}

func firstWord(text string) string {
	if words := strings.Fields(text); len(words) > 0 {
		return strings.Trim(words[0], ",;")
	}
	return ""
}

// contracted gives the statements of a migration that only an expansion may not have. A line before that begins with
// "-- unused since v" says of a statement that the release named, and all later ones, do without what it takes.
func contracted(text string) []string {
	var found []string
	var kept strings.Builder
	excused := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "-- unused since v") {
			excused = true
			continue
		}
		code, _, _ := strings.Cut(line, "--")
		if !excused {
			kept.WriteString(code + " ")
		}
		if strings.Contains(code, ";") {
			excused = false
		}
	}
	for statement := range strings.SplitSeq(strings.ToLower(kept.String()), ";") {
		statement = strings.Join(strings.Fields(statement), " ")
		for _, at := range contracting.FindAllStringIndex(statement, -1) {
			taken := statement[at[0]:at[1]]
			rest, _, _ := strings.Cut(statement[at[1]:], ",")
			if !allowed(statement, taken, rest) {
				found = append(found, taken)
			}
		}
	}
	return found
}

// TestMigrationsOnlyExpand: functions of the release before work on the schema of this one.
func TestMigrationsOnlyExpand(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.sql")
	if err != nil || len(files) == 0 {
		t.Fatalf("migrations: %q, %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if taken := contracted(string(text)); file >= firstKept && len(taken) > 0 {
			t.Errorf("%s takes from functions that are older: %q; see docs/releases.md", file, taken)
		}
	}
}

func TestContractionsAreNoticed(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"create table t (a int not null);\ncreate index t_a on t (a);":                                 nil,
		"alter table t add column b int;":                                                              nil,
		"alter table t add column b int not null default 0;":                                           nil,
		"alter table t\n    drop constraint t_check,\n    add constraint t_check check (a in (1, 2));": nil,
		"alter table t add column b int not null;":                                                     {"add column b int not null"},
		"alter table t add column b int not null, add column c int default 1;":                         {"add column b int not null"},
		"ALTER TABLE t\n  DROP COLUMN a;":                                                              {"drop column a"},
		"alter table t drop a;":                                                                        {"drop a"},
		"alter table t alter a set not null;":                                                          {"alter a set not null"},
		"alter table t add b int not null;":                                                            {"add b int not null"},
		"alter table t add column b int primary key;":                                                  {"add column b int primary key"},
		"alter table t add column b int references u;":                                                 {"add column b int references"},
		"alter table t drop constraint t_pkey;":                                                        {"drop constraint"},
		"alter table t add check (a > 0);":                                                             {"add check"},
		"alter table t add constraint t_check check (a > 0);":                                          {"add constraint t_check check"},
		"drop index t_unique;":                                                                         {"drop index"},
		"create trigger a before insert on t execute function f()":                                     {"create trigger"},
		"delete from t;":                               {"delete from"},
		"drop table t;":                                {"drop table"},
		"drop view v;":                                 {"drop view"},
		"alter table t rename a to b;":                 {"rename"},
		"alter table t alter column a set not null;":   {"alter column a set not null"},
		"alter table t alter column a type bigint;":    {"alter column a type"},
		"create unique index t_a on t (a);":            {"create unique index"},
		"alter table t add constraint t_a unique (a);": {"add constraint t_a unique"},
		"-- drop table t;":                             nil,
		"-- unused since v0.2.0: nobody reads it\ndrop table t;\ndrop table u;": {"drop table"},
	} {
		if got := contracted(text); !slices.Equal(got, want) {
			t.Errorf("%s\ngot %q, want %q", text, got, want)
		}
	}
}
