package manifests_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/util/yaml"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	sourcesv1 "knative.dev/eventing/pkg/apis/sources/v1"
	duckv1 "knative.dev/pkg/apis/duck/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"github.com/chainmetrics/chainmetrics/config"
)

// redisBase is a base that is applied by itself, beside the overlay production.
const redisBase = "redis"

// e2eOverlay is the overlay that make e2e deploys.
const e2eOverlay = "e2e"

// object is an object in the Go type of its kind.
type object interface {
	runtime.Object
	metav1.Object
}

// scheme knows the kinds that the checks know. An object of another kind is refused until somebody has thought about what
// has to hold for it.
func scheme() *runtime.Scheme {
	s := runtime.NewScheme()
	s.AddKnownTypes(corev1.SchemeGroupVersion,
		&corev1.ConfigMap{}, &corev1.Namespace{}, &corev1.Secret{}, &corev1.Service{}, &corev1.ServiceAccount{})
	s.AddKnownTypes(appsv1.SchemeGroupVersion, &appsv1.Deployment{}, &appsv1.StatefulSet{})
	s.AddKnownTypes(batchv1.SchemeGroupVersion, &batchv1.Job{})
	s.AddKnownTypes(networkingv1.SchemeGroupVersion, &networkingv1.NetworkPolicy{})
	s.AddKnownTypes(policyv1.SchemeGroupVersion, &policyv1.PodDisruptionBudget{})
	s.AddKnownTypes(rbacv1.SchemeGroupVersion, &rbacv1.Role{}, &rbacv1.RoleBinding{})
	s.AddKnownTypes(eventingv1.SchemeGroupVersion, &eventingv1.Broker{}, &eventingv1.Trigger{})
	s.AddKnownTypes(sourcesv1.SchemeGroupVersion, &sourcesv1.PingSource{}, &sourcesv1.SinkBinding{})
	s.AddKnownTypes(servingv1.SchemeGroupVersion, &servingv1.Service{})
	return s
}

// decode reads YAML documents strictly: a kind or field that its API does not have, a value of another type and a key that
// comes twice are errors.
func decode(manifests []byte) (objects []object, errs []error) {
	known := scheme()
	decoder := json.NewSerializerWithOptions(json.DefaultMetaFactory, known, known, json.SerializerOptions{Yaml: true, Strict: true})
	reader := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(manifests)))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return objects, errs
		}
		if err != nil {
			return objects, append(errs, err)
		}
		decoded, kind, err := decoder.Decode(document, nil, nil)
		if err != nil {
			errs = append(errs, fmt.Errorf("decode %v: %w", kind, err))
			continue
		}
		objects = append(objects, decoded.(object))
	}
}

// rendered gives the manifests of an overlay, with what the planner adds to them, or of the base redis.
func rendered(t *testing.T, name string) []byte {
	t.Helper()
	render := config.Render
	switch name {
	case redisBase:
		render = config.RenderBase
	case e2eOverlay:
		render = renderFolder
	}
	manifests, err := render(name)
	if err != nil {
		t.Fatal(err)
	}
	if name != redisBase {
		manifests = append(manifests, planned(t)...)
	}
	return manifests
}

// renderFolder gives the manifests of a folder of tests/.
func renderFolder(name string) ([]byte, error) {
	folder := filepath.Join(repository, "tests", name)
	objects, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), folder)
	if err != nil {
		return nil, err
	}
	return objects.AsYaml()
}

// renderings names everything that somebody may apply.
func renderings() []string {
	return append(config.Overlays(), redisBase, e2eOverlay)
}

// of gives the objects of one kind.
func of[T object](objects []object) []T {
	var all []T
	for _, o := range objects {
		if t, ok := o.(T); ok {
			all = append(all, t)
		}
	}
	return all
}

// title names an object in errors: Trigger/counter-small.
func title(o object) string {
	return o.GetObjectKind().GroupVersionKind().Kind + "/" + o.GetName()
}

// refersTo tells whether a reference made in a namespace means an object.
func refersTo(ref *duckv1.KReference, namespace string, o object) bool {
	if ref.Namespace != "" {
		namespace = ref.Namespace
	}
	apiVersion, kind := o.GetObjectKind().GroupVersionKind().ToAPIVersionAndKind()
	return ref.APIVersion == apiVersion && ref.Kind == kind && ref.Name == o.GetName() && namespace == o.GetNamespace()
}

// exists tells whether a destination is one of the objects; an address is not.
func exists(destination duckv1.Destination, namespace string, objects []object) bool {
	return destination.Ref != nil && slices.ContainsFunc(objects, func(o object) bool {
		return refersTo(destination.Ref, namespace, o)
	})
}

// pods is a template that pods are made of.
type pods struct {
	owner  object
	meta   metav1.ObjectMeta
	spec   corev1.PodSpec
	claims []corev1.PersistentVolumeClaim // each is a volume too
}

// templates gives the pod templates of all objects that have one.
func templates(objects []object) []pods {
	var all []pods
	for _, o := range objects {
		switch o := o.(type) {
		case *appsv1.Deployment:
			all = append(all, pods{o, o.Spec.Template.ObjectMeta, o.Spec.Template.Spec, nil})
		case *appsv1.StatefulSet:
			all = append(all, pods{o, o.Spec.Template.ObjectMeta, o.Spec.Template.Spec, o.Spec.VolumeClaimTemplates})
		case *batchv1.Job:
			all = append(all, pods{o, o.Spec.Template.ObjectMeta, o.Spec.Template.Spec, nil})
		case *servingv1.Service:
			all = append(all, pods{o, o.Spec.Template.ObjectMeta, o.Spec.Template.Spec.PodSpec, nil})
		}
	}
	return all
}

// containers gives a template's containers, those that run first included.
func (p pods) containers() []corev1.Container {
	return slices.Concat(p.spec.InitContainers, p.spec.Containers)
}

// labels gives the labels of the pods, with the one that Knative adds and policies select by.
func (p pods) labels() map[string]string {
	labels := maps.Clone(p.meta.Labels)
	if _, ok := p.owner.(*servingv1.Service); ok && labels != nil {
		labels["serving.knative.dev/service"] = p.owner.GetName()
	}
	return labels
}

// port tells whether a container has a port of this name.
func (p pods) port(name string) bool {
	return slices.ContainsFunc(p.spec.Containers, func(c corev1.Container) bool {
		return slices.ContainsFunc(c.Ports, func(port corev1.ContainerPort) bool { return port.Name == name })
	})
}

// findings collects what a check finds.
type findings []error

// add notes what is wrong with an object, or a part of it.
func (f *findings) add(where, format string, args ...any) {
	*f = append(*f, fmt.Errorf("%s: %w", where, fmt.Errorf(format, args...)))
}
