# Every target sets up what it needs by itself; see tools/bootstrap.py.
SHELL := /bin/sh
PYTHON ?= python3
ARGS ?=
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup demo sandbox bench simulate test lint format unit mutations churn soak fuzz generate lock docs dist image clean

help: ## List the targets
	@echo 'Meshfed: what one can do here. PYTHON= names the Python to use, ARGS= adds arguments.'
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

setup: ## Make .venv from the lock, once for each lock (all other targets do this first)
	@command -v '$(PYTHON)' >/dev/null || { \
	    echo 'setup: failed: there is no $(PYTHON) here: install Python 3.11 or newer, or name it with PYTHON=/path/to/python3' >&2; \
	    exit 1; }
	@'$(PYTHON)' tools/bootstrap.py

demo: setup ## Federate two meshes on this machine, and send requests through them
	@$(BIN)/meshfed demo $(ARGS)

sandbox: setup ## Bring up Kubernetes APIs for two meshes, to explore with kubectl
	@$(BIN)/meshfed sandbox $(ARGS)

bench: setup ## Measure two controllers on this machine beside their floor (ARGS=--help for what it takes)
	$(BIN)/python -m tests.bench $(ARGS)

simulate: setup ## Have one mesh meet hundreds of others, in virtual time (ARGS=--help for what it takes)
	$(BIN)/python -m tests.bench.simulate $(ARGS)

test: lint ## Run everything that guards the project: all of lint, then all tests
	$(BIN)/pytest --numprocesses 4 --dist worksteal $(ARGS)

lint: setup ## Check format, style, types, layers, dependencies and generated files
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/deptry src
	cd meshfed-sandbox && ../$(BIN)/deptry src
	$(BIN)/hadolint deploy/Containerfile
	$(BIN)/python tools/generate.py --check

format: setup ## Format the code, and repair what can be repaired by itself
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

unit: setup ## Run the tests alone, stopping at the first failure (ARGS='tests/model -k name' narrows)
	$(BIN)/pytest --exitfirst $(ARGS)

mutations: setup ## Try every mistake in what is written, and say in docs/mutations.md who notices (needs haproxy)
	$(BIN)/python -m tests.e2e.mutations

churn: setup ## Change three meshes for an hour while clients call across them (ARGS=--help for what it takes)
	$(BIN)/python -m tests.e2e.churn $(ARGS)

soak: setup ## Let meshes live for eight hours of virtual time, in minutes (ARGS=--help for what it takes)
	$(BIN)/python -m tests.controller.soak $(ARGS)

fuzz: setup ## Try what nobody wrote on whatever reads bytes from others, a minute each (ARGS='--minutes 30 offer')
	library="$$($(BIN)/python tools/fetched.py fuzz requirements-fuzz.lock)" && PYTHONPATH="$$library" $(BIN)/python -m tests.fuzz $(ARGS)

generate: setup ## Write all generated files again
	$(BIN)/python tools/generate.py

LOCK := $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
    --custom-compile-command "make lock" --quiet
lock: setup ## Resolve what both pyproject.toml declare into the locks (ARGS=--upgrade: take the newest of everything)
	$(LOCK) --group dev --no-emit-package meshfed --output-file requirements-dev.lock $(ARGS) pyproject.toml meshfed-sandbox/pyproject.toml
	$(LOCK) --constraint requirements-dev.lock --output-file requirements.lock --upgrade pyproject.toml
	$(LOCK) --group docs --output-file requirements-docs.lock $(ARGS)
	$(LOCK) --group pyproject.toml:fuzz --output-file requirements-fuzz.lock $(ARGS)

docs: setup ## Make the documentation site in build/docs, and check every link (ARGS='--into DIR': beside other versions)
	$(BIN)/python tools/docs_site.py $(ARGS)

dist: setup ## Make dist, the files of a release, and check that they work where nothing else is installed
	$(BIN)/python tools/dist.py

CONTAINER_TOOL ?= docker
VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' src/meshfed/__init__.py)
IMAGE ?= meshfed:$(VERSION)
image: ## Build the container image from dist (CONTAINER_TOOL=podman, IMAGE=name, ARGS='--platform linux/arm64')
	$(CONTAINER_TOOL) build --file deploy/Containerfile --tag '$(IMAGE)' $(ARGS) \
	    --build-arg VERSION=$(VERSION) \
	    --build-arg REVISION="$$(git rev-parse HEAD)" --build-arg CREATED="$$(git log -1 --format=%cI)" .

clean: ## Remove the environment and all caches
	rm -rf .venv .tools build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
