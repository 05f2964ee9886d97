package chaos_test

import (
	"bytes"
	"testing"
)

// rebuildMutants are mistakes in what makes rebuilds exact, each with the test that is aimed at it.
var rebuildMutants = map[string]struct {
	mutant
	test string
}{
	"lease not verified": {
		mutant{
			pkg: "shared/runner", file: "shared/postgres/run.go",
			edits: []edit{{"	if leased != len(rebuild.Windows) {", "	if leased < 0 {"}},
		},
		"TestALeaseThatHasRunOutIsWorthNothing",
	},
	"cut ignored": {
		mutant{
			pkg: "shared/aggregate", file: "shared/postgres/sql/read_events.sql",
			edits: []edit{{"(entry_major, entry_minor) <= ($5, $6)", "(entry_major, entry_minor) <= ($5 + 1, $6)"}},
		},
		"TestRebuildsCountUpToTheirCut",
	},
	"what comes after the cut forgotten": {
		mutant{
			pkg: "shared/aggregate", file: "shared/aggregate/rebuild.go",
			edits: []edit{{"		if part.NextGeneration == r.rebuild.Generation {", "		if part.NextGeneration < 0 {"}},
		},
		"TestRebuildsCountUpToTheirCut",
	},
	"days made of hours that are not final": {
		mutant{
			pkg: "shared/runner", file: "shared/postgres/sql/read_children.sql",
			edits: []edit{{"      and w.final\n", ""}},
		},
		"TestDaysAreMadeOfHours",
	},
	"merged into another calculation": {
		mutant{
			pkg: "shared/aggregate", file: "shared/aggregate/gathering.go",
			edits: []edit{{"stored && part.Generation < m.OldestGeneration", "stored && part.Generation < 0"}},
		},
		"TestAChangedCalculation",
	},
}

// TestRebuildMutants sees that the tests notice these mistakes.
func TestRebuildMutants(t *testing.T) {
	t.Parallel()
	for name, m := range rebuildMutants {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			output, err := m.command(t, "test", "-count=1", "-timeout=2m", "-run=^"+m.test+"$").CombinedOutput()
			if err == nil || !bytes.Contains(output, []byte("--- FAIL: "+m.test)) {
				t.Errorf("%s does not notice it: %v\n%s", m.test, err, output)
			}
		})
	}
}
