// Package config holds the manifests of Kubernetes objects.
package config

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"github.com/chainmetrics/chainmetrics/examples"
)

//go:embed knative eventing redis postgres sample monitoring overlays
var manifests embed.FS

// overlays is the folder whose folders are the overlays.
const overlays = "overlays"

// Overlays gives the names of the overlays.
func Overlays() []string {
	entries, err := fs.ReadDir(manifests, overlays)
	if err != nil {
		panic(err) // it is embedded
	}
	names := make([]string, len(entries))
	for i, entry := range entries {
		names[i] = entry.Name()
	}
	return names
}

// Render gives the objects of an overlay as YAML documents, as kubectl kustomize config/overlays/<overlay> does, but in the
// order of the files. Images of this project are named ko://<import path>.
func Render(overlay string) ([]byte, error) {
	if !slices.Contains(Overlays(), overlay) {
		return nil, fmt.Errorf("render overlay %q: it is none of %s", overlay, strings.Join(Overlays(), ", "))
	}
	return RenderBase(path.Join(overlays, overlay))
}

// RenderBase gives the objects of a folder of config/, such as redis.
func RenderBase(folder string) ([]byte, error) {
	objects, err := render(folder, krusty.MakeDefaultOptions(), nil)
	if err != nil {
		return nil, fmt.Errorf("render %s: %w", folder, err)
	}
	return objects, nil
}

// render gives the objects of a folder, which may be one of more files, named by their paths from /config on.
func render(folder string, options *krusty.Options, more map[string]string) ([]byte, error) {
	root := filesys.MakeFsInMemory()
	if err := errors.Join(put(root, "/config", manifests), put(root, "/examples", examples.Metrics)); err != nil {
		return nil, err
	}
	for name, text := range more {
		if err := root.WriteFile(name, []byte(text)); err != nil {
			return nil, err
		}
	}
	objects, err := krusty.MakeKustomizer(options).Run(root, path.Join("/config", folder))
	if err != nil {
		return nil, err
	}
	return objects.AsYaml()
}

// put copies files to a folder.
func put(root filesys.FileSystem, folder string, files fs.FS) error {
	return fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		return root.WriteFile(path.Join(folder, name), data)
	})
}
