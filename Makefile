# The two commands that matter: `make dashboard` and `make test`. Both install what they need.
PYTHON ?= python3
PORT ?= 8501
HEADLESS ?= 0
BIN := .venv/bin

.PHONY: dashboard test slow lint zoo cards bench clean

dashboard: .venv/.installed
	$(BIN)/python -m dashboard --port $(PORT) $(if $(filter 1 true yes,$(HEADLESS)),--headless)

test: .venv/.installed-dev .venv/.chromium
	$(BIN)/python -m pytest

slow: .venv/.installed-dev .venv/.chromium
	$(BIN)/python -m pytest -m slow

lint: .venv/.installed-dev
	$(BIN)/ruff check .

# Train what is missing in assets/zoo, then measure the cards.
zoo: .venv/.installed
	$(BIN)/python -m evidence.zoo
	$(BIN)/python -m evidence.cards

bench: .venv/.installed-dev
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -r requirements-bench.txt
	$(BIN)/python -m benchmarks

.venv/.installed: requirements.txt
	$(PYTHON) -m venv .venv || { echo "On Debian or Ubuntu: apt-get install python3-venv"; exit 1; }
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

.venv/.installed-dev: requirements-dev.txt .venv/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

# The browser tests drive the distribution's own Chromium; Fashion-MNIST comes as a package too.
.venv/.chromium: | .venv/.installed
	sh .ci/system-packages
	touch $@

clean:
	rm -rf .venv runs
