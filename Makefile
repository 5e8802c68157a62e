# Needs python3 (3.11 or later), make and the package index; everything else goes into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PEERS := .bench
OLDER := .opencv
PROFILE ?= smoke

# Where it is set, every one of the hundreds of processes that tests start would compile its imports again.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help reproduce book playground pdf test lint unit runs stored notebooks pages bench gpu publish clean

help:  ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

$(READY): pyproject.toml uv.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "meddef needs Python 3.11 or later; set PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	UV_PROJECT_ENVIRONMENT=$(VENV) $(BIN)/uv sync --locked --inexact --all-extras --python $(BIN)/python
	touch $@

reproduce: $(READY)  ## from images to report: train, prune, attack, notebooks, book (PROFILE=smoke)
	$(BIN)/meddef reproduce --profile $(PROFILE)

book: $(READY)  ## the report from the results in the repository, without computing any
	$(BIN)/meddef book

pdf: $(READY)  ## the whole report as one PDF, _build/meddef.pdf; needs Chromium
	$(BIN)/meddef book --pdf

test: lint unit runs stored notebooks pages  ## everything CI runs

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

STORED := tests/test_corruptions.py tests/test_course_guards.py tests/test_export_variants.py tests/test_howto.py \
	tests/test_howto_outputs.py tests/test_new_user.py tests/test_one_value.py tests/test_published_figures.py
RUNS := $(patsubst %,tests/test_%.py,attack_checkpoint book cli_lab cluster course_grade curve distributed engine faults \
	independent notebooks own_names publication rival_cells smoke_test)
unit: $(READY) $(OLDER)/.ready  ## every module by itself; minutes
	OMP_NUM_THREADS=1 $(BIN)/pytest tests -n 2 --dist loadfile $(patsubst %,--ignore=%,$(STORED) $(RUNS))

runs: $(READY)  ## whole runs: several processes, clusters, processes that are killed, full disks, a class that is graded
	OMP_NUM_THREADS=1 $(BIN)/pytest $(RUNS) -n 2 --dist loadfile

stored: $(READY)  ## what takes longest: published figures and printed numbers drawn again, the how-to word for word, corrupted files
	OMP_NUM_THREADS=1 $(BIN)/pytest $(STORED) -n 2 --dist loadfile

notebooks: $(READY)
	cd notebooks && ../$(BIN)/pytest --nbval --nbval-current-env -W default -p no:cacheprovider . ../book/course/lab*.ipynb

pages: $(READY)  ## the built report: links, offline use, accessibility, page width
	$(BIN)/meddef book
	MEDDEF_BUILT_BOOK=_build/html $(BIN)/pytest tests/test_book.py tests/test_exhibits.py tests/test_accessibility.py

bench: $(READY) $(PEERS)/.ready  ## speed, as ratios measured side by side; minutes
	PYTHONPATH=$(PEERS) $(BIN)/python -m tests.bench

gpu: $(READY) $(PEERS)/.ready  ## on a machine with a CUDA GPU: its tests and the bench of recorded steps; minutes
	PYTHON=$(BIN)/python PEERS=$(PEERS) tests/bench/on_a_card.sh

$(PEERS)/.ready: Makefile $(READY)  # a separate folder without dependencies: torchattacks pins old ones
	$(BIN)/uv pip install --quiet --no-deps --python $(BIN)/python --target $(PEERS) torchattacks==3.5.1 \
		pyautoattack==0.2.0 captum==0.9.0 cleverhans==4.0.0
	touch $@

$(OLDER)/.ready: Makefile $(READY)  # to compare drawing and preprocessing with other OpenCV releases
	$(BIN)/uv pip install --quiet --no-deps --python $(BIN)/python --target $(OLDER) opencv-python-headless==4.10.0.84
	touch $@

playground: $(READY)  ## retrain the two models of the attack playground and export their gradients
	$(BIN)/python -m meddef.playground

publish: $(READY)  ## copy the records of a run (PROFILE=cpu) from runs/ to results/: all, or its whole models
	$(BIN)/meddef publish --profile $(PROFILE)

environment.yml: pyproject.toml .ci/environment.py $(READY)
	$(BIN)/python .ci/environment.py > $@

clean:  ## remove built files; keeps the environment, runs and results
	rm -rf _build book/notebooks book/sections .pytest_cache .mypy_cache .ruff_cache
