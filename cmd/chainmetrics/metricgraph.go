package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/chainmetrics/chainmetrics/shared/postgres"
)

const metricGraphHelp = `Show which metrics depend on which: those that are derived, each above what it depends on. Of one metric it shows what it
depends on, and what depends on it.

Output: "tree" is for people and may change; it leaves out metrics without dependencies and dependents, and shows what lies below a
metric once. "dot" is for Graphviz, with an arrow from each metric to those that depend on it. "json" is an object with metrics, a list
by name; each has name, type, dependencies, dependents, of which only the direct ones. Of one metric these are the metrics that it
depends on, or that depend on it, and itself.`

// Output formats of a graph.
const (
	outputTree = "tree"
	outputDot  = "dot"
)

func (a *app) metricGraphCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "graph [METRIC]",
		Short: "Show which metrics depend on which",
		Long:  metricGraphHelp,
		Example: `  chainmetrics metric graph
  chainmetrics metric graph btc_fees
  chainmetrics metric graph --output dot | dot -Tsvg > metrics.svg`,
		Args:              upToOneMetric,
		ValidArgsFunction: a.completeMetrics,
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := a.openStore(cmd.Context())
			if err != nil {
				return err
			}
			defer store.Close()
			metrics, err := store.Metrics(cmd.Context())
			if err != nil {
				return err
			}
			g := graphOf(metrics)
			name := strings.Join(args, "")
			if _, known := g.types[name]; name != "" && !known {
				return a.unknownMetric(fmt.Errorf("%w: %s", postgres.ErrUnknownMetric, name))
			}
			return a.showGraph(g, name, output)
		},
	}
	outputFlag(cmd, &output, outputTree, outputDot, outputJSON)
	return cmd
}

// metricGraph is which metrics depend on which.
type metricGraph struct {
	types        map[string]string   // of the metrics that it shows, by name
	dependencies map[string][]string // the direct ones of a metric
	dependents   map[string][]string
}

func graphOf(metrics []postgres.RegisteredMetric) metricGraph {
	g := metricGraph{map[string]string{}, map[string][]string{}, map[string][]string{}}
	for _, m := range metrics { // by name, as what depends on each is too therefore
		g.types[m.Definition.Name] = m.Definition.Type
		derived := m.Definition.Calculation.Derived
		if derived == nil {
			continue
		}
		g.dependencies[m.Definition.Name] = slices.Sorted(slices.Values(derived.Dependencies))
		for _, name := range derived.Dependencies {
			g.dependents[name] = append(g.dependents[name], m.Definition.Name)
		}
	}
	return g
}

// around leaves in a graph a metric, all that it depends on, and all that depends on it.
func (g metricGraph) around(name string) metricGraph {
	some := map[string]bool{}
	var reach func(at string, next map[string][]string)
	reach = func(at string, next map[string][]string) {
		for _, other := range next[at] {
			if !some[other] {
				some[other] = true
				reach(other, next)
			}
		}
	}
	reach(name, g.dependencies)
	reach(name, g.dependents)
	some[name] = true
	g.types = maps.Clone(g.types)
	maps.DeleteFunc(g.types, func(name, _ string) bool { return !some[name] })
	return g
}

func (a *app) showGraph(g metricGraph, name, output string) error {
	if output != outputTree && name != "" {
		g = g.around(name)
	}
	text := ""
	switch {
	case output == outputJSON:
		return writeJSON(a.out, g.shown())
	case output == outputDot:
		text = g.dot()
	case name != "":
		text = g.both(name)
	case len(g.dependencies) == 0:
		_, err := fmt.Fprintln(a.errors, "no metric depends on others")
		return err
	default:
		text = g.trees()
	}
	_, err := io.WriteString(a.out, text)
	return err
}

// shownGraph is the JSON form of a graph; the command's help documents it.
type shownGraph struct {
	Metrics []shownNode `json:"metrics"`
}

type shownNode struct {
	Name         string   `json:"name"`
	Type         string   `json:"type"`
	Dependencies []string `json:"dependencies"`
	Dependents   []string `json:"dependents"`
}

func (g metricGraph) shown() shownGraph {
	shown := shownGraph{Metrics: []shownNode{}}
	for _, name := range slices.Sorted(maps.Keys(g.types)) {
		shown.Metrics = append(shown.Metrics, shownNode{
			name, g.types[name], append([]string{}, g.dependencies[name]...), append([]string{}, g.dependents[name]...),
		})
	}
	return shown
}

// dot gives a graph in the language of Graphviz. A name in quotes is none of its words.
func (g metricGraph) dot() string {
	var text strings.Builder
	text.WriteString("digraph metrics {\n  rankdir=LR;\n  node [shape=box];\n")
	names := slices.Sorted(maps.Keys(g.types))
	for _, name := range names {
		fmt.Fprintf(&text, "  \"%s\" [label=\"%s\\n%s\"];\n", name, name, g.types[name])
	}
	for _, name := range names {
		for _, dependent := range g.dependents[name] {
			if _, shown := g.types[dependent]; shown {
				fmt.Fprintf(&text, "  \"%s\" -> \"%s\";\n", name, dependent)
			}
		}
	}
	text.WriteString("}\n")
	return text.String()
}

// trees gives a tree for each derived metric on which no other depends.
func (g metricGraph) trees() string {
	t := tree{graph: g, below: map[string]bool{}}
	for _, name := range slices.Sorted(maps.Keys(g.dependencies)) {
		if len(g.dependents[name]) == 0 {
			t.text.WriteString(g.node(name) + "\n")
			t.add(name, g.dependencies, "")
		}
	}
	return t.text.String()
}

// both gives the trees of what a metric depends on, and of what depends on it.
func (g metricGraph) both(name string) string {
	var text strings.Builder
	text.WriteString(g.node(name) + "\n")
	for _, part := range []struct {
		title string
		next  map[string][]string
	}{{"depends on", g.dependencies}, {"is needed by", g.dependents}} {
		if len(part.next[name]) == 0 {
			text.WriteString(part.title + ": nothing\n")
			continue
		}
		t := tree{graph: g, below: map[string]bool{}}
		t.add(name, part.next, "")
		text.WriteString(part.title + ":\n" + t.text.String())
	}
	return text.String()
}

// node names a metric.
func (g metricGraph) node(name string) string {
	kind, known := g.types[name]
	if !known {
		kind = "not registered"
	}
	return name + " (" + kind + ")"
}

// tree is the text of a tree.
type tree struct {
	graph metricGraph
	below map[string]bool // the metrics below which everything was shown
	text  strings.Builder
}

// add adds what lies below a metric, each line behind an indent.
func (t *tree) add(name string, next map[string][]string, indent string) {
	t.below[name] = true
	for i, child := range next[name] {
		branch, further := "├─ ", "│  "
		if i == len(next[name])-1 {
			branch, further = "└─ ", "   "
		}
		shown := t.below[child] && len(next[child]) > 0
		t.text.WriteString(indent + branch + t.graph.node(child))
		if shown {
			t.text.WriteString(", as above")
		}
		t.text.WriteString("\n")
		if !shown {
			t.add(child, next, indent+further)
		}
	}
}
