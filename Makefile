# `make tune` and `make test` do all the set-up that they need, into .venv; `make clean` removes it again.

PYTHON ?= python3
JOBS ?= 2
BIN := .venv/bin
MARKS := not gpu and not slow
# The repository root is the package `tilewright`: mypy sees it through a link of that name.
LINK := .venv/link
TYPED := __init__.py kernels tuner cli tests $(wildcard benchmarks examples)
OTHER_TRITON := .venv/other-triton

.PHONY: tune test test-all test-gpu proofs lint types unit docs schema results search-results clean

tune: .venv/tune.stamp
	$(BIN)/tilewright tune --db results/tilewright.db

test: lint types unit

test-all: MARKS := not gpu
test-all: test

test-gpu: .venv/test.stamp
	$(BIN)/pytest -m gpu

# Thousands of random problems for each family on the GPU, and compute-sanitizer over some: three minutes.
proofs: .venv/test.stamp
	$(BIN)/python -P benchmarks/correctness.py --out correctness.json
	$(BIN)/python -P benchmarks/sanitize.py --out sanitize.json

lint: .venv/test.stamp
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: .venv/test.stamp
	mkdir -p $(LINK)
	ln -sfn "$(CURDIR)" $(LINK)/tilewright
	cd $(LINK) && MYPYPATH=. ../bin/mypy --config-file tilewright/pyproject.toml $(TYPED:%=tilewright/%)

# Whatever compiles is tested once more under the other Triton that we support.
unit: .venv/test.stamp
	$(BIN)/pytest -n $(JOBS) -m "$(MARKS)"
	test ! -d $(OTHER_TRITON) || \
		PYTHONPATH="$(CURDIR)/$(OTHER_TRITON)" $(BIN)/pytest -n $(JOBS) -m "$(MARKS)" tests/kernels/test_compile.py

docs: .venv/test.stamp
	$(BIN)/python -P -m tilewright.cli.reference docs/cli.md

# A store as this version writes it, for later versions to migrate: once for each schema.
schema: .venv/test.stamp
	$(BIN)/python -P -m tilewright.tests.store.schema_file

# The pages under results/, from the raw results beside them.
results: .venv/test.stamp
	cd results/nvidia-h200 && ../../$(BIN)/tilewright report winners.json --landscapes landscapes > README.md
	cd results/nvidia-h100-80gb-hbm3 && ../../$(BIN)/tilewright report winners.json > README.md

# What the samplers find on the recorded landscapes, replayed anew: ten minutes of one core.
search-results: .venv/test.stamp
	$(BIN)/tilewright replay results/nvidia-h200/landscapes/*.csv.gz --seeds 20 --report results/search

clean:
	rm -rf .venv build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/%.stamp: .ci/setup_venv.py pyproject.toml constraints.txt
	$(PYTHON) .ci/setup_venv.py $*
