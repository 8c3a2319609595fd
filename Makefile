# The two commands that matter:
#   make quickstart   set up and do the main job: train, move to Production, ask (DATA=folder for the rig's data)
#   make test         set up and run every check; .ci/run calls it
# Needs Python 3.10+ and make; everything else comes from the package index into $(VENV). PYTHON chooses the interpreter.

PYTHON ?= python3
VENV ?= .venv
DATA ?= $(HYDRAULIC_DATA)
REPORTS ?= .cache/reports
EXTRAS ?= test,kubernetes,chart
STAGES = lint types contracts unit contract databases clients integration browser

BIN = $(VENV)/bin
STARTED := $(shell date +%s)
PYTEST = $(BIN)/python -m pytest --junitxml=$(REPORTS)/$@.xml
JOBS ?= 2
# Files beside each other, the tests of one file in one process: what it starts is started once. JOBS=0: one by one.
BESIDE = -n $(JOBS) --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help quickstart stop test bench $(STAGES) clean

help:
	@echo "make quickstart  set up, train the cooler's model, move it to Production and ask it (DATA=folder: the rig's data)"
	@echo "make stop        stop what quickstart left running"
	@echo "make test        set up and run all checks: $(STAGES)"
	@echo "make bench       measure the ratios that README states"
	@echo "make clean       stop what quickstart left running; DELETE its registry and models (quickstart/), environments and caches"

# --- set-up -----------------------------------------------------------------------------------------------------------

define CHECK_PYTHON
import sys
if sys.version_info < (3, 10):
    sys.exit("%s is Python %d.%d: 3.10 or later is needed; name one: make PYTHON=python3.12 ..." % ((sys.executable,) + sys.version_info[:2]))
try:
    import ensurepip, venv
except ImportError:
    sys.exit("%s has no venv module: install it (Debian, Ubuntu: apt install python3-venv) or name another: make PYTHON=..." % sys.executable)
endef
export CHECK_PYTHON

$(BIN)/python:
	@command -v "$(PYTHON)" >/dev/null || { echo "no $(PYTHON) here: install Python 3.10 or later, or name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -c "$$CHECK_PYTHON"
	"$(PYTHON)" -m venv "$(VENV)"

# Editable, so that a checkout without symbolic links finds plugin/ and deploy_targets/ as well.
$(VENV)/.installed: setup.cfg pyproject.toml | $(BIN)/python
	@echo "installing into $(VENV): a minute or two the first time"
	$(BIN)/python -m pip install -qq --disable-pip-version-check -e ".[auth]"
	@touch $@

$(VENV)/.installed-test: setup.cfg pyproject.toml | $(BIN)/python
	@echo "installing into $(VENV): a minute or two the first time"
	$(BIN)/python -m pip install -qq --disable-pip-version-check -e ".[$(EXTRAS)]"
	@touch $@ $(VENV)/.installed

# --- the main job -----------------------------------------------------------------------------------------------------

quickstart: $(VENV)/.installed
	@HYDRAULIC_DATA="$(DATA)" QUICKSTART_STARTED=$(STARTED) $(BIN)/python examples/quickstart.py

stop: $(VENV)/.installed
	@$(BIN)/python examples/quickstart.py --stop

# --- checks: one after the other, the first that fails ends it -------------------------------------------------------

test: $(VENV)/.installed-test
	@for stage in $(STAGES); do echo "--- $$stage"; $(MAKE) --no-print-directory $$stage || exit 1; done

lint: $(VENV)/.installed-test
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	@if command -v shellcheck >/dev/null; then shellcheck .ci/run; else echo "shellcheck is not here: .ci/run is not linted"; fi

types: $(VENV)/.installed-test
	$(BIN)/python -m mypy

contracts: $(VENV)/.installed-test
	$(BIN)/lint-imports

# Each ends with what was skipped and why; browser wants Debian's chromium, contract its postgresql and mariadb-server.
unit contract integration: $(VENV)/.installed-test
	$(PYTEST) $(BESIDE) tests/$@

browser: $(VENV)/.installed-test
	$(PYTEST) tests/$@

# What stands on the pages' database, once more with a server's in the place of a file: all on PostgreSQL; on MySQL, whose
# databases take longer to make, what a user asks for.
ON_DATABASE = grep -rlE '^from tests.support.(house|monitored|planted|registered|registrar) '
AGAIN = $(BIN)/python -m pytest $(BESIDE)

databases: $(VENV)/.installed-test
	TEST_DATABASE=postgresql $(AGAIN) --junitxml=$(REPORTS)/postgresql.xml $$($(ON_DATABASE) tests/unit tests/contract)
	TEST_DATABASE=mysql $(AGAIN) --junitxml=$(REPORTS)/mysql.xml $$($(ON_DATABASE) tests/contract)

# The oldest and the newest Kubernetes client that setup.cfg lets in, each in a folder of its own.
clients: $(VENV)/.installed-test
	REPORTS=$(REPORTS) JOBS=$(JOBS) $(BIN)/python -m tests.clients

bench: $(VENV)/.installed-test
	$(BIN)/python -m benchmarks

clean:
	@if [ -x $(BIN)/python ] && [ -d quickstart ]; then $(BIN)/python examples/quickstart.py --stop || true; fi
	rm -rf .venv .venv-* .cache build dist quickstart .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage .coverage.*
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
	rm -rf *.egg-info
