# make demo | make test | make bench | make soak | make lint: each sets up what it needs in .venv inside this folder.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed
DEV_STAMP := .venv/installed-dev
CONFIGS := setup.cfg pyproject.toml constraints.txt edge/setup.cfg edge/pyproject.toml tests/support/setup.cfg
JOBS ?= 2
# Tests wait for cameras, brokers and children half of their time: three workers keep two cores busy.
WORKERS ?= 3
MINUTES ?= 10
KILLS ?= 200
SECONDS ?= 120
RECORDING_KILLS ?= 40
N ?= 20000
CRASH_FOLDER ?= /dev/shm
# Tests start Python a thousand times: each start would compile the whole product again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: install resume small-convolutions hostile-data demo test ready lint bench soak kills bad-bundles crash install-cost fallback figures quiet-hour blind verdicts determinism media year parts tflite-runtime mediapipe fuzz flash-twelve first-device format clean replay-speed recording cut-recordings words few-pictures training-feed training-stream
.DEFAULT_GOAL := test

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("Galago needs Python 3.11 or newer; set PYTHON=...") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv .venv

$(STAMP): $(BIN)/python $(CONFIGS)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e edge -e .
	touch $@

$(DEV_STAMP): $(BIN)/python $(CONFIGS)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e edge -e '.[dev]' -e tests/support
	touch $(STAMP) $@

install: $(STAMP)
	@echo 'galago is .venv/bin/galago'

demo: $(STAMP)
	$(BIN)/galago demo

lint: $(DEV_STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

parts: $(BIN)/python
	$(BIN)/python tests/setup/system_parts.py

tflite-runtime: $(DEV_STAMP)
	$(BIN)/python tests/setup/tflite_runtime_env.py

mediapipe: $(DEV_STAMP)
	$(BIN)/python -m campaigns.mediapipe_env

ready: lint parts tflite-runtime mediapipe

# What waits for the network and what computes are made ready beside each other. Files are given out in their
# order, tests of whole systems first: xdist's own, by the number of tests, leaves the longest to the end.
test:
	$(MAKE) --jobs=4 --output-sync=target ready
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

bench: $(DEV_STAMP)
	$(BIN)/python benchmarks/frontend.py
	$(BIN)/python benchmarks/resampling.py
	$(BIN)/python -m benchmarks.decision
	$(BIN)/python benchmarks/runtimes.py
	$(BIN)/python benchmarks/qa_redecision.py

# The runtime under faults and for long: campaigns of which make test runs a small piece.
soak: $(DEV_STAMP) parts
	$(BIN)/python -m campaigns.soak --minutes $(MINUTES)

kills: $(DEV_STAMP)
	$(BIN)/python -m campaigns.kills --kills $(KILLS)

bad-bundles: $(DEV_STAMP)
	$(BIN)/python -m campaigns.bad_bundles
	$(BIN)/python -m campaigns.bad_live

# Twelve devices at once, five of them broken on purpose.
flash-twelve: $(DEV_STAMP) parts
	$(BIN)/python -m campaigns.flash_twelve

# A training that is killed twenty times against one that is left alone.
resume: $(DEV_STAMP)
	$(BIN)/python -m campaigns.resume_kills

# Small convolutions at many sizes of batch: which kill their process with oneDNN, and what it saves.
small-convolutions: $(DEV_STAMP)
	$(BIN)/python -m campaigns.small_convolutions

# Folders of training data with everything that goes wrong with them: what galago data check says.
hostile-data: $(DEV_STAMP)
	$(BIN)/python -m campaigns.hostile_data

# docs/first-device.md, block by block, in a fresh Debian root (root and mmdebstrap).
first-device: $(DEV_STAMP) parts
	$(BIN)/python -m campaigns.first_device

# The store under power cuts, kills, failing calls, crowds and full disks (strace and root for some of it).
crash: $(DEV_STAMP) parts
	$(BIN)/python -m campaigns.crash_states
	$(BIN)/python -m campaigns.crash_syscalls --folder $(CRASH_FOLDER) --jobs $(JOBS)
	$(BIN)/python -m campaigns.crash_syscalls --folder $(CRASH_FOLDER) --scenarios command --step 9 --kills 50 \
		--out campaigns/out/crash_command.json
	$(BIN)/python -m campaigns.crash_crowd
	$(BIN)/python -m campaigns.crash_full_disk

install-cost: $(DEV_STAMP)
	$(BIN)/python -m campaigns.install_cost

fallback: $(DEV_STAMP)
	$(BIN)/python -m campaigns.fallback

# What replaying a corpus costs, against decode and inference in a bare loop: about twenty minutes.
replay-speed: $(DEV_STAMP)
	$(BIN)/python -m benchmarks.qa_replay

figures: $(DEV_STAMP) parts
	$(BIN)/python -m benchmarks.service_figures

quiet-hour: $(DEV_STAMP)
	$(BIN)/python -m campaigns.quiet_hour

# Cameras that were moved, defocused, covered: found or not, how late, false alarms, cost. With Debian's opencv-doc
# installed, on its stills and its video of a fixed camera too.
blind: $(DEV_STAMP)
	$(BIN)/python -m campaigns.blind_camera

# Pairs of bundles with known truth: how often a verdict is wrong when it is asked for after every hour.
verdicts: $(DEV_STAMP)
	$(BIN)/python -m campaigns.verdicts

# One corpus replayed in twenty ways, over processes, cluster, blocks, names and settings: one SHA-256.
determinism: $(DEV_STAMP) parts
	$(BIN)/python -m campaigns.determinism

# Recordings as the field brings them: every codec and container, late, with holes, damaged, cut, misnamed.
media: $(DEV_STAMP) parts
	$(BIN)/python -m campaigns.media

# Two cameras and a microphone, recorded by the running service: its replay, then kills while it records.
recording: $(DEV_STAMP) parts
	$(BIN)/python -m campaigns.recording_round_trip --seconds $(SECONDS)
	$(BIN)/python -m campaigns.recording_kills --kills $(RECORDING_KILLS)

# Recordings, cut off and with flipped bytes: nothing is invented, and nothing is lost in silence.
cut-recordings: $(DEV_STAMP)
	$(BIN)/python -m campaigns.cut_recordings --jobs $(JOBS)

# Twenty words from one recording each, from scratch and with a warm start: about two hours, on 8 kHz prompts of Debian.
words: $(DEV_STAMP) parts
	$(BIN)/python -m campaigns.one_shot_words

# What feeding a training costs, beside plain Keras on arrays in memory: about ten minutes.
training-feed: $(DEV_STAMP)
	$(BIN)/python -m benchmarks.training_feed

# Memory where training data are 100,000 pictures and 100 hours of sound: needs 4 GB of disk, about half an hour.
training-stream: $(DEV_STAMP)
	$(BIN)/python -m benchmarks.training_stream

# Few pictures in four classes, from scratch and with a warm start: hours, on drawings of an npm package (npm).
few-pictures: $(DEV_STAMP)
	$(BIN)/python -m campaigns.few_pictures

# A year of a device on a simulated clock, with ten thousand faults, and its account: about an hour.
year: $(DEV_STAMP) parts
	$(BIN)/python -m campaigns.year

# Bad bundles by the ten thousand, none of which may be taken: N mutants of archives and signed manifests.
fuzz: $(DEV_STAMP)
	$(BIN)/python -m campaigns.fuzz_bundles --mutants $(N)

format: $(DEV_STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .venv-tflite-runtime build edge/build benchmarks/out campaigns/out
