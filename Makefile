# Each target sets up all that it needs: a virtual environment in .venv, the package built in place, its extras.
# `make test ARGS="tests/test_optim.py -k adam"` runs a part.
PYTHON ?= python3
PIP := .venv/bin/python -m pip --disable-pip-version-check --quiet

.PHONY: build generate demo test test-short test-isa test-lowest test-newest worlds fuzz faults peers accuracy mutation \
        bench lint sanitize clean

demo: .venv/lab
	.venv/bin/microgradx demo

test: .venv/test
	.venv/bin/python -m pytest $(ARGS)

test-short: .venv/test
	.venv/bin/python -m pytest -m short

# the whole suite on each instruction set that the processor has
test-isa: .venv/test
	@for isa in baseline avx2 avx512; do \
	    MICROGRADX_ISA=$$isa .venv/bin/python -c "import microgradx" 2>/dev/null || continue; \
	    echo "----- $$isa"; MICROGRADX_ISA=$$isa .venv/bin/python -m pytest $(ARGS) || exit; \
	done

# with the lowest versions that pyproject.toml allows, and with the newest: `make test-lowest PYTHON=python3.12`
test-lowest test-newest: test-%:
	PYTHON=$(PYTHON) tools/versions $* $(ARGS)

# compiled functions in worlds that change between calls: `make worlds ARGS="--minutes 30 --seed 1 --kinds dropout,mode"`
worlds: .venv/test
	.venv/bin/python tests/worlds.py $(ARGS)

# random programs compared with NumPy: `make fuzz ARGS="--minutes 30 --seed 1"`, `--case calls` for bad input
fuzz: .venv/test
	.venv/bin/python tests/fuzz.py $(ARGS)

# every allocation of some operations fails once: `make faults ARGS="--every 5 matmul"`
faults: .venv/test
	.venv/bin/python tests/faults.py $(ARGS)

# other projects' samples and tests on ours, in an environment of its own: build/peers, or PEERS=/an/environment/with/torch
PEERS ?= build/peers
peers: .venv/test
	test -x $(PEERS)/bin/python || .venv/bin/python -m venv $(PEERS)
	$(PEERS)/bin/python -m pip --quiet install numpy scipy threadpoolctl safetensors pytest torch expecttest
	$(PEERS)/bin/python -m pip --quiet download --no-deps --no-binary autograd --dest build/autograd autograd
	tar --extract --gzip --strip-components 1 --directory build/autograd --file build/autograd/autograd-*.tar.gz
	PYTHONPATH=. $(PEERS)/bin/python tests/peers/torch_ops.py
	PYTHONPATH=. $(PEERS)/bin/python tests/peers/hips.py build/autograd/tests

# writes docs/accuracy.md; goes on where it stopped: `make accuracy ARGS="--minutes 30"`, `--samples` for no row at all 2^32 numbers
accuracy: .venv/test
	.venv/bin/python tools/accuracy.py $(ARGS)

# changes one sign, constant or branch at a time, and says which changes no test notices; goes on where it stopped:
# `make mutation ARGS="--minutes 30 --files csrc/softmax.inl"`
mutation: .venv/test
	.venv/bin/python tools/mutation.py $(ARGS)

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
	$(PIP) install "setuptools>=77" "cython>=3.3" "numpy>=2"
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
