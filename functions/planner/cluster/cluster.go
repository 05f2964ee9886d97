// Package cluster keeps planned objects in a namespace of a Kubernetes cluster.
package cluster

import (
	"context"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/pager"
	"k8s.io/client-go/util/retry"
	"knative.dev/pkg/apis"
	duckv1 "knative.dev/pkg/apis/duck/v1"

	"github.com/chainmetrics/chainmetrics/functions/planner/planner"
)

const (
	// perSecond and burst bound the requests: four thousand objects take seconds, where the client's own bounds would take a quarter
	// of an hour.
	perSecond, burst = 1000, 2000
	requestTimeout   = 15 * time.Second
	pageSize         = 500 // objects of a list
)

var (
	services  = schema.GroupVersionResource{Group: "serving.knative.dev", Version: "v1", Resource: "services"}
	resources = map[planner.Kind]schema.GroupVersionResource{
		planner.PingSource: {Group: "sources.knative.dev", Version: "v1", Resource: "pingsources"},
		planner.ConfigMap:  {Version: "v1", Resource: "configmaps"},
	}
	// managed selects the planner's objects.
	managed = labels.Set{planner.LabelManagedBy: planner.Manager}.String()
)

// Cluster is a namespace.
type Cluster struct {
	client    dynamic.Interface
	namespace string
}

var _ planner.Cluster = (*Cluster)(nil)

// New makes the cluster of a configuration, which it does not change.
func New(cfg *rest.Config, namespace string) (*Cluster, error) {
	cfg = rest.CopyConfig(cfg)
	cfg.QPS, cfg.Burst, cfg.Timeout = perSecond, burst, requestTimeout
	cfg.UserAgent = planner.Manager
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("make a client of the cluster: %w", err)
	}
	return &Cluster{client: client, namespace: namespace}, nil
}

// Owner gives a Knative Service as the owner of objects: they go with it.
func (c *Cluster) Owner(ctx context.Context, service string) (planner.Owner, error) {
	found, err := c.client.Resource(services).Namespace(c.namespace).Get(ctx, service, metav1.GetOptions{})
	if err != nil {
		return planner.Owner{}, fmt.Errorf("read Service %s: %w", service, explain(err, "get", services))
	}
	return planner.Owner{
		APIVersion: found.GetAPIVersion(), Kind: found.GetKind(), Name: found.GetName(), UID: string(found.GetUID()),
	}, nil
}

// List gives the objects that have the planner's label, and that it has applied. A copy of one has the label too.
func (c *Cluster) List(ctx context.Context) (all []planner.Live, err error) {
	for _, kind := range planner.Kinds() {
		objects, err := c.list(ctx, kind)
		if err != nil {
			return nil, err
		}
		all = append(all, objects...)
	}
	return all, nil
}

func (c *Cluster) list(ctx context.Context, kind planner.Kind) (all []planner.Live, err error) {
	resource := resources[kind]
	pages := pager.New(func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		return c.client.Resource(resource).Namespace(c.namespace).List(ctx, options)
	})
	pages.PageSize = pageSize
	list, _, err := pages.List(ctx, metav1.ListOptions{LabelSelector: managed})
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", resource.Resource, explain(err, "list", resource))
	}
	err = meta.EachListItem(list, func(item runtime.Object) error {
		found := item.(*unstructured.Unstructured)
		if !isOurs(found) {
			return nil
		}
		live, err := liveOf(kind, found)
		all = append(all, live)
		return err
	})
	return all, err
}

// liveOf reads an object.
func liveOf(kind planner.Kind, found *unstructured.Unstructured) (planner.Live, error) {
	live := planner.Live{
		Kind: kind, Name: found.GetName(), UID: string(found.GetUID()),
		Labels: found.GetLabels(), Annotations: found.GetAnnotations(), Fields: found.Object,
	}
	if kind != planner.PingSource {
		return live, nil
	}
	var resource duckv1.KResource
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(found.Object, &resource); err != nil {
		return live, fmt.Errorf("read %s %s: %w", kind, live.Name, err)
	}
	// What is said of another generation is not about what was applied last.
	ready := resource.GetStatus().GetCondition(apis.ConditionReady)
	if ready.IsTrue() && resource.Status.ObservedGeneration == resource.Generation {
		live.ReadySince = ready.LastTransitionTime.Inner.Time
	}
	return live, nil
}

// Apply makes an object as it is to be. It fails with [planner.ErrForeign].
func (c *Cluster) Apply(ctx context.Context, o planner.Object) error {
	resource := resources[o.Kind]
	in := c.client.Resource(resource).Namespace(c.namespace)
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&o)
	if err != nil {
		return fmt.Errorf("apply %s %s: %w", o.Kind, o.Metadata.Name, err)
	}
	// Applying by force would take over whatever is there.
	found, err := in.Get(ctx, o.Metadata.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
	case err != nil:
		return fmt.Errorf("read %s %s: %w", o.Kind, o.Metadata.Name, explain(err, "get", resource))
	case !isOurs(found):
		return fmt.Errorf("apply %s %s: %w", o.Kind, o.Metadata.Name, planner.ErrForeign)
	}
	options := metav1.ApplyOptions{FieldManager: planner.Manager, Force: true}
	err = retry.RetryOnConflict(retry.DefaultRetry, func() error {
		_, err := in.Apply(ctx, o.Metadata.Name, &unstructured.Unstructured{Object: fields}, options)
		return err
	})
	if err != nil {
		return fmt.Errorf("apply %s %s: %w", o.Kind, o.Metadata.Name, explain(err, "create and patch", resource))
	}
	return nil
}

// isOurs tells whether the planner has applied an object, whatever its labels say, which anybody may copy or take away.
func isOurs(found *unstructured.Unstructured) bool {
	return slices.ContainsFunc(found.GetManagedFields(), func(entry metav1.ManagedFieldsEntry) bool {
		return entry.Manager == planner.Manager && entry.Operation == metav1.ManagedFieldsOperationApply
	})
}

// Delete removes an object, if it is still there.
func (c *Cluster) Delete(ctx context.Context, live planner.Live) error {
	resource := resources[live.Kind]
	uid := types.UID(live.UID)
	err := c.client.Resource(resource).Namespace(c.namespace).Delete(ctx, live.Name, metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &uid}, // not what has come in its place
	})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete %s %s: %w", live.Kind, live.Name, explain(err, "delete", resource))
	}
	return nil
}

// explain says which rule of its Role the planner lacks, where that is why it was refused, and marks what trying again does not mend:
// what the API or a webhook finds wrong with an object, which is too large, invalid, or forbidden.
func explain(err error, verb string, resource schema.GroupVersionResource) error {
	switch {
	case apierrors.IsForbidden(err):
		return fmt.Errorf("%w: the Role %s does not let it %s %s: %w", planner.ErrRefused, planner.Name, verb, resource.GroupResource(), err)
	case apierrors.IsBadRequest(err), apierrors.IsInvalid(err), apierrors.IsRequestEntityTooLargeError(err):
		return fmt.Errorf("%w: %w", planner.ErrRefused, err)
	default:
		return err
	}
}
