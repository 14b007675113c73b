# Everything a developer does here. `make help` lists it; the environment is made when it is first needed.

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
DEPLOYED ?= python3.13

BIN := $(VENV)/bin
PY := $(BIN)/python
VERSION := $(shell $(PYTHON) -I -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
NEW_ENOUGH := $(shell $(PYTHON) -I -c 'import sys; print(sys.version_info >= (3, 11))' 2>/dev/null)

# The stamp's name carries the Python version: another version finds no stamp and makes the environment anew.
STAMP := $(VENV)/installed-$(VERSION)
LOCK_VENV := .venv-lock
INFRA_VENV := .venv-infra
APP_VENV := .venv-app
LOCK := $(LOCK_VENV)/bin/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-annotate \
	--custom-compile-command 'make lock' --python-version 3.11

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1
# What the caller's shell set for another Python must not reach this one; how packages are got, it must.
unexport PIP_USER PIP_TARGET PIP_PREFIX PIP_ROOT VIRTUAL_ENV
unexport $(filter PYTHON% PYTEST% HYPOTHESIS% COVERAGE% MYPY% RUFF%,$(.VARIABLES))
# Beside the environment, which may stand outside of a checkout that cannot be written to.
export HYPOTHESIS_STORAGE_DIRECTORY := $(VENV)/cache/hypothesis
export MYPY_CACHE_DIR := $(VENV)/cache/mypy
export RUFF_CACHE_DIR := $(VENV)/cache/ruff
WRITABLE = touch -a "$$(cd '$(VENV)' && pwd)/installed-$(VERSION)" 2>/dev/null || { echo "$(VENV) cannot be written to: make test VENV=/tmp/venv" >&2; exit 1; }
PYTEST := $(PY) -m pytest -o cache_dir='$(VENV)/cache/pytest'

.DEFAULT_GOAL := help
.PHONY: help $(VENV) run serve test test-all check format coverage mutate bench infra package simulate conformance lock clean python FORCE

help: ## list the targets
	@awk -F ':.*## ' '/^[^#\t]*:.*## / { sub(/\$$\(VENV\)/, ".venv", $$1); printf "make %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

$(VENV): $(STAMP) ## prepare the environment, nothing else

run: $(STAMP) ## the whole job on this machine, against the sandbox
	@$(PY) -m sandbox.trial.demo $(ARGS)

serve: $(STAMP) ## keep the sandbox up, ticking in real time; ARGS="--broken surprise" for a drill
	@$(PY) -m sandbox.trial.serve $(ARGS)

test: $(STAMP) ## the suite but for what is exhaustive; ARGS="-k name" for a part of it
	@$(WRITABLE)
	$(PYTEST) -n auto --dist worksteal -m "not exhaustive" --examples 10 $(ARGS)

test-all: $(STAMP) ## and what is exhaustive or random, and every request over HTTPS
	@$(WRITABLE)
	MODEL_SEQUENCES=40 $(PYTEST) -n auto --dist worksteal --wire https $(ARGS)

check: $(STAMP) ## lint, format, types, import contracts
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m mypy
	$(PY) $(BIN)/lint-imports --no-logo --cache-dir $(VENV)/cache/imports

format: $(STAMP) ## lay the code out and fix what can be fixed
	$(PY) -m ruff format
	$(PY) -m ruff check --fix

coverage: $(STAMP) ## the suite with branch coverage
	$(PY) -m coverage erase
	$(PY) -m coverage run -m pytest $(ARGS)
	$(PY) -m coverage combine --quiet
	$(PY) -m coverage report

mutate: $(STAMP) ## mutation testing of the pure core
	$(PY) -m mutmut run $(ARGS)
	$(PY) -m mutmut results

bench: $(STAMP) $(APP_VENV)/ready ## measure: time, requests, memory
	@$(PY) -m benchmarks --python $(APP_VENV)/bin/python $(ARGS)

infra: $(INFRA_VENV)/ready ## check the Bicep files and the workflows; ARGS=--write makes the snapshots anew
	@$(INFRA_VENV)/bin/python infra/check.py $(ARGS)

package: $(INFRA_VENV)/ready ## the zip with its packages and the list of them, into dist/; DEPLOYED=python3.13
	@$(INFRA_VENV)/bin/python infra/package.py --python $(DEPLOYED) $(ARGS)

simulate: $(STAMP) ## months of faults in seconds
	@$(PY) -m sandbox.simulation.simulate $(ARGS)

conformance: $(STAMP) ## ask a vault (URL=…), a lease container (CONTAINER=…) or an instance (INSTANCE=… CLIENT=FILE) what it does
	@$(PY) -m sandbox.conformance $(if $(URL),--vault '$(URL)') $(if $(CONTAINER),--container '$(CONTAINER)') \
		$(if $(INSTANCE),--instance '$(INSTANCE)') $(if $(CLIENT),--client '$(CLIENT)') $(ARGS)

lock: $(LOCK_VENV)/ready ## pin the dependencies of pyproject.toml anew; ARGS=--upgrade for newer ones
	$(LOCK) $(ARGS) --output-file requirements.txt pyproject.toml
	$(LOCK) $(ARGS) --constraint requirements.txt --output-file requirements-dev.txt --group pyproject.toml:dev
	$(LOCK) $(ARGS) --output-file infra/requirements.txt --group pyproject.toml:infra

clean: ## remove the environment and everything that was made
	@if [ -e $(VENV)/being-made ] || ls $(VENV)/installed-* >/dev/null 2>&1; then rm -rf $(VENV); fi
	rm -rf .venv-3.* $(LOCK_VENV) $(INFRA_VENV) $(APP_VENV) .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache mutants dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): requirements.txt requirements-dev.txt $(if $(wildcard $(PY)),,FORCE) | python
	@.ci/environment $(PYTHON) $(VENV) $@ requirements.txt requirements-dev.txt

python:
ifneq ($(NEW_ENOUGH),True)
	$(error Python 3.11 or newer is needed, and '$(PYTHON)' is $(or $(VERSION),not there or does not start); name one with PYTHON=)
endif
ifneq ($(words $(VENV)),1)
	$(error VENV must be one path without spaces, and is '$(VENV)')
endif

$(LOCK_VENV)/ready: | python
	@rm -rf $(LOCK_VENV)
	@$(PYTHON) -m venv $(LOCK_VENV)
	@$(LOCK_VENV)/bin/python -m pip install --quiet 'uv>=0.9'
	@touch $@

$(INFRA_VENV)/ready: infra/requirements.txt | python
	@rm -rf $(INFRA_VENV)
	@$(PYTHON) -m venv $(INFRA_VENV)
	@echo "Installing the packages of the infrastructure's checks into $(INFRA_VENV)"
	@$(INFRA_VENV)/bin/python -m pip install --quiet --require-hashes --requirement infra/requirements.txt
	@touch $@

# What is deployed and nothing else: packages for development change what others load.
$(APP_VENV)/ready: requirements.txt | python
	@rm -rf $(APP_VENV)
	@$(PYTHON) -m venv $(APP_VENV)
	@$(APP_VENV)/bin/python -m pip install --quiet --require-hashes --requirement requirements.txt
	@touch $@

FORCE:
