# Everything a newcomer needs: `make help` lists the targets. Each sets up what it needs by itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install sweep test check format bench simulate drill chaos up down lock parts clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Install Crucible and all it needs into .venv

$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Crucible needs Python 3.11 or newer; name one with make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

sweep: $(INSTALLED) ## Run the main job: a parity sweep of the bundled corpus through both queues
	$(BIN)/crucible sweep corpora/bundled.jsonl --skip-unavailable

test: $(INSTALLED) parts ## Run all tests, on real servers
	$(BIN)/pytest

check: $(INSTALLED) ## Check format, lint, types and the layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED) ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix-only .

bench: $(INSTALLED) ## Measure against the bare limit and a Celery chord; writes docs/benchmarks.md
	$(BIN)/crucible bench --write docs/benchmarks.md
	$(BIN)/crucible images build
	$(BIN)/crucible bench --sandboxes --write docs/benchmarks.md

simulate: $(INSTALLED) ## Try GO gates under constant looking, and time the way back; seeded
	$(BIN)/python -m bench.simulation

drill: $(INSTALLED) ## Practise the migration, with a fault at every stage; prints each time to roll back
	$(BIN)/python -m bench.drill

chaos: $(INSTALLED) parts ## Break every part in the middle of a sweep; prints what was lost (nothing); half an hour
	$(BIN)/python -m tests.chaos --write docs/chaos.md

up: $(INSTALLED) ## Start the local stack in the background
	$(BIN)/crucible up --detach

down: $(INSTALLED) ## Stop the local stack
	$(BIN)/crucible down

parts: ## Install the servers and toolchains that tests use (Debian, as root; elsewhere tests say what they miss)
	@tests/install-parts

lock: ## Pin the dependencies anew (needs uv)
	uv pip compile --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-header \
		--python-version 3.11 --extra dev --output-file requirements.lock pyproject.toml

clean: ## Remove what was installed and what a stack has left
	rm -rf $(VENV) .crucible
