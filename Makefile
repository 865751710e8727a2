# `make` lists what there is. The first target that needs it builds .venv; later ones find it built.
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
STAMP := .venv/.installed
RECORD := runs/demo
LOCK := $(if $(shell command -v flock),flock .venv.lock)

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1
export LC_ALL := C.UTF-8

.DEFAULT_GOAL := help
.PHONY: help demo test test-all torture lint bench real-size gpu-bench notebooks

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(STAMP) ## measure the angles of Figure 3 on the bundled pair and draw them
	@$(BIN)/python -m probes.angles --out $(RECORD) --overwrite

test: lint ## lint, then every test that is not slow
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

test-all: lint ## lint, then every test, those too that are slow: all checks of every family of models
	@OMP_NUM_THREADS=1 EXAMPLES=100 $(BIN)/python -m pytest -n 2 --dist worksteal -m "slow or not slow"

torture: $(STAMP) ## kill, fill disks, damage records and runs: the long form of tests/faults, with counts
	@$(BIN)/python -m tests.faults.records
	@$(BIN)/python -m tests.faults.disk
	@$(BIN)/python -m tests.faults.kills
	@$(BIN)/python -m pytest -q -m slow tests/faults

lint: $(STAMP) ## ruff, mypy and plain English
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python -m tests.english

bench: $(STAMP) ## time gradients, losses and steps against simpler ways, and all of `make demo` against an older commit
	@$(BIN)/python -m tests.benchmarks.gradients
	@$(BIN)/python -m tests.benchmarks.sketch
	@$(BIN)/python -m tests.benchmarks.loss
	@$(BIN)/python -m tests.benchmarks.steps
	@$(BIN)/python -m tests.benchmarks.processes
	@$(BIN)/python -m tests.benchmarks.end_to_end

real-size: $(STAMP) ## run a random 2B student under a 4B teacher within 24 GB, every command's peak against its plan
	@$(BIN)/python -m tests.benchmarks.real_size

gpu-bench: $(STAMP) ## time a random 2B student under an 8B teacher on one GPU
	@$(BIN)/python -m tests.benchmarks.gpu

notebooks: $(STAMP) ## run the notebooks headless, copies in runs/notebooks/executed
	@$(BIN)/python -m tests.notebooks.execute

# One caller installs; the others wait at the lock, look again and find the stamp made.
ifndef LOCKED
$(STAMP): pyproject.toml constraints.txt
	@$(LOCK) $(MAKE) --no-print-directory LOCKED=1 $@
else
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed: make PYTHON=...") if sys.version_info < (3, 11) else 0'
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	@echo "installing into .venv (minutes, the first time)"
	@$(BIN)/python -m pip install -q -c constraints.txt torch==2.13.0
	@$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	@$(BIN)/python -m pip install -q --no-deps --upgrade --target .venv/torchvision-wheel torchvision==0.28.0
	@touch $@
endif
