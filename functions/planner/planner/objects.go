package planner

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/shared/bucket"
	"github.com/chainmetrics/chainmetrics/shared/metric"
)

// Labels of planned objects.
const (
	LabelManagedBy  = "app.kubernetes.io/managed-by"
	LabelPartOf     = "app.kubernetes.io/part-of"
	LabelMetric     = "metric" // as it is written, while names of objects have hyphens
	LabelMetricType = "metric-type"
	LabelBucket     = "bucket" // of a PingSource
	LabelComplexity = "complexity"
)

// Manager is the value of [LabelManagedBy], and the name under which fields are applied.
const Manager = "chainmetrics-planner"

const (
	project = "chainmetrics"
	// broker is the Broker of config/eventing.
	broker = "metrics"
)

// Names of the data of a ConfigMap.
const (
	definitionData   = "metric.json"
	queryData        = "calculation_logic.sql" // the template of a metric that is made of a query, as it was written
	dependenciesData = "dependencies.json"     // the names of the metrics that it is derived from, an array
)

// ObjectsOf gives the objects of a metric, without owner: its ConfigMap, then a PingSource for each of its bucket sizes. It fails
// where the definition has no schedule.
func ObjectsOf(d metric.Definition, namespace string) ([]Object, error) {
	config, err := configMap(d, namespace)
	if err != nil {
		return nil, err
	}
	objects := []Object{config}
	for _, size := range d.BucketSizes {
		source, err := pingSource(d, size, namespace)
		if err != nil {
			return nil, err
		}
		objects = append(objects, source)
	}
	return objects, nil
}

// Objects gives the objects of metrics, those of each together, by its name. Its error names every metric that has none.
func Objects(definitions []metric.Definition, namespace string) (all []Object, err error) {
	definitions = slices.SortedFunc(slices.Values(definitions), func(a, b metric.Definition) int { return strings.Compare(a.Name, b.Name) })
	var failed []error
	for _, d := range definitions {
		objects, err := ObjectsOf(d, namespace)
		failed = append(failed, err)
		all = append(all, objects...)
	}
	return all, errors.Join(failed...)
}

func pingSource(d metric.Definition, size bucket.Size, namespace string) (Object, error) {
	schedule, timezone, err := d.Tick(size)
	if err != nil {
		return Object{}, fmt.Errorf("plan %s of %s: %w", size, d.Name, err)
	}
	o := newObject(PingSource, pingSourceName(d.Name, size), d, namespace)
	o.Metadata.Labels[LabelBucket] = size.String()
	o.Spec = &PingSourceSpec{
		Schedule: schedule,
		Timezone: timezone,
		CEOverrides: CEOverrides{Extensions: map[string]string{
			events.ExtensionMetric:     d.Name,
			events.ExtensionMetricType: d.Type,
			events.ExtensionBucketSize: size.String(),
			events.ExtensionComplexity: d.Complexity,
		}},
		Sink: Destination{Ref: Reference{APIVersion: "eventing.knative.dev/v1", Kind: "Broker", Name: broker}},
	}
	return o, nil
}

// pingSourceName is metric-<name>-<bucket>. A name that ends in 10 would have the minutely one of another's 10-minutely: two hyphens
// keep it apart.
func pingSourceName(name string, size bucket.Size) string {
	name = "metric-" + hyphened(name)
	if size == bucket.Minutely && strings.HasSuffix(name, "-10") {
		name += "-"
	}
	return name + "-" + size.String()
}

func configMap(d metric.Definition, namespace string) (Object, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false) // an expression is to be read as it was written
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(d); err != nil {
		return Object{}, fmt.Errorf("plan %s: %w", d.Name, err)
	}
	dependencies := []string{}
	if derived := d.Calculation.Derived; derived != nil {
		dependencies = derived.Dependencies
	}
	names, err := json.Marshal(dependencies)
	if err != nil {
		return Object{}, fmt.Errorf("plan %s: %w", d.Name, err)
	}
	o := newObject(ConfigMap, "metrics-config-"+hyphened(d.Name), d, namespace)
	o.Data = map[string]string{definitionData: text.String(), dependenciesData: string(names) + "\n"}
	if query := d.Calculation.SQL; query != nil {
		o.Data[queryData] = query.Template
	}
	return o, nil
}

func newObject(kind Kind, name string, d metric.Definition, namespace string) Object {
	return Object{
		APIVersion: kind.APIVersion(),
		Kind:       kind,
		Metadata: Metadata{
			Name:      name,
			Namespace: namespace,
			Labels: map[string]string{
				LabelManagedBy:  Manager,
				LabelPartOf:     project,
				LabelMetric:     d.Name,
				LabelMetricType: d.Type,
				LabelComplexity: d.Complexity,
			},
		},
	}
}

// hyphened is a metric's name as a part of an object's.
func hyphened(name string) string { return strings.ReplaceAll(name, "_", "-") }
