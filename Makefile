PYTHON ?= python3
BIN := .venv/bin

ifneq ($(wildcard ../shared/data),)
export FOOTNOTE_DATASETS ?= $(abspath ../shared/data)
endif

.PHONY: help run test check picture set-up lint types

help:
	@echo "make run    set Footnote up, the first time, and open it"
	@echo "make test   lint, check types, and run every test"
	@echo "make check  the same, without the slow tests"

run:
	@$(PYTHON) install.py --run

test: check
	CPU_CORES=1 $(BIN)/pytest -m slow -n auto --dist loadfile --no-loadscope-reorder

check: lint types
	$(BIN)/pytest -m "not slow" -n auto

picture: set-up
	$(BIN)/pytest tests/browser -k first_answer
	mkdir -p docs && cp tests/browser/shots/answer.png docs/answer.png

set-up:
	@$(PYTHON) install.py --test

lint: set-up
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: set-up
	$(BIN)/mypy
