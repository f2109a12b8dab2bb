# `make tune` and `make test` do all the set-up that they need, into .venv; `make clean` removes it again.

PYTHON ?= python3
JOBS ?= 2
BIN := $(CURDIR)/.venv/bin
# The repository root is the package `tilewright`: mypy sees it through a link of that name.
LINK := .venv/link
TYPED := __init__.py kernels tuner cli tests

.PHONY: tune test lint types unit test-all test-gpu docs clean

tune: .venv/tune.stamp
	$(BIN)/tilewright tune --db results/tilewright.db

test: lint types unit

lint: .venv/test.stamp
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: .venv/test.stamp
	mkdir -p $(LINK)
	ln -sfn $(CURDIR) $(LINK)/tilewright
	cd $(LINK) && MYPYPATH=. $(BIN)/mypy --config-file tilewright/pyproject.toml $(TYPED:%=tilewright/%)

# Whatever compiles is tested once more under the other Triton that we support.
unit: .venv/test.stamp
	$(BIN)/pytest -n $(JOBS) -m "not gpu and not slow"
	! test -d .venv/other-triton || PYTHONPATH=$(CURDIR)/.venv/other-triton $(BIN)/pytest -n $(JOBS) -m "not gpu and not slow" tests/kernels/test_compile.py

test-all: lint types
	$(BIN)/pytest -n $(JOBS) -m "not gpu"

test-gpu: .venv/test.stamp
	$(BIN)/pytest -m gpu

docs: .venv/test.stamp
	$(BIN)/python -P -m tilewright.cli.reference docs/cli.md

clean:
	rm -rf .venv build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/%.stamp: .ci/setup_venv.py pyproject.toml constraints.txt
	$(PYTHON) .ci/setup_venv.py $*
