# Every target makes the virtual environment it needs by itself. `make` alone prints this help.

PYTHON ?= python3
VENV ?= .venv
PYTEST_FLAGS ?= --numprocesses=auto --dist=worksteal
SEEDS ?= 20

BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime-installed
TOOLS := $(VENV)/.tools-installed
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input --quiet

.DEFAULT_GOAL := help
.PHONY: help demo run dev test lint check format coverage chaos bench clean

help:  ## Print this help
	@awk 'BEGIN { FS = ":.*## " } /^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "A Python other than python3: make PYTHON=python3.12 demo"

demo: $(RUNTIME)  ## Report the licences of every package that is installed here
	$(BIN)/stepwell run dependency_report
	@echo 'Open data/reports/dependencies.html in a browser.'

dev: $(RUNTIME)  ## Start a Redis, the API and a worker, and end all with one Ctrl-C
	$(BIN)/stepwell dev

run: $(RUNTIME)  ## Serve the API on http://127.0.0.1:8000
	$(BIN)/python run.py

test: $(TOOLS)  ## Run all tests
	$(BIN)/python -m pytest $(PYTEST_FLAGS)

lint: $(TOOLS)  ## Check style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint test  ## Check everything: lint, then test

format: $(TOOLS)  ## Format the code and mend what can be mended by itself
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

coverage: $(TOOLS)  ## Print the lines of src/ that no test runs, in processes that tests start too
	rm -f .coverage .coverage.*
	$(BIN)/python -m pytest --cov --cov-report=term --cov-fail-under=95 -k "not ($(UNTRACED))" $(PYTEST_FLAGS)

chaos: $(TOOLS)  ## Kill, stop and cut off workers and servers for a long time, with many seeds
	STEPWELL_CHAOS_FULL=1 STEPWELL_CHAOS_SEEDS=$(SEEDS) $(BIN)/python -m pytest tests/chaos $(PYTEST_FLAGS)

bench: $(TOOLS)  ## Measure what the engine costs, waits and child tasks too, and the queue beside RQ's own workers
	$(BIN)/python -m benchmarks.engine
	$(BIN)/python -m benchmarks.queue
	$(BIN)/python -m benchmarks.waiting

clean:  ## Remove the virtual environment, caches and reports; records in data/ stay
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .coverage.* htmlcov dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A tracer slows down, or changes, what these tests judge: time, memory, debuggers, signals.
UNTRACED := attacks or hostile or debugger or signal or time_limit or given_back or does_not_yield or montage or heavy or ctrl_c or given_up_soon

# The two sets of packages: what Stepwell needs to run, and that with the tools.
$(RUNTIME): pyproject.toml
	@command -v "$(PYTHON)" >/dev/null || { \
		echo "There is no '$(PYTHON)' here. Install Python 3.11 or newer, or name one: make PYTHON=python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Stepwell needs Python 3.11 or newer, and $(PYTHON) is $$("$(PYTHON)" -V 2>&1)." >&2; \
		echo "Name a newer one: make PYTHON=python3.12" >&2; exit 1; }
	@"$(BIN)/python" -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv "$(VENV)"
	$(PIP) install --editable .
	@touch $@

$(TOOLS): pyproject.toml $(RUNTIME)
	$(PIP) install --editable '.[dev]'
	@touch $@
