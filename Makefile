# Each target works from a bare clone: it creates .venv and installs its requirements.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --no-compile --quiet --disable-pip-version-check
# Two workers use two cores, and each computes in one thread: more threads would wait for each other.
PYTEST := TF_CPP_MIN_LOG_LEVEL=3 TF_NUM_INTRAOP_THREADS=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup

# On JAX, only tests of numerical values run, not those marked one_backend. Most of the time goes into compiling each
# random initialiser for each shape, so the compiler's optimisations are switched off.
JAX := KERAS_BACKEND=jax JAX_DISABLE_MOST_OPTIMIZATIONS=1 JAX_COMPILATION_CACHE_DIR=$(CURDIR)/.cache/jax JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0
ON_JAX := tests/decoding tests/ops tests/layers tests/losses tests/metrics tests/test_registry.py
# Number of tests that must pass on JAX, so that no mark hides tests by mistake.
MINIMUM_ON_JAX := 600

.PHONY: demo test thorough parity lint clean

demo: $(VENV)/.demo
	TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/segattn demo --output out/demo

test: lint
	$(PYTEST) -m "not parity and not thorough"

# Slow tests that need not run every time: further models of a module, further export precisions, several replicas,
# whole trainings, further live implementations; also on JAX.
thorough: $(VENV)/.parity
	$(PYTEST) -m thorough
	$(JAX) $(PYTEST) -m "thorough and not parity and not one_backend" $(ON_JAX)

lint: $(VENV)/.tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python tests/prose.py

parity: $(VENV)/.parity
	$(PYTEST) -m "parity and not thorough"
	MINIMUM_TESTS=$(MINIMUM_ON_JAX) $(JAX) $(PYTEST) -m "not parity and not one_backend and not thorough" $(ON_JAX)

clean:
	rm -rf $(VENV) out build *.egg-info

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: setup.py | $(VENV)/bin/python
	$(PIP) -e ".[tutorials]"
	touch $@

$(VENV)/.tests: setup.py | $(VENV)/bin/python
	$(PIP) -e ".[tests]"
	touch $@

# The reference implementations below cannot be extras. Their own requirements are outdated (torchfcn, tensorflow-addons,
# facenet-pytorch), include a torch with CUDA (torchvision, timm) or are far larger than the photographs we read
# (foolbox).
$(VENV)/.parity: $(VENV)/.tests
	$(PIP) -e ".[tests,tutorials,parity]" "setuptools<80" wheel
	$(PIP) --no-deps --no-build-isolation torchfcn==1.9.7
	$(PIP) --no-deps foolbox==3.3.4 tensorflow-addons==0.23.0 "typeguard<3"
	$(PIP) --no-deps facenet-pytorch==2.6.0 timm==1.0.31 torchvision==0.28.0
	touch $@
