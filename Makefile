# Each target sets up all that it needs: a virtual environment in .venv, the package built into it, its extras.
PYTHON ?= python3
PIP := .venv/bin/python -m pip --disable-pip-version-check --quiet
SOURCES := setup.py pyproject.toml $(wildcard csrc/* microgradx/_core/*.pyx microgradx/_core/*.pxd)

.PHONY: demo test test-short bench lint sanitize clean

demo: .venv/built
	.venv/bin/microgradx demo

test: .venv/built
	.venv/bin/python -m pytest

test-short: .venv/built
	.venv/bin/python -m pytest -m short

bench: .venv/built
	.venv/bin/python -m bench

lint: .venv/bin/ruff
	.venv/bin/ruff check
	PATH=.venv/bin:$$PATH cython-lint microgradx/_core

sanitize: .venv/built
	tools/sanitize

.venv/bin/ruff:
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	$(PIP) install ruff cython-lint
	touch $@

.venv/built: $(SOURCES)
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	$(PIP) install "setuptools>=77" "cython>=3.1" "numpy>=2"
	$(PIP) install --no-build-isolation --editable ".[lab,test]"
	touch $@

clean:
	rm -rf .venv build *.egg-info microgradx/_core/*.so microgradx/_core/*.c
