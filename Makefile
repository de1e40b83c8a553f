PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test test-experiments fuzz coverage check docs help clean
# Without what only `make fuzz` and `make test-experiments` run.
PRODUCT := -m "not fuzz and not experiments" $(addprefix --ignore=,tests/experiments tests/benchmarks experiments)
# A process for each core, a file at a time, in the order of tests/conftest.py.
PARALLEL := -n auto --dist loadfile --no-loadscope-reorder

run: .venv/runs ## should you smooth? on digits, in a minute; what `make` alone does; ARGS='--shots 2' sets options
	$(BIN)/pprs compare $(ARGS)

test: .venv/installed ## the tests of pprs; ARGS=tests/smoothing only those
	$(BIN)/python -m pytest $(PARALLEL) $(PRODUCT) $(ARGS)

test-experiments: .venv/installed ## those of what is beside it: the study, its tasks, the benchmarks
	$(BIN)/python -m pytest $(PARALLEL) -m experiments tests/experiments tests/benchmarks experiments $(ARGS)

fuzz: .venv/installed ## the property tests and random models with other examples, and many more of them
	FUZZ=1 $(BIN)/python -m pytest $(PARALLEL) -m "fuzz or hypothesis" $(ARGS)

coverage: .venv/installed ## the tests, and which lines and branches they leave out, in htmlcov/ too
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(PARALLEL) $(PRODUCT) $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage html --quiet
	$(BIN)/coverage report

check: .venv/installed ## lint, format, types, and the map in CONTRIBUTING.md
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --config-file tests/mypy.ini
	$(BIN)/python docs/house.py --check

docs: .venv/installed ## the site, build/site/index.html, without a warning and with all its links tried
	rm -rf build/site build/pages
	$(BIN)/python -m sphinx -q -W --keep-going -j auto -c docs -d build/pages . build/site
	$(BIN)/python docs/check_site.py build/site

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

help: ## these lines
	@sed -n 's/^\([a-z./-]*\):.* ## /make \1\t/p' Makefile | expand -t 24

clean: ## take away what these have made, but for runs/
	rm -rf .venv build dist htmlcov .coverage* .pytest_cache .mypy_cache .ruff_cache
