# What a developer types. Needs make and Python 3.11 or newer; uses uv where it is on PATH.
# `make PYTHON=/path/to/python3.12 venv` chooses the interpreter.

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin

# The first Python on PATH that is new enough; `python3`, so that there is a name to complain
# about, where none is.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { echo "$$p"; exit; }; done; echo python3)

# The export of uv.lock for pip: everything that development needs, with hashes.
EXPORT := export --locked --quiet --all-extras --group dev --no-emit-project \
	--format requirements-txt --no-header
# What runs in the image, what builds it, and what looks at the files of deploy/.
EXPORT_ONLY := export --locked --quiet --no-emit-project --format requirements-txt --no-header
IMAGE := deploy/docker

# pip needs a minute for what uv, from the same lock, installs in ten seconds. pip is still there for
# machines that uv cannot serve: it does not read pip's configuration.
PIP := $(BIN)/python -m pip install --disable-pip-version-check
UV := $(BIN)/uv pip install --python $(BIN)/python
WITH_UV = { sed -n '/^uv==/,/[^\\]$$/p' requirements.lock >$(VENV)/uv.txt && \
	$(PIP) --quiet --no-deps -r $(VENV)/uv.txt && \
	$(UV) --require-hashes -r requirements.lock && $(UV) --quiet --no-deps -e .; }

# The tests start hundreds of processes. Where this is set, each compiles all that it imports anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help venv demo test test-brokers fuzz check kafka format lock lock-check audit-deps deploy-tools dist bench bench-readme bench-quick torture first-hour docs

help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

venv: $(VENV)/.installed  ## make .venv with everything in it, from the lock

$(VENV)/.installed: pyproject.toml uv.lock requirements.lock
	@echo "installing the locked packages into $(VENV); once, a quarter of a minute or with pip alone a whole one ..." >&2
	@if command -v uv >/dev/null 2>&1; then \
		UV_PROJECT_ENVIRONMENT=$(VENV) uv sync --locked --all-extras \
			$(if $(filter environment% command% override,$(origin PYTHON)),--python "$(PYTHON)"); \
	else \
		"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
			echo "no Python 3.11 or newer found as '$(PYTHON)': install one, or name it with make PYTHON=..." >&2; \
			exit 1; }; \
		"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
			echo "'$(PYTHON)' has no venv module: install it (Debian and Ubuntu: the package python3-venv)" >&2; \
			exit 1; }; \
		test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV) || exit 1; \
		$(WITH_UV) || { \
			$(PIP) --progress-bar on -r requirements.lock && $(PIP) --quiet --no-deps -e .; }; \
	fi
	@touch $@

READS ?= 100000

demo: venv  ## reads in, matches out, in one process (READS=n for another number of reads)
	@$(BIN)/hotlist demo --reads $(READS) $(ARGS)

# Three at a time for two processors: much of what they do is waiting. JOBS=0 runs them in one
# process. Which files come first says tests/schedule.py.
JOBS ?= 3

test: venv  ## all tests; those on a real Kafka need Java 17 and Maven, or HOTLIST_TEST_KAFKA
	@$(BIN)/python -m engine.demo.warm_up
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(ARGS)

test-brokers: venv  ## the tests that a version of Kafka can change, on several; VERSIONS=3.9.2,4.1.0 for some
	@$(BIN)/python -m engine.demo.warm_up
	@$(BIN)/python -m tests.kafka.matrix $(if $(VERSIONS),--versions $(VERSIONS)) $(ARGS)

SECONDS ?= 60
TARGETS ?=

fuzz: venv  ## hostile input for SECONDS=n in all, from SEED=s; TARGETS="scanner documents" for some
	@$(BIN)/python -m tests.fuzz --seconds $(SECONDS) $(if $(SEED),--seed $(SEED)) $(ARGS) $(TARGETS)

