package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/chainmetrics/chainmetrics/functions"
	"github.com/chainmetrics/chainmetrics/shared/metric"
)

// source is the text of definitions, with the name that errors give it.
type source struct {
	name string
	data []byte
}

// readDefinitions reads the definitions of files and directories, and checks them. Its error has a line for each thing
// that is wrong.
func (a *app) readDefinitions(files []string) ([]metric.Definition, error) {
	var sources []source
	for _, file := range files {
		found, err := a.readSource(file)
		if err != nil {
			return nil, fmt.Errorf("read definitions: %w", err)
		}
		sources = append(sources, found...)
	}
	return parseDefinitions(sources)
}

func (a *app) readSource(file string) ([]source, error) {
	if file == "-" {
		data, err := io.ReadAll(a.in)
		return []source{{name: "standard input", data: data}}, err
	}
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		data, err := os.ReadFile(file)
		return []source{{name: file, data: data}}, err
	}
	sources, err := readFolder(os.DirFS(file), ".")
	if err == nil && len(sources) == 0 {
		err = fmt.Errorf("%s holds no *.yaml or *.yml", file)
	}
	for i := range sources {
		sources[i].name = filepath.Join(file, filepath.FromSlash(sources[i].name))
	}
	return sources, err
}

// readFolder reads the files of a folder that hold YAML, sorted by name.
func readFolder(files fs.FS, folder string) ([]source, error) {
	entries, err := fs.ReadDir(files, folder)
	if err != nil {
		return nil, err
	}
	var sources []source
	for _, entry := range entries {
		extension := path.Ext(entry.Name())
		if entry.IsDir() || extension != ".yaml" && extension != ".yml" {
			continue
		}
		name := path.Join(folder, entry.Name())
		data, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		sources = append(sources, source{name: name, data: data})
	}
	return sources, nil
}

// parseDefinitions parses and checks definitions, also against each other.
func parseDefinitions(sources []source) ([]metric.Definition, error) {
	var (
		definitions []metric.Definition
		wrong       []error
		files       = make(map[string]string) // by the metric's name
	)
	for _, s := range sources {
		elsewhere := func(d metric.Definition) error {
			if file, twice := files[d.Name]; twice {
				return &metric.FieldError{Field: "name", Problem: "is the name of a metric in " + file + " already: choose another one"}
			}
			return nil
		}
		parsed, err := metric.Parse(s.name, s.data, functions.Definitions(), elsewhere)
		if err != nil {
			wrong = append(wrong, err)
			continue
		}
		for _, definition := range parsed {
			files[definition.Name] = s.name
		}
		definitions = append(definitions, parsed...)
	}
	return definitions, errors.Join(wrong...)
}
