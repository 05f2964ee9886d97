// Package annotation keeps in a context what every log line of some work says of it.
package annotation

import (
	"context"
	"log/slog"
	"slices"
)

type key struct{}

// With gives a context whose log lines have some attributes, beside those that they had.
func With(ctx context.Context, attributes ...slog.Attr) context.Context {
	return context.WithValue(ctx, key{}, slices.Concat(Of(ctx), attributes))
}

// Of gives the attributes of a context.
func Of(ctx context.Context) []slog.Attr {
	attributes, _ := ctx.Value(key{}).([]slog.Attr)
	return attributes
}
