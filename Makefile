# make reproduce   the whole reproduction at the demo's scale: environment, then the workflow
# make test        all tests
# make setup       the environment alone (.venv)
# make lint        ruff, mypy, snakefmt, generated settings
# make report      an HTML report of the finished workflow
# make clean       remove the environment and caches; data/ and results/ stay
#
# PYTHON=python3.12      interpreter that the environment is made with (3.11 or newer)
# PIP_ARGS="..."         more options for pip, for example the index of a torch build for this machine
# ARGS="..."             more options for snakemake, for example ARGS="--config scale=small"
# CORES=4                cores for snakemake (default: all)

PYTHON ?= python3
PIP_ARGS ?=
ARGS ?=
CORES ?= all

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help reproduce test setup lint report clean

BIN := .venv/bin
PID := .snakemake/reproduce.pid
RUN := PATH="$(CURDIR)/$(BIN):$$PATH" GOMP_SPINCOUNT=0

help:
	@sed -n '/^#/!q;s/^# \{0,1\}//p' Makefile

# A killed run leaves Snakemake's lock behind; it is removed when the process that this target started is gone.
reproduce: setup
	@mkdir -p .snakemake
	@if [ -f $(PID) ] && ! kill -0 "$$(cat $(PID))" 2>/dev/null; then $(RUN) snakemake --unlock $(ARGS) >/dev/null 2>&1; fi
	@echo $$$$ >$(PID); export PATH="$(CURDIR)/$(BIN):$$PATH" GOMP_SPINCOUNT=0; exec snakemake --cores $(CORES) $(ARGS)

report: setup
	$(RUN) snakemake --cores $(CORES) $(ARGS) --report results/report.html

test: .venv/.stamp-dev
	$(RUN) OMP_NUM_THREADS=1 pytest -n 2 --dist loadgroup

lint: .venv/.stamp-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check workflow rules
	$(BIN)/csrm settings --config-dir config --check

setup: .venv/.stamp

.venv/.stamp: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
		"csrm needs Python 3.11 or newer, $(PYTHON) is %d.%d; set PYTHON, e.g. make $(MAKECMDGOALS) PYTHON=python3.12" \
		% sys.version_info[:2])'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet $(PIP_ARGS) -c constraints.txt -e .
	$(BIN)/python -m compileall -qq -j 0 .venv/lib src || true
	touch $@

.venv/.stamp-dev: .venv/.stamp
	$(BIN)/pip install --quiet $(PIP_ARGS) -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis build src/*.egg-info
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
