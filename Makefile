# make demo     two agents, a broker, a serial line; kill one and watch
# make test     the whole test suite
# make check    linter, types, layers, sizes
# make bench    the figures of the README, measured here
# make mutants  faults put into copies of the core: the checks must find every one
# make venv     only set up .venv with the project and its tools
# make clean    back to a fresh clone
#
# Each sets up what it needs. PYTHON=/path/to/python3.x chooses the interpreter. ARGS='...' is passed on,
# as in: make test ARGS='-k wire', make demo ARGS='--fault stop', make demo ARGS='--mode hot-hot',
# make bench ARGS='--rows modes'.

.DEFAULT_GOAL := help
PYTHON ?=
ARGS ?=
export PYTHON
# Debian keeps mosquitto and keepalived there, outside a user's PATH.
export PATH := $(PATH):/usr/sbin:/sbin

BIN := .venv/bin
SOURCES := $(shell find ext agent -name '*.pyx' -o -name '*.pxd' -o -name '*.h')
# Keyed by the folder: a venv that was copied along with its checkout still points at the old one.
HERE := $(shell pwd | cksum | cut -d ' ' -f 1)
INSTALLED := .venv/installed-$(HERE)
BUILT := .venv/built-$(HERE)
# A stamp says nothing about files that somebody removed since, or an interpreter that was upgraded away.
PYTHON_LOST := $(shell $(BIN)/python -c '' 2>/dev/null || echo lost)
MODULES_LOST := $(shell for source in ext/*/*.pyx agent/*/*/*.pyx; do ls $${source%.pyx}.*.so >/dev/null 2>&1 || echo lost; done)
SUB := @$(MAKE) --no-print-directory

.PHONY: help demo test check bench mutants venv ready clean force

help:
	@sed -n 's/^# \(make .*\)/  \1/p' Makefile

demo:
	@.ci/system-packages build demo
	$(SUB) ready
	@command -v mosquitto >/dev/null || $(BIN)/python -c 'import amqtt' 2>/dev/null || .ci/venv demo
	@$(BIN)/twinbeat demo $(ARGS)

test:
	@.ci/system-packages build test
	$(SUB) ready
	@$(BIN)/python -m pytest -n auto --maxprocesses 4 $(ARGS)

check:
	@.ci/system-packages build
	$(SUB) ready
	@status=0; \
	$(BIN)/python -m ruff check . || status=1; \
	$(BIN)/python -m mypy || status=1; \
	$(BIN)/python -m pytest -q -m 'not slow' tests/house || status=1; \
	exit $$status

bench:
	@.ci/system-packages build demo bench
	$(SUB) ready
	@$(BIN)/twinbeat bench $(ARGS)

mutants:
	@.ci/system-packages build test
	$(SUB) ready
	@$(BIN)/python tests/mutants/run.py $(ARGS)

venv:
	@.ci/system-packages build
	$(SUB) ready

ready: $(BUILT)
	@:

$(INSTALLED): pyproject.toml setup.py .ci/venv $(if $(PYTHON_LOST),force)
	@.ci/venv
	@touch $@

$(BUILT): $(SOURCES) setup.py $(INSTALLED) $(if $(MODULES_LOST),force)
	@echo "Compiling what changed"
	@$(BIN)/python setup.py -q build_ext --inplace
	@touch $@

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -path ./.git -prune -o \( -name '__pycache__' -o -name '*.egg-info' -o -name '.*_cache' \) -type d -prune -exec rm -rf {} +
	find ext agent \( -name '*.so' -o -name '*.c' \) -type f -delete
