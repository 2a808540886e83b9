# make run    everything from photos to comparison, and a page to look at: build/index.html
# make site   that page again: the course site of the last run, in seconds, without a network
# make crossed   the two trainings the paper left for later, then notebooks 07 and 08 on all four
# make test   every check, all notebooks included
# make test-fast   style and the quick tests, in two minutes
# make colab-like   the notebooks, then the tests, on Colab's versions
# make lab    JupyterLab to work through the notebooks
# make page   the prompt box alone, as a page in your browser
# make colab REPO=owner/name   point the badges of Colab and Kaggle and the set-up cells at your copy
# make clean  remove what was built; trainings in runs/ stay

VENV ?= .venv
PYTHON3 ?= python3
PYTHON = $(VENV)/bin/python
PIP = $(PYTHON) -m pip install --quiet --disable-pip-version-check
TORCH = $(shell grep ^torch== constraints.txt)
# two tests at a time, each on one core
PYTEST = OMP_NUM_THREADS=1 $(PYTHON) -m pytest -n 2 --dist loadgroup --no-loadscope-reorder
READY = $(VENV)/.ready

.PHONY: run site crossed test test-fast colab-like lab page colab clean

run: $(READY)
	$(PYTHON) -m tools.notebooks
	$(PYTHON) -m tools.website

site: $(READY)
	$(PYTHON) -m tools.website

crossed: $(READY)
	SUBJECT=nesrelah $(PYTHON) -m tools.notebooks 03
	SUBJECT=amir $(PYTHON) -m tools.notebooks 04
	$(PYTHON) -m tools.notebooks 07 08
	$(PYTHON) -m tools.website

test: $(READY)
	$(PYTHON) tools/chromium.py
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTEST) -m "not weekly"

test-fast: $(READY)
	$(PYTHON) -m ruff check .
	$(PYTEST) -m "not slow"

colab-like: $(READY)
	$(PYTHON) -m tools.colab_like

lab: $(READY)
	$(PYTHON) -m jupyter lab --FileContentsManager.preferred_dir=notebooks

page: $(READY)
	PYTHONPATH="$(CURDIR)" $(PYTHON) -m voila docs/prompt_page.ipynb

colab:
	@test -n "$(REPO)" || { echo "Say which repository on GitHub: make colab REPO=owner/name"; exit 1; }
	$(PYTHON3) -m tools.stamp $(REPO)

clean:
	rm -rf build .venv .pytest_cache .ruff_cache .hypothesis runs/quick

# On Linux without an NVIDIA GPU take the CPU build of torch, a tenth of the download; without PyTorch's index PyPI's will do,
# and pip's warning about that is nothing to act on.
$(READY): requirements.txt requirements-dev.txt constraints.txt
	@test -x $(PYTHON) || $(PYTHON3) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' || { \
		echo "$(PYTHON3) is missing, too old or too new: the libraries have wheels for Python 3.11 to 3.14." >&2; \
		echo "Name one of these: make run PYTHON3=python3.13" >&2; exit 1; }
	@test -x $(PYTHON) || $(PYTHON3) -c 'import os, sys; sys.exit(tuple(os.uname())[::4] == ("Darwin", "x86_64"))' || { \
		echo "PyTorch has no wheels for Macs with Intel: use Colab, or on Apple silicon a Python for arm64." >&2; exit 1; }
	@echo "Setting up $(VENV); the first time this takes some minutes."
	@test -x $(PYTHON) || $(PYTHON3) -m venv $(VENV)
	@if [ "$$(uname)" = Linux ] && ! command -v nvidia-smi > /dev/null; then \
		$(PIP) --no-deps --retries 1 $(TORCH)+cpu --extra-index-url https://download.pytorch.org/whl/cpu 2> /dev/null || true; fi
	$(PIP) -r requirements-dev.txt -c constraints.txt
	@touch $@
