package main

import (
	"os"
	"reflect"
	"slices"
	"testing"

	"github.com/chainmetrics/chainmetrics/events/redisstream"
)

// TestVariablesAreThoseOfRedis keeps a private Redis from what is meant for another one.
func TestVariablesAreThoseOfRedis(t *testing.T) {
	t.Parallel()
	var want []string
	for field := range reflect.TypeFor[redisstream.Config]().Fields() {
		want = append(want, field.Tag.Get("envconfig"))
	}
	got := redisVariables.all()
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("the variables of Redis are %q, want %q", got, want)
	}
}

func TestURLTakesThePlaceOfTheEnvironments(t *testing.T) {
	tests := map[string]struct {
		use  func(string, variables) error
		left []string // beside the URL
	}{
		"of a flag":           {useURL, redisVariables.access},
		"of a private server": {usePrivate, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for _, variable := range redisVariables.all() {
				t.Setenv(variable, "another")
			}
			if err := tt.use("redis://this", redisVariables); err != nil {
				t.Fatal(err)
			}
			var left []string
			for _, variable := range redisVariables.all() {
				if _, ok := os.LookupEnv(variable); ok && variable != redisVariables.url {
					left = append(left, variable)
				}
			}
			if got := os.Getenv(redisVariables.url); got != "redis://this" || !slices.Equal(left, tt.left) {
				t.Errorf("the URL is %s, beside %q, want %q", got, left, tt.left)
			}
		})
	}
}
