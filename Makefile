# `make demo` and `make test` do all of their own set-up; the second reuses what the first installed.
SHELL  := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   ?= .venv
BIN    := $(VENV)/bin
OLD    := $(VENV)-tflite-runtime

.PHONY: help setup setup-dev constraints spelling firmware demo demo-model test test-pi test-usb soak check lint types layers format bench clean
.DELETE_ON_ERROR:

help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

# --- set-up: one resolve, pinned by constraints.txt; uv where it is installed, pip otherwise ---

ifneq ($(shell command -v uv 2>/dev/null),)
MAKE_VENV = uv venv --quiet --allow-existing --python $(PYTHON)
INSTALL    = VIRTUAL_ENV=$(1) uv pip install --quiet
else
MAKE_VENV = $(PYTHON) -m venv
INSTALL    = $(1)/bin/python -m pip install --quiet --disable-pip-version-check
endif

$(VENV)/.stage-venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "ekd needs Python 3.11 or newer: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@command -v uv >/dev/null || $(PYTHON) -c 'import ensurepip' 2>/dev/null || \
	  { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -qq -y $(notdir $(PYTHON))-venv >/dev/null; } || \
	  { echo "Python's venv module is missing: sudo apt install $(notdir $(PYTHON))-venv" >&2; exit 2; }
	@echo "[1/2] virtual environment in $(VENV)"
	@$(MAKE_VENV) $(VENV)
	@touch $@

$(VENV)/.stage-export: $(VENV)/.stage-venv pyproject.toml constraints.txt
	@echo "[2/2] installing ekd, torch and the converter: some minutes"
	@$(call INSTALL,$(VENV)) --constraint constraints.txt --editable '.[export]'
	@touch $@

$(VENV)/.stage-dev: $(VENV)/.stage-venv pyproject.toml constraints.txt
	@command -v cc >/dev/null || \
	  { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -qq -y gcc libc6-dev >/dev/null; } || \
	  { echo "A C compiler is missing: sudo apt install gcc libc6-dev" >&2; exit 2; }
	@packages=; \
	  command -v avr-gcc >/dev/null || packages="$$packages gcc-avr avr-libc binutils-avr"; \
	  test -e /usr/include/simavr/sim_avr.h || packages="$$packages libsimavr-dev libelf-dev"; \
	  command -v avrdude >/dev/null || packages="$$packages avrdude"; \
	  test -z "$$packages" || \
	  { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -qq -y --no-install-recommends $$packages >/dev/null; } || \
	  echo "The firmware's tests will be skipped: sudo apt install$$packages"
	@echo "[2/2] installing ekd with its test tools and the runtimes that it is compared with: some minutes"
	@$(call INSTALL,$(VENV)) --constraint constraints.txt --editable '.[export,dev]'
	@touch $@ $(VENV)/.stage-export

# The last tflite-runtime needs numpy 1, so it has its own environment. Where it has no wheel, its tests are skipped.
$(OLD)/.stage: $(VENV)/.stage-venv
	@echo "[+] installing tflite-runtime 2.14 in $(OLD)"
	@$(MAKE_VENV) $(OLD)
	@if $(call INSTALL,$(OLD)) --only-binary :all: \
	  tflite-runtime==2.14.0 numpy==1.26.4; then touch $@; else echo "tflite-runtime 2.14 has no wheel here"; fi

setup: $(VENV)/.stage-export  ## install ekd with everything but the test tools
setup-dev: $(VENV)/.stage-dev $(OLD)/.stage  ## install the test tools as well

constraints: setup-dev  ## write the installed versions to constraints.txt
	@{ sed -n '/^#/p' constraints.txt; \
	   $(BIN)/python -m pip freeze --exclude-editable --exclude ekd | sed -E '/^#/d; s/\+[^ ]*$$//' | LC_ALL=C sort -f; } > build.constraints
	@mv build.constraints constraints.txt

firmware:  ## build the sensor's firmware, in firmware_bridge/csrc/build; flash it with ekd-firmware flash PORT
	@$(MAKE) --no-print-directory -C firmware_bridge/csrc

# --- daily work ---

demo: setup  ## teacher -> student -> int8 -> a serial device node, in build/demo
	@$(BIN)/python -m ekd_export.demo build/demo

demo-model: setup  ## rebuild the demo model that ships with ekd; about two minutes
	@$(BIN)/python -m ekd_export.demo.model build/demo-model

test: setup-dev  ## the whole test suite, but for the next two
	@$(BIN)/python -m pytest -m 'not pi and not usb' --numprocesses auto --maxprocesses 4 --dist loadfile

test-pi: setup-dev  ## the project installed on a Raspberry Pi's systems, their processors emulated; some minutes
	@command -v mmdebstrap >/dev/null || \
	  { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -qq -y --no-install-recommends mmdebstrap xz-utils debian-archive-keyring >/dev/null; } || \
	  echo "Tests on a Raspberry Pi's systems will be skipped: sudo apt install mmdebstrap"
	@$(BIN)/python -m pytest -m pi --numprocesses 2

test-usb: setup-dev  ## ekd-edge and its service in a machine whose USB adapter is unplugged; six minutes, a gigabyte of cache
	@packages=; \
	  command -v qemu-system-aarch64 >/dev/null || packages="$$packages qemu-system-arm"; \
	  command -v mmdebstrap >/dev/null || packages="$$packages mmdebstrap xz-utils debian-archive-keyring"; \
	  test -z "$$packages" || \
	  { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -qq -y --no-install-recommends $$packages >/dev/null; } || \
	  echo "These tests will be skipped: sudo apt install$$packages"
	@EKD_USB=1 $(BIN)/python -m pytest -m usb

soak: setup-dev  ## the long matrix of faults, long fuzzing and seven simulated days of a sensor, 35 minutes
	@EKD_FAULTS=long $(BIN)/python -m pytest tests/faults --timeout 7200
	@$(BIN)/python -m benchmarks.soak.soak

check: lint spelling types layers  ## ruff, codespell, mypy --strict, import-linter

spelling: setup-dev
	@$(BIN)/codespell

lint: setup-dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: setup-dev
	@$(BIN)/mypy

layers: setup-dev
	@$(BIN)/lint-imports

format: setup-dev  ## put the code into shape
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

BENCHES := $(subst _,-,$(patsubst benchmarks/bench_%.py,bench-%,$(wildcard benchmarks/bench_*.py)))
.PHONY: $(BENCHES)

bench: $(BENCHES)  ## every benchmark, into build/bench

$(BENCHES): bench-%: setup-dev
	@$(BIN)/python -m benchmarks.bench_$(subst -,_,$*)

clean:  ## remove what was built, not what was installed
	@rm -rf build .mypy_cache .ruff_cache .pytest_cache .hypothesis
