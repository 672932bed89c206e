# Everything a newcomer needs: `make help` lists the targets. Each sets up what it needs by itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# A stack is a dozen processes, each of which would compile all of its modules anew.
unexport PYTHONDONTWRITEBYTECODE

# Tests wait part of the time, so more run at once than there are processors; fewer where stacks are started.
AT_ONCE := --durations 10 --numprocesses

.DEFAULT_GOAL := help
.PHONY: help install sweep test test-quick check format bench simulate drill chaos soak strength screenshots \
	up down images secrets compose lock parts clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Install Crucible and all it needs into .venv

$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Crucible needs Python 3.11 or newer; name one with make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

sweep: $(INSTALLED) ## Run the main job: a parity sweep of the bundled corpus through both queues
	$(BIN)/crucible sweep corpora/bundled.jsonl --skip-unavailable

test: $(INSTALLED) parts ## Run all tests, on real servers, stacks, Docker and browsers included
	$(BIN)/pytest $(AT_ONCE) 4

test-quick: $(INSTALLED) parts ## Run the tests that need no stack, no Docker and no browser; after each change
	$(BIN)/pytest $(AT_ONCE) 6 -m "not stack and not docker and not browser"

check: $(INSTALLED) ## Check format, lint, types and the layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED) ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix-only .

bench: $(INSTALLED) parts ## Measure against the bare limit and a Celery chord; writes docs/benchmarks.md
	$(BIN)/crucible bench --write docs/benchmarks.md
	$(BIN)/crucible bench --front --write docs/benchmarks.md
	$(BIN)/crucible bench --scaling --write docs/benchmarks.md
	$(BIN)/crucible images build
	$(BIN)/crucible bench --sandboxes --write docs/benchmarks.md

simulate: $(INSTALLED) ## Try GO gates under constant looking, and time the way back; seeded
	$(BIN)/python -m bench.simulation

drill: $(INSTALLED) ## Practise the migration, with a fault at every stage; prints each time to roll back
	$(BIN)/python -m bench.drill

chaos: $(INSTALLED) parts ## Break every part in the middle of a sweep; prints what was lost (nothing); half an hour
	$(BIN)/python -m tests.chaos --write docs/chaos.md

soak: $(INSTALLED) parts ## Put mixed load on a stack for an hour while services are killed; prints what has grown (nothing)
	$(BIN)/python -m tests.soak

strength: $(INSTALLED) parts ## Plant faults one by one and count those that tests catch; an hour, goes on where it was cut
	$(BIN)/python -m tests.strength

screenshots: $(INSTALLED) parts ## Take pictures of every page, light and dark, into docs/screenshots
	$(BIN)/python -m tests.browser.screenshots docs/screenshots

up: $(INSTALLED) ## Start the local stack in the background
	$(BIN)/crucible up --detach

down: $(INSTALLED) ## Stop the local stack
	$(BIN)/crucible down

images: $(INSTALLED) ## Build the images of the composition; TOOLCHAINS names what programs are compiled with
	$(BIN)/python -m deployments.images $(if $(TOOLCHAINS),--toolchains "$(TOOLCHAINS)")

secrets: ## Make the secrets of the composition in .secrets, unless they are there
	@deployments/compose/make-secrets

COMPOSE ?= $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)

compose: images secrets ## Start the composition in the background, all of it in containers
	$(COMPOSE) up --detach

parts: ## Install the servers and toolchains that tests use (Debian, as root; elsewhere tests say what they miss)
	@tests/install-parts

LOCK := uv pip compile --generate-hashes --no-emit-index-url --no-emit-find-links --no-header

lock: ## Pin the dependencies anew (needs uv)
	$(LOCK) --universal --python-version 3.11 --extra dev --output-file requirements.lock pyproject.toml
	$(LOCK) --python-platform linux --python-version 3.11.2 --extra build --constraint requirements.lock \
		--output-file requirements-runtime.lock pyproject.toml

clean: ## Remove what was installed and what a stack has left
	rm -rf $(VENV) .crucible build
