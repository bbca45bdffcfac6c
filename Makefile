# Each command sets up .venv by itself; when it exists and pyproject.toml has not changed, that takes no time.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
JOBS ?= 3
SETUP := .venv/.installed
# Many tests start a Python: what one has compiled, the next need not.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test product check style types bench bench-scale bench-complexity stress gpu clean

demo: $(SETUP)  ## learn actively on real digits, and open nothing: the report is runs/digits/report.html
	$(BIN)/tonsure run experiments/digits.py --seeds 3
	$(BIN)/tonsure report runs/digits

test: $(SETUP)  ## all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadgroup

product: $(SETUP)  ## every objective with every optimizer, on small and large pools, and tests that repeat others at length
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) -m product

check: style types test  ## everything that must pass before a commit; the layers are one of the tests

style: $(SETUP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(SETUP)
	$(BIN)/mypy

bench: .venv-bench/.installed  ## speed and memory beside batchbald_redux, baal and scikit-activeml
	.venv-bench/bin/python -m benchmarks.selection

bench-scale: .venv-bench/.installed  ## large pools: targets, floors, growth, and others at the largest size they can do
	.venv-bench/bin/python -m benchmarks.scale --folder runs/scale --out runs/scale.json

bench-complexity: $(SETUP)  ## what a batch costs, and what it tells: docs/complexity.md
	$(BIN)/python -m benchmarks.complexity --out runs/complexity

stress: $(SETUP)  ## attacks: kills, full disks, damaged stores, odd inputs; goes on where it was interrupted: docs/stress.md
	OMP_NUM_THREADS=1 $(BIN)/python -m stress --jobs 2 --record

gpu:  ## on a machine with a CUDA GPU, within ten minutes: selection tests, and 1,000 of 10 million rows
	$(PYTHON) benchmarks/gpu.py

$(SETUP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e '.[dev]'
	touch $@

# A torchvision that batchbald_redux brings along, but that does not fit a CPU build of torch, stops baal: away with it.
.venv-bench/.installed: pyproject.toml constraints.txt
	test -x .venv-bench/bin/python || $(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	.venv-bench/bin/python -c 'import torchvision' 2>/dev/null || .venv-bench/bin/python -m pip uninstall --yes torchvision
	touch $@

clean:
	rm -rf .venv .venv-bench .venv-gpu runs .mypy_cache .ruff_cache .pytest_cache
