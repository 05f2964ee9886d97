package cluster

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/chainmetrics/chainmetrics/functions/planner/planner"
)

// Config is read from the environment.
type Config struct {
	Service    string `envconfig:"K_SERVICE"`  // the planner's own Knative Service, as Knative names it
	Kubeconfig string `envconfig:"KUBECONFIG"` // of a cluster that the process is not in; default: the one that it is in
}

// Validate asks for the Service, without which nothing would remove what is planned.
func (cfg *Config) Validate() error {
	if cfg.Service == "" {
		return errors.New("K_SERVICE is not set: want the name of the planner's Knative Service, which Knative sets")
	}
	return nil
}

// Open finds the cluster and namespace that the process is in, and its own Service there, which is the owner of what it plans.
func Open(ctx context.Context, cfg Config) (*Cluster, planner.Place, error) {
	access := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
		&clientcmd.ClientConfigLoadingRules{ExplicitPath: cfg.Kubeconfig}, &clientcmd.ConfigOverrides{})
	namespace, _, err := access.Namespace()
	if err != nil {
		return nil, planner.Place{}, fmt.Errorf("find the cluster: %w", err)
	}
	client, err := access.ClientConfig()
	if err != nil {
		return nil, planner.Place{}, fmt.Errorf("find the cluster: %w", err)
	}
	c, err := New(client, namespace)
	if err != nil {
		return nil, planner.Place{}, err
	}
	owner, err := c.Owner(ctx, cfg.Service)
	if err != nil {
		return nil, planner.Place{}, err
	}
	return c, planner.Place{Namespace: namespace, Owner: &owner}, nil
}
