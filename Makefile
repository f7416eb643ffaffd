# The first of these that runs; another with `make PYTHON=…`.
PYTHON ?= $(firstword $(foreach p,python3.12 python3.11 python3.13 python3,$(shell $(p) --version >/dev/null 2>&1 && echo $(p))))
BIN := .venv/bin

.PHONY: demo docs fuzz lint loop notebook review test test-browser test-differential test-slow test-slurm test-wheel

# The main job on scikit-learn's digits: four methods on the same noisy labels, one table, one picture.
demo: .venv/installed
	$(BIN)/python launch.py sweep --config=configs/digits.py --sweep=configs/sweeps/digits.py --workdir=runs/demo

# 100 digits with a label, 1,338 without: a loop labels them, beside its controls; a table and runs/loop/report.html.
loop: .venv/installed
	$(BIN)/python launch.py loop --config=configs/loop/digits.py --workdir=runs/loop

test: .venv/installed-dev lint
	$(BIN)/python -m pytest

test-slow: .venv/installed-dev
	$(BIN)/python -m pytest -m slow

# What an installed package does: built, put into an environment of its own, used from another folder.
test-wheel: .venv/installed-dev
	$(BIN)/python -m pytest -n 0 -m slow tests/test_wheel.py

# The review page in a real browser, Debian's chromium, which root installs here if it is missing. Where no browser can be
# had, nothing is tested: this says so and ends well. SHOTS=docs/review writes the pictures of the guide.
APT := timeout 240 apt-get -qq -o Acquire::Retries=1 -o Acquire::http::Timeout=20
test-browser: .venv/installed-dev
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	  $(APT) update && $(APT) install -y --no-install-recommends chromium; } || true
	@if ! command -v chromium >/dev/null; then \
	  echo '*** test-browser: SKIPPED, nothing was tested: no chromium, and it cannot be installed here ***'; \
	elif ! $(MAKE) --no-print-directory .venv/installed-browser; then \
	  echo '*** test-browser: SKIPPED, nothing was tested: Playwright cannot be installed here ***'; \
	else \
	  BROWSER=required SHOTS=$(SHOTS) $(BIN)/python -m pytest -n 0 -m browser tests/test_review_browser.py; \
	fi

# The review page on the digits: a label table with wrong labels, and a short run on it, made at the first call.
review: .venv/installed
	@[ -e runs/review/table ] || $(BIN)/python launch.py table init --table=runs/review/table --config=configs/digits.py
	@[ -e runs/review/run/result.json ] || $(BIN)/python launch.py train --config=configs/digits.py \
	  --config.data.table=runs/review/table@latest --config.strategy.name=elr --config.epochs=6 --workdir=runs/review/run
	$(BIN)/python launch.py review --table=runs/review/table --workdir=runs/review/run

# A sweep over a real Slurm of one node, Debian's, which is started for it and stopped: a job is cancelled and a worker
# killed in the middle. Without root or the packages the tests say so and skip.
test-slurm: .venv/installed-engines
	@command -v slurmctld >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	  $(APT) update && $(APT) install -y --no-install-recommends slurm-wlm munge; } || \
	  echo '*** test-slurm: Slurm cannot be installed here: its tests are skipped ***'
	$(BIN)/python -m pytest -n 0 -rs -m 'slurm or not slow' tests/test_cluster.py tests/test_slurm.py

# Networks with published weights, and methods against their official loops, with PyTorch in an environment of its own.
# Where PyTorch cannot be installed, nothing is tested: this says so and ends well, unless TORCH=required.
test-differential:
	@if $(MAKE) --no-print-directory .venv-torch/installed; then \
	  .venv-torch/bin/python -m pytest -n 0 -rs tests/test_differential.py tests/test_trajectories.py tests/test_curves.py; \
	else \
	  echo '*** test-differential: SKIPPED, nothing was tested: PyTorch cannot be installed here ***'; \
	  [ '$(TORCH)' != required ]; \
	fi

# The suite's fuzz, a hundred times as long: make fuzz SEED=7
fuzz: .venv/installed-dev
	NOISYJAX_FUZZ=100 NOISYJAX_FUZZ_SEED=$(or $(SEED),1) $(BIN)/python -m pytest -n 2 --dist load tests/test_fuzz.py

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyrefly check --python-interpreter-path $(BIN)/python

# The site, in build/site. Strict: a reference that leads nowhere fails, and so does what a page fetches from elsewhere.
docs: .venv/installed-docs
	$(BIN)/python -m sphinx --fresh-env --nitpicky --fail-on-warning --keep-going --quiet docs build/site
	@! grep -rE '<(script|link|img|iframe)[^>]* (src|href)="(https?:)?//|(url\(|@import ).?(https?:)?//' build/site \
	  --include='*.html' --include='*.css'
	@echo build/site/index.html

# The notebook, from its first cell to its last; its outputs stay as they are in the file. A cell that fails, fails this.
notebook: .venv/installed-docs
	PYTHONPATH=$(CURDIR) $(BIN)/jupyter execute examples/quickstart.ipynb

.venv/installed: requirements.txt
	$(if $(PYTHON),,$(error noisyjax needs Python 3.11, 3.12 or 3.13; there is none: make PYTHON=/path/to/python3.12))
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] <= (3, 13) else "noisyjax needs Python 3.11, 3.12 or 3.13, found %d.%d: make PYTHON=python3.12" % sys.version_info[:2])'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

.venv/installed-dev: .venv/installed requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

.venv/installed-browser: .venv/installed-dev requirements-browser.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-browser.txt
	touch $@

.venv/installed-engines: .venv/installed-dev requirements-engines.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-engines.txt
	touch $@

.venv-torch/installed: requirements-dev.txt
	$(PYTHON) -m venv .venv-torch
	.venv-torch/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt torch==2.13.0
	touch $@

.venv/installed-docs: .venv/installed requirements-docs.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-docs.txt
	touch $@
