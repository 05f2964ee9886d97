package planner

// Kind is the kind of a planned object.
type Kind string

// The kinds.
const (
	PingSource Kind = "PingSource" // wakes the function of a metric for one bucket size
	ConfigMap  Kind = "ConfigMap"  // holds a readable copy of a metric's definition
)

// Kinds gives all kinds.
func Kinds() []Kind { return []Kind{PingSource, ConfigMap} }

// APIVersion is that of the kind's objects.
func (k Kind) APIVersion() string {
	if k == PingSource {
		return "sources.knative.dev/v1"
	}
	return "v1"
}

// Object is a planned object. Its JSON form is that of Kubernetes' API. The duck types of Knative say the same, and bring a client
// of Kubernetes into whatever links them; the tests compare.
type Object struct {
	APIVersion string            `json:"apiVersion"`
	Kind       Kind              `json:"kind"`
	Metadata   Metadata          `json:"metadata"`
	Spec       *PingSourceSpec   `json:"spec,omitempty"` // of a PingSource
	Data       map[string]string `json:"data,omitempty"` // of a ConfigMap
}

// Metadata is that of an object.
type Metadata struct {
	Name            string            `json:"name"`
	Namespace       string            `json:"namespace,omitempty"`
	Labels          map[string]string `json:"labels"`
	Annotations     map[string]string `json:"annotations,omitempty"`
	OwnerReferences []Owner           `json:"ownerReferences,omitempty"`
}

// Owner is an object of the same namespace that others go with.
type Owner struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Name       string `json:"name"`
	UID        string `json:"uid"`
}

// PingSourceSpec says when a PingSource sends what to whom.
type PingSourceSpec struct {
	Schedule    string      `json:"schedule"`
	Timezone    string      `json:"timezone"`
	CEOverrides CEOverrides `json:"ceOverrides"`
	Sink        Destination `json:"sink"`
}

// CEOverrides are the extensions of the CloudEvents that are sent.
type CEOverrides struct {
	Extensions map[string]string `json:"extensions"`
}

// Destination is where CloudEvents go.
type Destination struct {
	Ref Reference `json:"ref"`
}

// Reference names an object of the same namespace.
type Reference struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Name       string `json:"name"`
}

// key tells objects of a namespace apart.
type key struct {
	kind Kind
	name string
}

func (o Object) key() key { return key{o.Kind, o.Metadata.Name} }
