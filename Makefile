PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test fuzz check clean

run: .venv/runs
	$(BIN)/pprs compare $(ARGS)

test: .venv/installed
	$(BIN)/python -m pytest -n auto --dist loadfile $(ARGS)

# The property tests with other examples each time, and many more of them.
fuzz: .venv/installed
	FUZZ=1 $(BIN)/python -m pytest -n auto --dist loadfile -m "fuzz or hypothesis" $(ARGS)

check: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# What runs, and then what tests and experiments need besides; again only when that changes.
.venv/runs: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "pprs needs Python 3.11 or newer, and $(PYTHON) is `$(PYTHON) --version`: try make PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[train]'
	@touch $@

.venv/installed: .venv/runs experiments/pyproject.toml
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]' --editable ./experiments
	@touch $@

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache
