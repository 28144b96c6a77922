# make demo | make test | make bench | make soak | make lint: each sets up what it needs in .venv inside this folder.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed
DEV_STAMP := .venv/installed-dev
CONFIGS := setup.cfg pyproject.toml constraints.txt edge/setup.cfg edge/pyproject.toml
JOBS ?= 2
MINUTES ?= 10
KILLS ?= 200
N ?= 20000
CRASH_FOLDER ?= /dev/shm

.PHONY: demo test lint bench soak kills bad-bundles crash install-cost fallback figures quiet-hour parts fuzz flash-twelve format clean
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

bad-bundles: $(DEV_STAMP)
	$(BIN)/python benchmarks/bad_bundles.py
	$(BIN)/python benchmarks/bad_live.py

# Twelve devices at once, five of them broken on purpose.
flash-twelve: $(DEV_STAMP) parts
	$(BIN)/python benchmarks/flash_twelve.py

# The store under power cuts, kills, failing calls, crowds and full disks (strace and root for some of it).
crash: $(DEV_STAMP) parts
	$(BIN)/python benchmarks/crash_states.py
	$(BIN)/python benchmarks/crash_syscalls.py --folder $(CRASH_FOLDER) --jobs $(JOBS)
	$(BIN)/python benchmarks/crash_syscalls.py --folder $(CRASH_FOLDER) --scenarios command --step 9 --kills 50 \
		--out benchmarks/out/crash_command.json
	$(BIN)/python benchmarks/crash_crowd.py
	$(BIN)/python benchmarks/crash_full_disk.py

install-cost: $(DEV_STAMP)
	$(BIN)/python benchmarks/install_cost.py

fallback: $(DEV_STAMP)
	$(BIN)/python benchmarks/fallback.py

figures: $(DEV_STAMP) parts
	$(BIN)/python benchmarks/service_figures.py

quiet-hour: $(DEV_STAMP)
	$(BIN)/python benchmarks/quiet_hour.py

# Bad bundles by the ten thousand, none of which may be taken: N mutants of archives and signed manifests.
fuzz: $(DEV_STAMP)
	$(BIN)/python benchmarks/fuzz_bundles.py --mutants $(N)

format: $(DEV_STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .venv-tflite-runtime build edge/build benchmarks/out
