package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/chainmetrics/chainmetrics/functions/planner/planner"
	"github.com/chainmetrics/chainmetrics/shared/metric"
)

func (a *app) renderCommand() *cobra.Command {
	var (
		files     []string
		namespace string
	)
	cmd := &cobra.Command{
		Use:   "render [-f FILE...]",
		Short: "Print the Kubernetes objects of metrics, as the planner makes them",
		Long: `Print the Kubernetes objects of metrics, as the planner makes them, but without owner: for each metric a ConfigMap with its
definition, and for each of its bucket sizes the PingSource that wakes its function. The metrics are those that are registered or,
with -f, those of files; then no server is needed. No cluster is asked.

Who applies them by GitOps does without the planner: where both are, the planner removes what the registry does not ask for.`,
		Example: `  chainmetrics render | kubectl apply --server-side -f -
  chainmetrics render -f examples/metrics/bitcoin.yaml > metrics/objects.yaml
  chainmetrics render --namespace staging | kubectl diff -f -`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			definitions, err := a.definitionsToRender(cmd.Context(), files)
			if err != nil {
				return err
			}
			return a.render(definitions, namespace)
		},
	}
	cmd.Flags().StringArrayVarP(&files, "file", "f", nil,
		"`file` of definitions, a directory of them (*.yaml, *.yml), or - for standard input (default: the registry); repeatable")
	cobra.CheckErr(cmd.MarkFlagFilename("file", "yaml", "yml"))
	cmd.Flags().StringVarP(&namespace, "namespace", "n", defaultNamespace, "`namespace` of the objects")
	return cmd
}

// definitionsToRender reads those of files or, where none is named, of the registry.
func (a *app) definitionsToRender(ctx context.Context, files []string) ([]metric.Definition, error) {
	if len(files) > 0 {
		return a.readDefinitions(files)
	}
	store, err := a.openStore(ctx)
	if err != nil {
		return nil, err
	}
	defer store.Close()
	registered, err := store.Metrics(ctx)
	if err != nil {
		return nil, err
	}
	return definitionsOf(registered), nil
}

// render prints YAML documents.
func (a *app) render(definitions []metric.Definition, namespace string) error {
	objects, err := planner.Objects(definitions, namespace)
	if err != nil {
		return err
	}
	if len(objects) == 0 { // which no YAML has
		return nil
	}
	encoder := yaml.NewEncoder(a.out)
	encoder.SetIndent(2)
	for _, o := range objects {
		text, err := json.Marshal(o)
		if err != nil {
			return fmt.Errorf("render %s: %w", o.Metadata.Name, err)
		}
		var document yaml.Node
		if err := yaml.Unmarshal(text, &document); err != nil { // JSON is YAML
			return fmt.Errorf("render %s: %w", o.Metadata.Name, err)
		}
		plain(&document)
		if err := encoder.Encode(&document); err != nil {
			return fmt.Errorf("render %s: %w", o.Metadata.Name, err)
		}
	}
	return encoder.Close()
}
