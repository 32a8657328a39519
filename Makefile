.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
RUN_STAMP := $(VENV)/.installed-to-run
# More arguments for pip.
PIP_ARGS ?=
# An index with CPU builds of PyTorch, for install-cpu; by default the one that pip uses here is searched.
INDEX ?=
# More arguments for `sidecar demo`, pytest and the benchmarks.
ARGS ?=
# Processes that run the tests, each with a Postgres of its own; a file's tests stay together. 0: one, for a debugger.
# Three for two CPUs: a third of the time is spent waiting, for deadlines and for processes that start.
WORKERS ?= $(shell echo $$((($$(getconf _NPROCESSORS_ONLN) * 3 + 1) / 2)))
# Where the training of the demo's model keeps its checkpoints.
RUN ?= .training/demo-model

.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: install
install: $(STAMP) ## Make .venv with everything in it (again only if pyproject.toml or constraints.txt changed)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; this is " + sys.version.split()[0] \
		+ ". Name another one: make install PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv $(VENV)

$(RUN_STAMP): pyproject.toml constraints.txt | $(BIN)/python
	@$(BIN)/python -m installation run $(PIP_ARGS)
	@touch $@

$(STAMP): pyproject.toml constraints.txt | $(BIN)/python
	@$(BIN)/python -m installation all $(PIP_ARGS)
	@touch $@ $(RUN_STAMP)

.PHONY: install-cpu
install-cpu: | $(BIN)/python ## Make .venv with what `make run` needs, and PyTorch's CPU build (from another index: INDEX=its URL)
	@$(BIN)/python -m installation cpu $(if $(INDEX),--index '$(INDEX)') $(PIP_ARGS)
	@touch $(RUN_STAMP)

.PHONY: run
run: $(RUN_STAMP) ## Start Postgres, a table of emoji and the service on :9000, until Ctrl-C; installs no more than it needs
	@$(BIN)/sidecar demo $(ARGS)

.PHONY: test
test: $(STAMP) ## Run all tests (a part of them: make test ARGS="tests/unit -k config")
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

.PHONY: test-16
test-16: $(STAMP) ## Run all tests on Postgres 16 (`make test` runs them on 18, and on 16 those where it may matter)
	SIDECAR_TEST_POSTGRES_VERSION=16 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

.PHONY: faults
faults: $(STAMP) ## Run what is long and random: chaos, properties with many examples (minutes; other numbers each time)
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m 'long or hypothesis' --hypothesis-profile=long $(ARGS)

CLIENTS := $(VENV)/clients

$(CLIENTS)/.installed: tests/clients/requirements.txt | $(STAMP)
	$(BIN)/python -m venv $(CLIENTS)
	$(CLIENTS)/bin/python -m pip install --disable-pip-version-check --quiet --no-compile --no-deps --requirement tests/clients/requirements.txt
	@touch $@

$(CLIENTS)/node_modules/.package-lock.json: tests/clients/package.json tests/clients/package-lock.json | $(CLIENTS)/.installed
	@cp tests/clients/package.json tests/clients/package-lock.json tests/clients/.npmrc $(CLIENTS)/
	@if command -v npm >/dev/null; then npm ci --prefix $(CLIENTS) --no-audit --no-fund --silent; \
		else echo "npm is missing: the tests of clients in JavaScript are skipped"; fi

.PHONY: test-clients
test-clients: $(CLIENTS)/.installed $(CLIENTS)/node_modules/.package-lock.json ## Run foreign clients against the service: LangChain, OpenAI's, npm's, Java …
	$(BIN)/python -m pytest -m clients tests/clients $(ARGS)

BROWSER := $(VENV)/browser

$(BROWSER)/node_modules/.package-lock.json: tests/browser/package.json tests/browser/package-lock.json | $(STAMP)
	@mkdir -p $(BROWSER)
	@cp tests/browser/package.json tests/browser/package-lock.json tests/browser/.npmrc $(BROWSER)/
	@if command -v npm >/dev/null; then npm ci --prefix $(BROWSER) --no-audit --no-fund --silent; \
		else echo "npm is missing: the tests of accessibility are skipped"; fi

.PHONY: test-browser
test-browser: $(STAMP) $(BROWSER)/node_modules/.package-lock.json ## Look at the console in Debian's chromium (minutes)
	$(BIN)/python -m pytest -n 2 --dist loadfile -m browser tests/browser $(ARGS)

.PHONY: screenshots
screenshots: $(STAMP) ## Take the pictures of docs/console.md again
	SIDECAR_TEST_SCREENSHOTS=1 $(BIN)/python -m pytest -m browser tests/browser/test_screenshots.py $(ARGS)

.PHONY: vendor
vendor: $(STAMP) ## Fetch the console's libraries again: the versions of page/vendor/packages.toml, checked by their digests
	$(BIN)/python -m tests.vendored_files

.PHONY: test-ray
test-ray: $(STAMP) ## Run the tests on a cluster of Ray: replicas, autoscaling, backfill (minutes)
	$(BIN)/python -m pytest -m ray tests/integration/ray $(ARGS)

.PHONY: lint
lint: $(STAMP) ## Style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: check
check: lint test ## Before a commit; CI runs `make faults` too

.PHONY: format
format: $(STAMP) ## Format the code and mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: docs
docs: $(STAMP) ## Rewrite docs/reference and the tables of docs/settings.md and docs/monitoring.md
	$(BIN)/python -c 'from pathlib import Path; from sidecar.config import settings_table; \
		page = Path("docs/settings.md"); \
		page.write_text(page.read_text().split("| Variable |")[0] + settings_table())'
	$(BIN)/python -m tests.metrics_table
	$(BIN)/python -m docsite.reference
	$(BIN)/python -m tests.chart_files

.PHONY: chart
chart: $(STAMP) ## Regenerate parts of deploy/helm: schema, table of values, rendered examples in the tests
	$(BIN)/python -m tests.chart_files

.PHONY: site
site: $(STAMP) ## Write the docs site to site/ (open site/index.html); a link that leads nowhere is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet

.PHONY: bench
bench: $(STAMP) ## Measure every figure of docs/benchmarks.md
	$(BIN)/python -m benchmarks $(ARGS)
	$(BIN)/python -m benchmarks.tables
	$(BIN)/python -m benchmarks.large_tables.page

.PHONY: schema
schema: $(STAMP) ## Rewrite tests/schema.sql
	$(BIN)/python -m tests.schema_dump

.PHONY: demo-data
demo-data: $(STAMP) ## Repack the rows of the demo's table (needs Debian's packages; see sidecar/demo/data/LICENSES.md)
	$(BIN)/python -m training.demo_data

.PHONY: train-demo-model
train-demo-model: $(STAMP) ## Train the demo's model: a quarter of an hour on a GPU, hours without; goes on where it was
	$(BIN)/python -m training prepare $(RUN)
	$(BIN)/python -m training train $(RUN) $(ARGS)
	$(BIN)/python -m training export $(RUN) sidecar/demo/model
	$(BIN)/python -m training evaluate $(RUN) sidecar/demo/model training/figures.json
	$(BIN)/python -m training card $(RUN) sidecar/demo/model training/figures.json
	cp $(RUN)/log.jsonl training/log.jsonl

.PHONY: clean
clean: ## Remove caches and build products; .venv and the demo's data stay
	rm -rf build dist site .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
