# Each command sets up .venv by itself; when it exists and pyproject.toml has not changed, that takes no time.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
SETUP := .venv/.installed-dev

.PHONY: demo test check style types bench clean

demo: $(SETUP)  ## learn actively on real digits, and open nothing: the report is runs/digits/report.html
	$(BIN)/tonsure run experiments/digits.py --seeds 3
	$(BIN)/tonsure report runs/digits

test: $(SETUP)  ## all tests
	$(BIN)/python -m pytest

check: style types test  ## everything that must pass before a commit; the layers are one of the tests

style: $(SETUP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(SETUP)
	$(BIN)/mypy

bench: .venv/.installed-bench  ## speed and memory beside batchbald_redux, baal and scikit-activeml
	$(BIN)/python benchmarks/select.py

.venv/.installed-%: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$*]'
	touch $@

clean:
	rm -rf .venv runs .mypy_cache .ruff_cache .pytest_cache
