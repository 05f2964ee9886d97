package cluster_test

import (
	"cmp"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/chainmetrics/chainmetrics/functions/planner/cluster"
)

const namespace = "blockchain-metrics"

// server speaks as much of Kubernetes' API as the planner does. What it applies it merges with the library that API servers use.
type server struct {
	*httptest.Server
	fields map[string]*managedfields.FieldManager // by resource

	mu       sync.Mutex
	objects  map[string]*unstructured.Unstructured // by resource/name
	version  int
	requests map[string]int                        // by verb and resource: what a Role must allow
	refuse   func(verb, resource, name string) int // a status; nil, or 0: it is not refused
}

// kinds are those that the server has, by resource.
var kinds = map[string]schema.GroupVersionKind{
	"pingsources": {Group: "sources.knative.dev", Version: "v1", Kind: "PingSource"},
	"configmaps":  {Version: "v1", Kind: "ConfigMap"},
	"services":    {Group: "serving.knative.dev", Version: "v1", Kind: "Service"},
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{
		fields: make(map[string]*managedfields.FieldManager), objects: make(map[string]*unstructured.Unstructured), requests: make(map[string]int),
	}
	for resource, kind := range kinds {
		manager, err := managedfields.NewDefaultFieldManager(
			managedfields.NewDeducedTypeConverter(), asItIs{}, asItIs{}, asItIs{}, kind, kind.GroupVersion(), "", nil)
		if err != nil {
			t.Fatal(err)
		}
		s.fields[resource] = manager
	}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	s.put(t, "services", "planner", "knative", "metadata: {}")
	return s
}

// asItIs converts and sets nothing: there is one version.
type asItIs struct{}

func (asItIs) Convert(_, _, _ any) error { return nil }
func (asItIs) ConvertToVersion(in runtime.Object, _ runtime.GroupVersioner) (runtime.Object, error) {
	return in, nil
}

func (asItIs) ConvertFieldLabel(_ schema.GroupVersionKind, label, value string) (string, string, error) {
	return label, value, nil
}
func (asItIs) Default(runtime.Object) {}
func (asItIs) New(kind schema.GroupVersionKind) (runtime.Object, error) {
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(kind)
	return o, nil
}

// client makes a cluster over the server.
func (s *server) client(t *testing.T) *cluster.Cluster {
	t.Helper()
	c, err := cluster.New(&rest.Config{Host: s.URL}, namespace)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// put makes an object, or changes one, in somebody's name. A field that is null is removed.
func (s *server) put(t *testing.T, resource, name, manager, change string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var fields map[string]any
	if err := yaml.Unmarshal([]byte(change), &fields); err != nil {
		t.Fatal(err)
	}
	live := s.objects[resource+"/"+name]
	if live == nil {
		live = s.blank(resource, name)
	}
	edited := live.DeepCopy()
	merge(edited.Object, fields)
	object, err := s.fields[resource].Update(live, edited, manager)
	if err != nil {
		t.Fatal(err)
	}
	s.store(resource, object.(*unstructured.Unstructured))
}

// merge is that of JSON (RFC 7396).
func merge(into, from map[string]any) {
	for name, value := range from {
		below, isMap := value.(map[string]any)
		there, wasMap := into[name].(map[string]any)
		switch {
		case value == nil:
			delete(into, name)
		case isMap && wasMap:
			merge(there, below)
		default:
			into[name] = value
		}
	}
}

func (s *server) blank(resource, name string) *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(kinds[resource])
	o.SetName(name)
	o.SetNamespace(namespace)
	return o
}

// store keeps an object, as a new version where it differs.
func (s *server) store(resource string, o *unstructured.Unstructured) {
	place := resource + "/" + o.GetName()
	before := s.objects[place]
	if before != nil && same(before, o) {
		return
	}
	s.version++
	if before == nil {
		o.SetUID(types.UID(strconv.Itoa(s.version)))
		o.SetCreationTimestamp(metav1.Now())
		o.SetGeneration(0)
	} else {
		o.SetUID(before.GetUID())
		o.SetCreationTimestamp(before.GetCreationTimestamp())
		o.SetGeneration(before.GetGeneration())
	}
	if before == nil || !equal(before.Object["spec"], o.Object["spec"]) {
		o.SetGeneration(o.GetGeneration() + 1)
	}
	o.SetResourceVersion(strconv.Itoa(s.version))
	s.objects[place] = o
}

// same tells whether two objects differ only in what the server itself notes.
func same(a, b *unstructured.Unstructured) bool { return equal(plain(a).Object, plain(b).Object) }

func equal(a, b any) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return string(x) == string(y)
}

// plain gives an object without what the server notes, and without when it was planned.
func plain(o *unstructured.Unstructured) *unstructured.Unstructured {
	o = o.DeepCopy()
	for _, field := range []string{"managedFields", "resourceVersion", "generation", "uid", "creationTimestamp"} {
		unstructured.RemoveNestedField(o.Object, "metadata", field)
	}
	unstructured.RemoveNestedField(o.Object, "metadata", "annotations", "chainmetrics.dev/planned-at")
	return o
}

// remove takes an object away, as somebody does by hand.
func (s *server) remove(resource, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.objects, resource+"/"+name)
}

