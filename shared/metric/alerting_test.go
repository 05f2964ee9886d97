package metric

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseAlerting(t *testing.T) {
	t.Parallel()
	const file = `
name: m
type: counter
calculation_logic: {stream: {event_type: block}}
chains: [bitcoin]
bucket_sizes: [daily]
`
	tests := map[string]struct {
		fields string
		want   Alerting
		mails  bool
	}{
		"defaults": {"", Alerting{}, true},
		"said":     {"email_on_failure: true", Alerting{EmailOnFailure: new(true)}, true},
		"all": {
			"email_on_failure: false\nemail_on_retry: true\nemail: [ops@example.com, Ann <ann@example.com>]",
			Alerting{EmailOnFailure: new(false), EmailOnRetry: true, Email: []string{"ops@example.com", "Ann <ann@example.com>"}},
			false,
		},
	}
	for name, tt := range tests {
		parsed, err := Parse("f", []byte(file+tt.fields), metricTypes)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		stored, err := json.Marshal(parsed[0])
		if err != nil {
			t.Fatal(err)
		}
		d, err := DecodeDefinition(stored)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, d.Alerting); diff != "" || d.MailsFailures() != tt.mails {
			t.Errorf("%s: mails failures: %t (-want +got)\n%s", name, d.MailsFailures(), diff)
		}
	}
}
