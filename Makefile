PYTHON ?= python3
ARGS ?=
JOBS ?= 3

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-virtualenv
TOOLS := $(VENV)/.made
RUNTIME := $(VENV)/.runtime
DEV := $(VENV)/.dev
OPTIONS = $(strip $(if $(CONFIG),--config $(CONFIG)) $(if $(HOST),--host $(HOST)) $(if $(PORT),--port $(PORT)) $(if $(WORKERS),--workers $(WORKERS)))
COMPILE := uv pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help serve demo test format lint types imports pytest browser soak bench docs lock clean

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

serve: $(RUNTIME) ## Start the service with config/, its data under ./data/ (HOST, PORT, WORKERS, CONFIG, or the settings CSTP_…).
	@exec $(BIN)/python -m cstp_server serve $(OPTIONS)

demo: $(RUNTIME) ## Start the service with a simulated fleet to look at, until Ctrl-C (ARGS are the demo's).
	@exec $(BIN)/python -m demo $(ARGS)

test: format lint types imports pytest ## Run every check and every test, on SQLite and PostgreSQL.

format: $(DEV)
	$(BIN)/ruff format --check .

lint: $(DEV)
	$(BIN)/ruff check .

types: $(DEV)
	$(BIN)/mypy

imports: $(DEV)
	$(BIN)/lint-imports --no-cache --no-logo

pytest: $(DEV) browser ## Run the tests alone, JOBS files at a time (ARGS are pytest's).
	$(BIN)/python -W error -m pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

browser: ## Install the browser that the dashboard is tested in, where the system is Debian's and one is root.
	@command -v chromium > /dev/null || { [ "$$(id -u)" -eq 0 ] && apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium > /dev/null; } \
	  || echo "the tests of the dashboard take Chromium: install the package chromium" >&2

soak: $(DEV) ## Run the long tests, those that take minutes.
	$(BIN)/python -W error -m pytest -m soak $(ARGS)

bench: $(DEV) ## Run the benchmarks and print their figures.
	$(BIN)/python -m benchmarks $(ARGS)

docs: $(DEV) ## Write the generated parts of the documents anew.
	$(BIN)/python docs/generate.py

lock: ## Resolve the newest releases into the lock files (needs uv).
	$(COMPILE) --upgrade pyproject.toml --output-file requirements.lock
	$(COMPILE) --upgrade --constraint requirements.lock --group dev --extra otel pyproject.toml --output-file requirements-dev.lock

clean: ## Remove what the other targets made, except ./data/.
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(TOOLS):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "cstp needs Python 3.11 or newer: make PYTHON=python3.11 …" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(RUNTIME): requirements.lock | $(TOOLS)
	$(PIP) --require-hashes --requirement requirements.lock
	@echo '$(CURDIR)' > "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/checkout.pth"
	@printf '#!/bin/sh\nexec "%s/python" -m cstp_server "$$@"\n' '$(CURDIR)/$(BIN)' > $(BIN)/cstp
	@chmod +x $(BIN)/cstp
	@touch $@

$(DEV): requirements-dev.lock pyproject.toml | $(TOOLS)
	$(PIP) --require-hashes --requirement requirements-dev.lock
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@ $(RUNTIME)
