.DEFAULT_GOAL := help
.PHONY: help run demo test fast test-thorough unit bench faults check format contracts lock servers clean

# Python keeps what it has compiled: else each of the hundreds of processes of the tests compiles all libraries anew.
export PYTHONDONTWRITEBYTECODE :=

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
MEMBERS := shared services/auth services/messages services/log-consumer deploy/local
READY := $(VENV)/ready
# A newer Python for the unit tests, when the machine has one that works.
NEWER ?= $(firstword $(foreach p,python3.13 $(wildcard $(HOME)/.pyenv/versions/3.13*/bin/python3.13),\
	$(shell $(p) -c 'import sys; print(sys.executable)' 2>/dev/null)))
T ?= tests
# Tests mostly wait, so there are two processes for each processor; those marked `serial` run alone, after the others.
WORKERS ?= $(shell expr 2 \* $$(nproc))
PARALLEL := -n $(WORKERS)
COVERAGE := --cov --cov-report= --cov-fail-under=0
# pytest ends with 5 when no test of a part was chosen.
OR_NONE := || [ $$? = 5 ]

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: $(READY) ## run everything on one port: PORT=8080 DATA=var REAL=1 (real servers)
	@PORT="$(PORT)" DATA="$(DATA)" REAL="$(REAL)" exec $(BIN)/python -m tidings_local run

demo: $(READY) ## sign in, post, and print the journey of one request (PORT=8080, or an instance of its own)
	@PORT="$(PORT)" exec $(BIN)/python -m tidings_local demo

test: $(READY) ## all tests, embedded and on real servers: T=path for some, TIDINGS_TEST_REAL=1 to insist on servers
	@if [ "$$TIDINGS_TEST_REAL" = 1 ]; then $(BIN)/python -m tidings_local install-servers; fi
	@$(MAKE) --no-print-directory unit
	rm -f .coverage .coverage.*
	$(BIN)/python -m pytest $(T) $(PARALLEL) -m "not thorough and not serial" $(COVERAGE) $(OR_NONE)
	$(BIN)/python -m pytest $(T) -m "serial and not thorough" $(COVERAGE) --cov-append $(OR_NONE)
	$(if $(filter tests,$(T)),$(BIN)/coverage report)

fast: $(READY) ## the tests that need no servers: T=path for some
	$(BIN)/python -m pytest $(if $(filter tests,$(T)),tests/unit tests/integration,$(T)) $(PARALLEL) \
		-m "not real and not thorough and not serial"

test-thorough: $(READY) ## all tests, those that take minutes too
	@if [ "$$TIDINGS_TEST_REAL" = 1 ]; then $(BIN)/python -m tidings_local install-servers; fi
	$(BIN)/python -m pytest $(T) $(PARALLEL) -m "not serial" $(OR_NONE)
	$(BIN)/python -m pytest $(T) -m "serial" $(OR_NONE)

unit: $(READY) ## the unit tests, on a newer Python too when there is one
ifneq ($(NEWER),)
	@$(MAKE) --no-print-directory VENV=$(VENV)-newer PYTHON=$(NEWER) $(VENV)-newer/ready
	$(VENV)-newer/bin/python -m pytest tests/unit -q -n $(shell nproc)
else
	@echo "unit tests on a newer Python: skipped, install python3.13 to run them"
endif

bench: $(READY) ## measure beside the least that does the same work, on real servers: ONLY=relay,emit ROUNDS=5 JSON=file
	@PYTHONPATH=tests $(BIN)/python -m benchmarks $(if $(ONLY),--only $(ONLY)) $(if $(ROUNDS),--rounds $(ROUNDS)) \
		$(if $(JSON),--json $(JSON))

check: $(READY) ## everything that can be said without running the system; edits nothing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m tidings contracts check
	@$(MAKE) --no-print-directory LOCK=$(VENV)/requirements.lock lock
	@diff requirements.lock $(VENV)/requirements.lock || { echo "requirements.lock is out of date: make lock"; exit 1; }
	@if [ "$$TIDINGS_TEST_REAL" = 1 ]; then $(BIN)/python -m tidings_local install-servers; fi
	$(BIN)/python -m pytest tests/architecture tests/integration/test_migrations.py

format: $(READY) ## format and mend what can be mended by itself
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

contracts: $(READY) ## record what is new in the events' contracts, shared/contracts; refuses what would break one
	$(BIN)/python -m tidings contracts write

LOCK ?= requirements.lock
lock: $(READY) ## write requirements.lock anew: what it pins stays, unless UPGRADE=1
	@[ $(LOCK) = requirements.lock ] || cp requirements.lock $(LOCK)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		$(if $(UPGRADE),--upgrade) --group dev --all-extras \
		$(foreach m,tidings tidings-auth tidings-messages tidings-log-consumer tidings-local,--no-emit-package $(m)) \
		$(foreach m,$(MEMBERS),$(m)/pyproject.toml) -o $(LOCK)

faults: $(READY) ## break servers and services under load, check every promise: SEEDS=1,2,3 ONLY="kill redis" REPORT=file SAFEGUARDS=1
	@PYTHONPATH=tests $(BIN)/python -m faults $(if $(SEEDS),--seeds $(SEEDS)) $(if $(ONLY),--only $(ONLY)) \
		$(if $(REPORT),--report $(REPORT)) $(if $(SAFEGUARDS),--safeguards) $(ARGS)

servers: $(READY) ## install MariaDB, Redis, Kafka, kcat and Node.js for the tests (root on Debian)
	$(BIN)/python -m tidings_local install-servers

clean: ## remove environments, caches and the local data
	rm -rf .venv .venv-newer var .mypy_cache .pytest_cache .ruff_cache .coverage*

# The environment: uv by its pinned hash, then everything that the lock names, then our own members.
$(READY): requirements.lock pyproject.toml $(addsuffix /pyproject.toml,$(MEMBERS))
	@[ -n "$(PYTHON)" ] || { echo "Tidings needs Python 3.11 or newer; set PYTHON=/path/to/python"; exit 1; }
	@echo "Preparing $(VENV) …"
	@$(PYTHON) -m venv $(VENV) || { echo "Python's venv module does not work: apt-get install python3-venv"; exit 1; }
	@sed -n '/^uv==/,/[^\\]$$/p' requirements.lock > $(VENV)/uv.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(VENV)/uv.lock
	@$(BIN)/uv pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation $(addprefix -e ,$(MEMBERS))
	@touch $@
