# Everything a developer or a newcomer types. `make` alone lists it. Each target does its own set-up, once.

VENV := .venv
PY := $(VENV)/bin/python
RUNTIME := $(VENV)/.runtime-installed
DEV := $(VENV)/.dev-installed
JOBS ?= auto
ARGS ?=

# The first Python that is new enough; empty when there is none.
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13 python3.14; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
PIP := $(PY) -m pip --disable-pip-version-check --no-input install -qq --require-hashes --no-deps

.DEFAULT_GOAL := help
.PHONY: help setup demo run test lint bench chaos faults planted fuzz fmt lock migration

help:  ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(DEV)  ## make .venv and install everything, hash-checked
	@echo "$(VENV) is ready"

demo: $(RUNTIME)  ## look at it: a fake Stripe, 300 customers, a live stream
	@exec $(PY) -m tests.fake_stripe.demo $(ARGS)

run: $(RUNTIME)  ## start everything on this machine (PORT, DATA_DIR, DATABASE_URL, REDIS_URL, WORKERS)
	@exec $(PY) -m workers.supervisor

test: $(DEV)  ## run all tests, in parallel (ARGS="-k name" for some, JOBS=1 for one at a time)
	@$(PY) -m pytest -n $(JOBS) --dist worksteal $(ARGS)

lint: $(DEV)  ## ruff, mypy, import-linter
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

bench: $(DEV)  ## measure: what there is in tests/benchmarks
	@if [ -f tests/benchmarks/__main__.py ]; then exec $(PY) -m tests.benchmarks $(ARGS); \
	else echo "no benchmarks yet"; fi

chaos: $(DEV)  ## 1,000 kills, every failpoint, both databases (ARGS="--database sqlite --kills 100 --seed 7 …", --help)
	@$(PY) -m tests.chaos $(ARGS)

faults: $(PY)  ## which tests prove which row of the fault catalogue (ARGS=--all for every test)
	@$(PY) -m tests.faults $(ARGS)

planted: $(DEV)  ## plant known bugs one at a time: the tests must catch each (ARGS="name …" for some)
	@$(PY) -m tests.planted $(ARGS)

fuzz: $(DEV)  ## fuzz for long, 60 s a target (ARGS="reader --seconds 600", --count, --processes, --seed)
	@$(PY) -m tests.fuzz $(ARGS)

fmt: $(DEV)  ## format and mend what ruff can
	$(VENV)/bin/ruff check --fix --quiet .
	$(VENV)/bin/ruff format .

lock: $(DEV)  ## write the lock files anew from pyproject.toml
	$(COMPILE) pyproject.toml -o requirements.lock
	$(COMPILE) --extra dev -c requirements.lock pyproject.toml -o requirements-dev.lock

COMPILE = $(PY) -m uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate \
	--custom-compile-command "make lock"

migration: $(DEV)  ## write the initial migration anew from models/tables (until the first release)
	@$(PY) -m models.migrations.generate
	@$(VENV)/bin/ruff format --quiet models/migrations/versions

$(PY):
	@if [ -z "$(PYTHON)" ]; then echo "error: Python 3.11 or newer is missing (set PYTHON=/path/to/python3 if it has another name)"; exit 1; fi
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || { rm -rf $(VENV); \
		echo "error: $(PYTHON) can't make a virtual environment: install its venv package (Debian, Ubuntu: apt-get install python3-venv)"; exit 1; }

$(RUNTIME): requirements.lock | $(PY)
	@echo "installing packages into $(VENV) (once)"
	@$(PIP) -r requirements.lock
	@touch $@

$(DEV): requirements-dev.lock | $(PY)
	@echo "installing packages for tests and lint into $(VENV) (once)"
	@$(PIP) -r requirements-dev.lock
	@touch $@ $(RUNTIME)