// state gives all objects of the planner's kinds, by resource/name.
func (s *server) state() map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[string]any)
	for place, o := range s.objects {
		if !strings.HasPrefix(place, "services/") {
			all[place] = plain(o).Object
		}
	}
	return all
}

func (s *server) names() []string { return slices.Sorted(maps.Keys(s.state())) }

// ready has Knative find the PingSources ready at a time.
func (s *server) ready(t *testing.T, at time.Time, names ...string) {
	t.Helper()
	for _, name := range names {
		s.mu.Lock()
		generation := s.objects["pingsources/"+name].GetGeneration()
		s.mu.Unlock()
		s.put(t, "pingsources", name, "knative", `status: {observedGeneration: `+strconv.FormatInt(generation, 10)+
			`, conditions: [{type: Ready, status: "True", lastTransitionTime: "`+at.UTC().Format(time.RFC3339)+`"}]}`)
	}
}

// counts gives how many requests there were since it was called last, and forgets them.
func (s *server) counts() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := s.requests
	s.requests = make(map[string]int)
	return counts
}

func (s *server) refusing(refuse func(verb, resource, name string) int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = refuse
}

// ServeHTTP answers requests for objects of the namespace.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	_, path, _ := strings.Cut(r.URL.Path, "/namespaces/"+namespace+"/")
	resource, name, _ := strings.Cut(path, "/")
	kind, known := kinds[resource]
	if !known {
		http.NotFound(w, r)
		return
	}
	verb := map[string]string{http.MethodGet: "get", http.MethodPatch: "patch", http.MethodDelete: "delete"}[r.Method]
	if name == "" && verb == "get" {
		verb = "list"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	group := schema.GroupResource{Group: kind.Group, Resource: resource}
	live := s.objects[resource+"/"+name]
	s.requests[verb+" "+group.String()]++
	if verb == "patch" && live == nil {
		s.requests["create "+group.String()]++
	}
	if s.refuse != nil {
		if code := s.refuse(verb, resource, name); code != 0 {
			fail(w, apierrors.NewGenericServerResponse(code, verb, group, name, "for the test", 0, false))
			return
		}
	}
	switch {
	case verb == "list":
		s.list(w, r, resource)
	case verb == "patch" && r.Header.Get("Content-Type") == string(types.ApplyPatchType):
		s.apply(w, r, resource, name, body)
	case live == nil:
		fail(w, apierrors.NewNotFound(group, name))
	case verb == "delete":
		var options metav1.DeleteOptions
		if err := json.Unmarshal(body, &options); err != nil || options.Preconditions == nil || *options.Preconditions.UID != live.GetUID() {
			fail(w, apierrors.NewConflict(group, name, err))
			return
		}
		delete(s.objects, resource+"/"+name)
		write(w, http.StatusOK, live)
	case verb == "get":
		write(w, http.StatusOK, live)
	default:
		fail(w, apierrors.NewMethodNotSupported(group, verb))
	}
}

func (s *server) list(w http.ResponseWriter, r *http.Request, resource string) {
	query := r.URL.Query()
	selector, err := labels.Parse(query.Get("labelSelector"))
	if err != nil {
		fail(w, apierrors.NewBadRequest(err.Error()))
		return
	}
	limit, _ := strconv.Atoi(query.Get("limit"))
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(kinds[resource].GroupVersion().WithKind(kinds[resource].Kind + "List"))
	list.SetResourceVersion(strconv.Itoa(s.version))
	places := slices.Sorted(maps.Keys(s.objects))
	for _, place := range places {
		of, name, _ := strings.Cut(place, "/")
		if o := s.objects[place]; of == resource && name > query.Get("continue") && selector.Matches(labels.Set(o.GetLabels())) {
			if limit > 0 && len(list.Items) == limit {
				list.SetContinue(list.Items[limit-1].GetName())
				break
			}
			list.Items = append(list.Items, *o)
		}
	}
	text, err := list.MarshalJSON()
	if err != nil {
		fail(w, apierrors.NewInternalError(err))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(text)
}

func (s *server) apply(w http.ResponseWriter, r *http.Request, resource, name string, body []byte) {
	applied := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(body, &applied.Object); err != nil {
		fail(w, apierrors.NewBadRequest(err.Error()))
		return
	}
	live, code := s.objects[resource+"/"+name], http.StatusOK
	if live == nil {
		live, code = s.blank(resource, name), http.StatusCreated
	}
	query := r.URL.Query()
	merged, err := s.fields[resource].Apply(live.DeepCopy(), applied, query.Get("fieldManager"), query.Get("force") == "true")
	if err != nil {
		fail(w, err)
		return
	}
	s.store(resource, merged.(*unstructured.Unstructured))
	write(w, code, s.objects[resource+"/"+name])
}

func write(w http.ResponseWriter, code int, o *unstructured.Unstructured) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(o.Object)
}

func fail(w http.ResponseWriter, err error) {
	status := metav1.Status{Code: http.StatusInternalServerError, Message: err.Error(), Status: metav1.StatusFailure}
	if known, ok := err.(apierrors.APIStatus); ok {
		status = known.Status()
	}
	status.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(cmp.Or(int(status.Code), http.StatusInternalServerError))
	_ = json.NewEncoder(w).Encode(status)
}
