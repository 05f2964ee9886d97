package manifests_test

import (
	"context"
	"strings"

	eventingconfig "knative.dev/eventing/pkg/apis/config"
	"knative.dev/eventing/pkg/apis/feature"
	"knative.dev/pkg/apis"
	servingconfig "knative.dev/serving/pkg/apis/config"
)

// defaultBroker is the entry of the ConfigMap config-br-defaults as Knative Eventing installs it.
const defaultBroker = `
clusterDefault:
  brokerClass: MTChannelBasedBroker
  apiVersion: v1
  kind: ConfigMap
  name: config-br-default-channel
  namespace: knative-eventing
  delivery: {retry: 10, backoffPolicy: exponential, backoffDelay: PT0.2S}
`

// admission is the context of Knative's webhooks in a cluster whose ConfigMaps are as installed.
func admission() (context.Context, error) {
	brokers, err := eventingconfig.NewDefaultsConfigFromMap(map[string]string{eventingconfig.BrokerDefaultsKey: defaultBroker})
	if err != nil {
		return nil, err
	}
	features, err := feature.NewFlagsConfigFromMap(nil)
	if err != nil {
		return nil, err
	}
	ctx := apis.WithinCreate(context.Background())
	ctx = servingconfig.ToContext(ctx, servingconfig.FromContextOrDefaults(ctx))
	ctx = eventingconfig.ToContext(ctx, &eventingconfig.Config{Defaults: brokers})
	return feature.ToContext(ctx, features), nil
}

// admitted: Knative's webhooks take the object: its own SetDefaults, then its own Validate.
func admitted(objects []object) []error {
	var found findings
	ctx, err := admission()
	if err != nil {
		return []error{err}
	}
	for _, o := range objects {
		if !strings.HasSuffix(o.GetObjectKind().GroupVersionKind().Group, ".knative.dev") {
			continue
		}
		subject, ok := o.DeepCopyObject().(interface {
			apis.Defaultable
			apis.Validatable
		})
		if !ok {
			found.add(title(o), "Knative has no validation for it")
			continue
		}
		subject.SetDefaults(ctx)
		if err := subject.Validate(ctx); err != nil {
			found.add(title(o), "%w", err)
		}
	}
	return found
}
