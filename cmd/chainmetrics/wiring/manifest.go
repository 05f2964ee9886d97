package wiring

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"go.yaml.in/yaml/v3"
)

// kind is a kind of object, with its API.
type kind struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string `yaml:"kind"`
}

// Kinds that are carried out, or referred to.
var (
	service     = kind{"serving.knative.dev/v1", "Service"}
	broker      = kind{"eventing.knative.dev/v1", "Broker"}
	trigger     = kind{"eventing.knative.dev/v1", "Trigger"}
	pingSource  = kind{"sources.knative.dev/v1", "PingSource"}
	sinkBinding = kind{"sources.knative.dev/v1", "SinkBinding"}
	deployment  = kind{"apps/v1", "Deployment"}
	job         = kind{"batch/v1", "Job"}
	secret      = kind{"v1", "Secret"}
)

// object is a document.
type object struct {
	kind     `yaml:",inline"`
	Metadata struct{ Name, Namespace string }
	Spec     yaml.Node
}

// decode reads documents.
func decode(manifests []byte) ([]object, error) {
	var objects []object
	for decoder := yaml.NewDecoder(bytes.NewReader(manifests)); ; {
		var o object
		err := decoder.Decode(&o)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read manifests: %w", err)
		}
		objects = append(objects, o)
	}
}

// others are fields that nothing here carries out.
type others map[string]yaml.Node

func (o others) names() []string { return slices.Sorted(maps.Keys(o)) }

// workload is the part of a Service, a Deployment or a Job that says what runs.
type workload struct {
	Template struct {
		Spec struct {
			Containers           []container
			InitContainers       []container `yaml:"initContainers"`
			ContainerConcurrency int         `yaml:"containerConcurrency"`
			TimeoutSeconds       int         `yaml:"timeoutSeconds"`
		}
	}
}

type container struct {
	Name, Image   string
	Command, Args []string
	Env           []struct {
		Name, Value string
		Others      others `yaml:",inline"`
	}
	EnvFrom []struct {
		SecretRef secretReference `yaml:"secretRef"`
		Others    others          `yaml:",inline"`
	} `yaml:"envFrom"`
}

// secretReference names a Secret, which need not be there where it is optional.
type secretReference struct {
	Name     string
	Optional bool
	Others   others `yaml:",inline"`
}

// reference names an object of the same namespace.
type reference struct {
	kind      `yaml:",inline"`
	Name      string
	Namespace string
	Others    others `yaml:",inline"`
}

// sinkSpec is a destination with a path.
type sinkSpec struct {
	destination `yaml:",inline"`
	URI         string `yaml:"uri"`
}

type destination struct {
	Ref    reference
	Others others `yaml:",inline"`
}

type overrides struct {
	Extensions map[string]string
	Others     others `yaml:",inline"`
}

type bindingSpec struct {
	Subject   reference
	Sink      destination
	Overrides overrides `yaml:"ceOverrides"`
	Others    others    `yaml:",inline"`
}

type pingSpec struct {
	Schedule, Timezone, Data string
	ContentType              string    `yaml:"contentType"`
	Overrides                overrides `yaml:"ceOverrides"`
	Sink                     destination
	Others                   others `yaml:",inline"`
}

type brokerSpec struct {
	Delivery *deliverySpec
	Others   others `yaml:",inline"`
}

type triggerSpec struct {
	Broker string
	Filter struct {
		Attributes map[string]string
		Others     others `yaml:",inline"`
	}
	Subscriber destination
	Delivery   *deliverySpec
	Others     others `yaml:",inline"`
}

type deliverySpec struct {
	Retry         int
	BackoffPolicy string `yaml:"backoffPolicy"`
	BackoffDelay  string `yaml:"backoffDelay"`
	Timeout       string
	DeadLetter    *sinkSpec `yaml:"deadLetterSink"`
	Others        others    `yaml:",inline"`
}
