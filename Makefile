# The two commands that matter: `make dashboard` and `make test`. Both install what they need.
PYTHON ?= python3
PORT ?= 8501
HEADLESS ?= 0
BIN := .venv/bin
PIP := $(BIN)/pip --disable-pip-version-check --quiet

.PHONY: dashboard test slow test-gpu lint format lock evidence readme bench clean

dashboard: .venv/.installed
	$(BIN)/python -m dashboard --port $(PORT) $(if $(filter 1 true yes,$(HEADLESS)),--headless)

test: .venv/.installed-dev .venv/.chromium
	$(BIN)/python -m pytest

slow: .venv/.installed-dev .venv/.chromium
	$(BIN)/python -m pytest -m slow

# Everything on a GPU against the CPU; with NGF_DEVICE=cpu the same tests where there is none.
test-gpu: .venv/.installed-dev
	$(BIN)/python -m pytest -m gpu tests/gpu

lint: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/.installed-dev
	$(BIN)/ruff check --fix --exit-zero .
	$(BIN)/ruff format .

# Everything that ships in assets/, in order: what is there already is left alone.
evidence: .venv/.installed
	$(BIN)/python -m evidence

# The tables of README.md, from assets/ and benchmarks/results.
readme: .venv/.installed
	$(BIN)/python -m evidence readme

# With DEVICE=cuda: that device against the CPU, alone.
bench: .venv/.installed-dev
	$(PIP) install --no-deps -r requirements-bench.txt
	$(BIN)/python -m benchmarks$(if $(DEVICE),.device --device $(DEVICE))

# Every version with its hashes, for Python 3.11 and newer on every platform, from the pins of
# requirements.txt and requirements-dev.txt; and what the index says against them, yanked or unsafe.
# Needs the package index; commit what it writes.
lock:
	$(PYTHON) -m venv .venv/lock
	.venv/lock/bin/pip --disable-pip-version-check --quiet install --upgrade pip uv pip-audit
	for name in requirements requirements-dev; do .venv/lock/bin/uv pip compile --quiet --universal \
		--python-version 3.11 --generate-hashes --no-annotate --custom-compile-command "make lock" \
		$$name.txt --output-file $$name.lock || exit 1; done
	.venv/lock/bin/python .ci/snapshot.py

# The second line fails when the lock is behind the pins: then `make lock`.
.venv/.installed: requirements.txt requirements.lock
	$(PYTHON) -m venv .venv || { echo "On Debian or Ubuntu: apt-get install python3-venv"; exit 1; }
	$(PIP) install --require-hashes -r requirements.lock
	$(PIP) install --no-index -r requirements.txt
	touch $@

.venv/.installed-dev: requirements-dev.txt requirements-dev.lock .venv/.installed
	$(PIP) install --require-hashes -r requirements-dev.lock
	$(PIP) install --no-index -r requirements-dev.txt
	touch $@

# The browser tests drive the distribution's own Chromium; Fashion-MNIST and nginx come from it too.
.venv/.chromium: .ci/system-packages | .venv/.installed
	sh .ci/system-packages
	touch $@

clean:
	rm -rf .venv runs
