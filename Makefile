# make help lists the targets.

SHELL := /bin/sh
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

# What is built into bin/.
MAINS := ./cmd/chainmetrics ./events/feed ./events/source ./functions/archive ./functions/counter ./functions/gauge ./functions/histogram \
	./functions/notify ./functions/planner ./functions/scheduler

# Binaries carry the commit, except where git cannot tell it (another user's checkout, an exported tree).
BUILDVCS := $(shell git status >/dev/null 2>&1 && echo auto || echo false)

GOLANGCI_LINT := go tool -modfile=tools/go.mod golangci-lint

##@ Run

.PHONY: run
run: deps build ## Run the whole system on this machine; ARGS= are flags of chainmetrics up
	bin/chainmetrics up $(ARGS)

.PHONY: build
build: ## Build the programs into bin/
	CGO_ENABLED=0 go build -trimpath -buildvcs=$(BUILDVCS) -o bin/ $(MAINS)

.PHONY: deps
deps: ## Find the binaries of PostgreSQL and Redis, or install them; YES=1 answers yes
	@sh scripts/deps

##@ Deploy

# The overlay of config/overlays that is deployed.
OVERLAY ?= local

.PHONY: deploy
deploy: ## Deploy OVERLAY (local) to kubectl's cluster; KO_DOCKER_REPO says where images go
	@scripts/deploy config/overlays/$(OVERLAY)

.PHONY: undeploy
undeploy: ## Remove it again
	@scripts/undeploy config/overlays/$(OVERLAY)

.PHONY: images
images: ## Build and push the images alone
	@scripts/images

##@ Release

.PHONY: release
release: ## Build VERSION (the tag of this commit) into dist/: images, manifests, command, SBOMs; docs/releases.md
	@scripts/release

.PHONY: test-release
test-release: deps ## Release a copy twice and compare; upgrade from the release before. Some minutes
	go -C tests/manifests test -count 1 -timeout 30m -tags release -run '^TestRelease' .
	go test -count 1 -timeout 30m -tags release -run '^TestUpgrade' ./tests/integration

##@ Check

.PHONY: test
test: deps ## Run everything that must hold, fuzz targets briefly; RACE=0 is faster
	@scripts/test

.PHONY: e2e
e2e: ## Deploy to kubectl's cluster, disturb, compare, remove; needs what deploy needs
	go test -v -tags e2e -count 1 -timeout 60m ./tests/e2e

.PHONY: fuzz
fuzz: deps ## Run each fuzz target FUZZTIME (1000000x) times
	@FUZZTIME=$(or $(FUZZTIME),1000000x) scripts/fuzz

.PHONY: bench
bench: deps build ## Measure throughput, as ratios to what the servers can do
	go test -run '^$$' -bench . -benchtime 1x -timeout 30m $(ARGS) ./tests/bench

.PHONY: lint
lint: ## Run golangci-lint, in the version that tools/go.mod pins
	$(GOLANGCI_LINT) run ./...
	cd tests/manifests && go tool -modfile=../../tools/go.mod golangci-lint run --config ../../.golangci.yml ./...
	cd tests/monitoring && go tool -modfile=../../tools/go.mod golangci-lint run --config ../../.golangci.yml ./...

.PHONY: fmt
fmt: ## Format the code
	$(GOLANGCI_LINT) fmt ./...

##@ Other

.PHONY: clean
clean: ## Remove what was built; data stays in .chainmetrics/
	rm -rf bin dist

.PHONY: help
help: ## Print this
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z0-9-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' Makefile
