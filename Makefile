# Each target sets up all that it needs: a virtual environment in .venv, the package built in place, its extras.
# `make test ARGS="tests/test_optim.py -k adam"` runs a part.
PYTHON ?= python3
PIP := .venv/bin/python -m pip --disable-pip-version-check --quiet

.PHONY: build generate demo test test-short worlds faults bench lint sanitize clean

demo: .venv/lab
	.venv/bin/microgradx demo

test: .venv/test
	.venv/bin/python -m pytest $(ARGS)

test-short: .venv/test
	.venv/bin/python -m pytest -m short

# compiled functions in worlds that change between calls: `make worlds ARGS="--minutes 30 --seed 1 --kinds dropout,mode"`
worlds: .venv/test
	.venv/bin/python tests/worlds.py $(ARGS)

# every allocation of some operations fails once: `make faults ARGS="--every 5 matmul"`
faults: .venv/test
	.venv/bin/python tests/faults.py $(ARGS)

bench: .venv/lab
	.venv/bin/python -m bench

lint: .venv/bin/ruff
	.venv/bin/ruff check
	PATH=.venv/bin:$$PATH cython-lint microgradx/_core

sanitize: .venv/test
	tools/sanitize

# what the table of elementwise operations writes of the sources
generate: .venv/tools
	@.venv/bin/python tools/generate.py

# setup.py knows what has changed, so it is always asked
build: .venv/tools generate
	@.venv/bin/python setup.py --quiet build_ext --inplace

.venv/tools: pyproject.toml
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	$(PIP) install "setuptools>=77" "cython>=3.1" "numpy>=2"
	touch $@

# an editable install takes the objects that the build has made
.venv/lab .venv/test: .venv/%: pyproject.toml | build
	$(PIP) install --no-build-isolation --editable ".[$*]"
	touch $@

.venv/bin/ruff:
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	$(PIP) install ruff cython-lint
	touch $@

clean:
	rm -rf .venv build *.egg-info
	find microgradx/_core \( -name '*.so' -o -name '*.c' -o -name '*.c.dep' \) -delete
