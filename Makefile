# make demo | make test | make bench | make soak | make lint: each sets up what it needs in .venv inside this folder.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed
DEV_STAMP := .venv/installed-dev
CONFIGS := setup.cfg pyproject.toml constraints.txt edge/setup.cfg edge/pyproject.toml
JOBS ?= 2
MINUTES ?= 10
KILLS ?= 200

.PHONY: demo test lint bench soak kills fallback figures quiet-hour parts format clean
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

parts: $(DEV_STAMP)
	$(BIN)/python tests/setup/system_parts.py

test: $(DEV_STAMP) lint parts
	$(BIN)/python tests/setup/tflite_runtime_env.py
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile

bench: $(DEV_STAMP)
	$(BIN)/python benchmarks/frontend.py
	$(BIN)/python benchmarks/decision.py
	$(BIN)/python benchmarks/runtimes.py

# The runtime under faults and for long: campaigns of which make test runs a small piece.
soak: $(DEV_STAMP) parts
	$(BIN)/python benchmarks/soak.py --minutes $(MINUTES)

kills: $(DEV_STAMP)
	$(BIN)/python benchmarks/kills.py --kills $(KILLS)

fallback: $(DEV_STAMP)
	$(BIN)/python benchmarks/fallback.py

figures: $(DEV_STAMP) parts
	$(BIN)/python benchmarks/service_figures.py

quiet-hour: $(DEV_STAMP)
	$(BIN)/python benchmarks/quiet_hour.py

format: $(DEV_STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .venv-tflite-runtime build edge/build benchmarks/out