check: venv lock-check  ## everything but the tests: style, types, architecture, schemas, locks
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.repository.drawing --check
	$(BIN)/python -m tests.repository.structure
	$(BIN)/python -m tests.repository.schema_drift
	$(BIN)/python -m benchmarks readme --check
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --group types
	$(BIN)/python -m tests.repository.type_completeness

kafka: venv  ## a real Kafka on localhost:9092 until Ctrl-C (PORT=n for another port)
	@$(BIN)/python -m tests.kafka.broker --port $(or $(PORT),9092)

torture: venv  ## faults on a real Kafka for SECONDS (600); SEED=n repeats a schedule
	@$(BIN)/python -m tests.torture --seconds $(or $(SECONDS),600) $(if $(SEED),--seed $(SEED)) $(ARGS)

first-hour: venv  ## what README and the tutorial say, typed in a new clone on a real Kafka, with times
	@$(BIN)/python -m tests.first_hour

docs: venv  ## the pages as a site in build/docs; fails for a link that leads nowhere
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --group docs
	@$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going --nitpicky \
		-c deploy/site -d build/doctrees . build/docs $(ARGS)
	@echo "build/docs/README.html" >&2

format: venv  ## bring the code into the style that `check` asks for
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# Not through `venv`, which would refuse a pyproject.toml that the lock does not fit yet.
lock:  ## write uv.lock anew from pyproject.toml, and for pip requirements.lock and the image's
	@test -x $(BIN)/uv || $(MAKE) venv
	$(BIN)/uv lock
	$(BIN)/uv $(EXPORT) --output-file requirements.lock
	$(BIN)/uv $(EXPORT_ONLY) --no-dev --extra mqtt --output-file $(IMAGE)/requirements.txt
	$(BIN)/uv $(EXPORT_ONLY) --only-group build --output-file $(IMAGE)/build.txt

lock-check: venv
	@$(BIN)/uv lock --check --quiet || { echo "uv.lock is not what pyproject.toml asks for; run: make lock" >&2; exit 1; }
	@$(BIN)/uv $(EXPORT) | cmp -s - requirements.lock || { echo "requirements.lock is not what uv.lock holds; run: make lock" >&2; exit 1; }
	@$(BIN)/uv $(EXPORT_ONLY) --no-dev --extra mqtt | cmp -s - $(IMAGE)/requirements.txt && \
		$(BIN)/uv $(EXPORT_ONLY) --only-group build | cmp -s - $(IMAGE)/build.txt || { \
		echo "$(IMAGE)/*.txt are not what uv.lock holds; run: make lock" >&2; exit 1; }
	@if grep -oE 'https?://[^/"]+' uv.lock requirements.lock $(IMAGE)/*.txt | grep -vE '(pypi\.org|files\.pythonhosted\.org)$$'; then \
		echo "the lock files name another registry than pypi.org; run: make lock" >&2; exit 1; fi

audit-deps: venv  ## hold the locked packages against known vulnerabilities; fails for one that is known
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --group audit
	@$(BIN)/python -m tests.repository.advisories $(ARGS)

deploy-tools: venv  ## linters, schemas and kustomize, for the tests of deploy/ and .github/ (Linux on x86-64)
	@$(BIN)/uv $(EXPORT_ONLY) --only-group deploy --only-group dist | \
		$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r -

dist: venv  ## a release's files, from the last commit, checked and tried: dist/ and build/release/
	@$(BIN)/uv $(EXPORT_ONLY) --only-group dist | \
		$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r -
	@$(BIN)/python -m tests.repository.distribution --tag "$${TAG-}" --forge "$${FORGE-}"

bench: venv  ## every benchmark on a real Kafka; results and plots into benchmarks/results
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --group bench
	@$(BIN)/python -m benchmarks run $(ARGS)
	@$(BIN)/python -m benchmarks report

bench-readme: venv  ## README's figures measured and written anew; a quarter of an hour, on a quiet machine
	@$(BIN)/python -m benchmarks readme $(ARGS)

bench-quick: venv  ## every benchmark with little input: does it run, does it find every match?
	@$(BIN)/python -m benchmarks run --quick $(ARGS)
