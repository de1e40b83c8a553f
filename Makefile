PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test fuzz coverage check help clean

run: .venv/installed ## train digits by all methods; what `make` alone does; ARGS='--shots 2' sets options
	$(BIN)/pprs compare $(ARGS)

test: .venv/installed ## all tests; ARGS=tests/smoothing only those
	$(BIN)/python -m pytest -n auto --dist loadfile $(ARGS)

fuzz: .venv/installed ## the property tests and random models with other examples, and many more of them
	FUZZ=1 $(BIN)/python -m pytest -n auto --dist loadfile -m "fuzz or hypothesis" $(ARGS)

coverage: .venv/installed ## the tests, and which lines and branches they leave out, in htmlcov/ too
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n auto --dist loadfile $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage html --quiet
	$(BIN)/coverage report

check: .venv/installed ## lint, format, types, and the map in CONTRIBUTING.md
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python docs/house.py --check

# Installed again only when what is installed changes.
.venv/installed: pyproject.toml constraints.txt ## the virtual environment that all of these use
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "pprs needs Python 3.11 or newer, and $(PYTHON) is `$(PYTHON) --version`: try make PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[train,dev]'
	@touch $@

help: ## these lines
	@sed -n 's/^\([a-z./]*\):.* ## /make \1\t/p' Makefile | expand -t 24

clean: ## take away what these have made, but for runs/
	rm -rf .venv build dist htmlcov .coverage* .pytest_cache .mypy_cache .ruff_cache
