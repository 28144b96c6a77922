# make demo | make test | make bench | make lint: each sets up what it needs in .venv inside this folder.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed
DEV_STAMP := .venv/installed-dev
CONFIGS := setup.cfg pyproject.toml constraints.txt edge/setup.cfg edge/pyproject.toml
JOBS ?= 2

.PHONY: demo test lint bench format clean
.DEFAULT_GOAL := test

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("Galago needs Python 3.11 or newer; set PYTHON=...") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv .venv

$(STAMP): $(BIN)/python $(CONFIGS)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e edge -e .
	touch $@

$(DEV_STAMP): $(BIN)/python $(CONFIGS)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e edge -e '.[dev]'
	touch $(STAMP) $@

demo: $(STAMP)
	$(BIN)/galago demo

lint: $(DEV_STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: $(DEV_STAMP) lint
	$(BIN)/python tests/setup/tflite_runtime_env.py
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile

bench: $(DEV_STAMP)
	$(BIN)/python benchmarks/frontend.py
	$(BIN)/python benchmarks/decision.py
	$(BIN)/python benchmarks/runtimes.py

format: $(DEV_STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .venv-tflite-runtime build edge/build benchmarks/out
