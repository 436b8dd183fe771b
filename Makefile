# make setup | test | check | demo
#
# Another Python:        make setup PYTHON=python3.12
# Another package index: make setup PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"

PYTHON = python3
PIP_ARGS =
VENV = .venv
BIN = $(VENV)/bin
STAMP = $(VENV)/.setup-done

.PHONY: setup test check format demo clean

setup: $(STAMP)

# torch goes first and pinned: pulled in by another package it would bring gigabytes of CUDA libraries.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install $(PIP_ARGS) -c constraints.txt torch
	$(BIN)/python -m pip install $(PIP_ARGS) -c constraints.txt -e ".[dev]"
	touch $@

test: $(STAMP)
	$(BIN)/python -m pytest

check: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

demo: $(STAMP)
	$(BIN)/lloco demo

clean:
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
