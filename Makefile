# Everything a checkout needs: Python >= 3.11 with pip and venv, make, and a package index. `make help` lists it.

VENV    ?= .venv
WORKERS ?= 2

PY      := $(VENV)/bin/python
BALLAST := $(VENV)/bin/ballast
INSTALL := $(PY) -m pip install --quiet --disable-pip-version-check
LOCKING := .ballast/pip-tools

# Stamps: each environment is made once, and again when its lock changes.
RUNTIME := $(VENV)/runtime.stamp
DEV     := $(VENV)/dev.stamp
PACKAGES := $(patsubst %,tests/%/node_modules/.package-lock.json,contracts javascript)

.DEFAULT_GOAL := help
.PHONY: help demo test test-long check lint format types layers drift bench migration lock

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(RUNTIME) ## the whole service on this machine, with a simulated market; DURATION=60 ends it, PORT=8001 moves it
	@$(BALLAST) demo $(if $(DURATION),--duration $(DURATION)) $(if $(PORT),--port $(PORT))

test: $(DEV) $(PACKAGES) ## the test suite, on throw-away servers (or yours: BALLAST_DATABASE_URL, BALLAST_REDIS_URL)
	@$(BALLAST) compile
	$(PY) -m pytest -q -n $(WORKERS)

test-long: $(DEV) ## the tests that take minutes, and a new search for what breaks a property
	$(PY) -m pytest -q -m "long or hypothesis" --hypothesis-profile searching -o faulthandler_timeout=5400

check: lint types layers drift test ## everything that must hold before a change is merged

lint: $(DEV) ## rules and format of the Python code
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

format: $(DEV) ## what can be corrected, corrected
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

types: $(DEV) ## mypy, strict
	$(PY) -m mypy

layers: $(DEV) ## who may import whom (DESIGN: layout)
	$(VENV)/bin/lint-imports

drift: $(DEV) ## openapi/ and docs/events.md are what the code says
	$(BALLAST) openapi --check

bench: $(DEV) ## the benchmarks, or one row of them: ROW=name
	$(PY) -m bench $(ROW)

migration: $(DEV) ## a draft of the next revision of the schema: NAME="what changes"
	@$(PY) -m migrations.new_revision "$(NAME)"

lock: $(LOCKING)/bin/pip-compile ## resolve the dependencies of pyproject.toml anew; UPGRADE=1 takes newer ones
	$(call compile,requirements/runtime.txt)
	$(call compile,requirements/feeds.txt,--extra feeds)
	$(call compile,requirements/dev.txt,--extra feeds --extra dev)

$(RUNTIME): requirements/runtime.txt pyproject.toml | $(PY)
	@echo "Installing what Ballast runs on into $(VENV) (once; a minute or two)"
	@$(INSTALL) --require-hashes -r requirements/runtime.txt
	@$(INSTALL) --no-deps --no-build-isolation --editable .
	@$(BALLAST) compile
	@touch $@

$(DEV): requirements/dev.txt $(RUNTIME)
	@echo "Installing the tools for tests and checks into $(VENV)"
	@$(INSTALL) --require-hashes -r requirements/dev.txt
	@touch $@

# Compiled contracts for a local chain, what JavaScript clients use, and the official parser of AsyncAPI. They come by
# npm alone; without it their tests are skipped, and say so.
$(PACKAGES): %/node_modules/.package-lock.json: %/package-lock.json
	@if command -v npm >/dev/null; then cd $* && npm ci --ignore-scripts --no-audit --no-fund --silent; \
	else echo "There is no npm: tests that need what is in $* will be skipped"; fi

# PYTHON=/path/to/python chooses one; else the first here that is new enough and can make environments.
$(PY):
	@for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
	    $$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	    exec $$python -m venv $(VENV); \
	done; \
	echo "Ballast needs Python >= 3.11 with its venv and ensurepip modules (Debian, Ubuntu: apt install" >&2; \
	echo "python3-venv), and found none: install it, or say where it is with make PYTHON=/path/to/python3" >&2; \
	exit 1

# Resolved on the oldest Python that is supported. Hashes bind the files; where they come from is the user's.
define compile
$(LOCKING)/bin/pip-compile --quiet --allow-unsafe --generate-hashes --no-header --strip-extras \
    --no-emit-index-url --no-emit-find-links --no-emit-trusted-host $(if $(UPGRADE),--upgrade) $(2) \
    --output-file $(1) pyproject.toml
endef

$(LOCKING)/bin/pip-compile: | $(PY)
	$(PY) -m venv $(LOCKING)
	$(LOCKING)/bin/python -m pip install --quiet --disable-pip-version-check 'pip-tools==7.6.*'
