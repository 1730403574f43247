# SPDX-License-Identifier: Apache-2.0
#
#   make          install what is missing, build; the program is build/tenon
#   make demo     the same, then run the models that come with it on their samples: build/demo/index.html
#   make test     the same, then the tests of every part with two compilers and CUDA (what CI runs)
#   make test-slow   the tests under sanitizers, then the fuzzers (results: docs/slow-tests.md)
#   make bench    benchmarks against other engines (see docs/performance.md)
#   make docs     regenerate docs/operators.md
#   make install  to PREFIX (default /usr/local)

JOBS ?= $(shell nproc)
PREFIX ?= /usr/local
FUZZ_SECONDS ?= 60
CONFIGURE = cmake --preset
VENV = build/venv

CUDA_TESTS = device planner_device device_plans device_faults device_generation device_hang api_device api_target
empty =
space = $(empty) $(empty)

.PHONY: all build deps test-deps demo test test-slow test-release test-sanitized test-clang test-fuzz test-cuda test-tsan test-python bench docs check install clean

all: build

deps:
	@tools/install-deps.sh build

test-deps: deps
	@tools/install-deps.sh test

build: deps
	@test -f build/build.ninja || $(CONFIGURE) release
	@cmake --build build -j $(JOBS)

demo: build
	@tools/demo.sh

docs: build
	@build/tools/operators > docs/operators.md

check: test-deps build
	@tools/check/run.sh

test: check test-release test-python test-clang test-cuda
	@echo "all tests passed"

test-slow: test-sanitized test-fuzz
	@echo "all slow tests passed"

test-release: test-deps build
	@ctest --test-dir build --output-on-failure -j $(JOBS)

# The package is installed as a user would install it, from the objects that are already in build/.
test-python: test-deps build
	@test -x $(VENV)/bin/python || python3 -m venv $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --force-reinstall -C build-dir=build .
	@TENON=$(CURDIR)/build/tenon $(VENV)/bin/python -m pytest -q tests/python

# Every CUDA file, to PTX, and the tests of the GPU backend that need no GPU. Takes the CUDA compiler that is there, or unpacks one into build/cuda.
test-cuda: test-deps
	@test -f build-cuda/build.ninja || CUDACXX=$$(tools/install-deps.sh cuda) $(CONFIGURE) cuda
	@cmake --build build-cuda -j $(JOBS) --target tenon checkcuda fake_device host_device $(CUDA_TESTS:%=test_%)
	@ctest --test-dir build-cuda --output-on-failure -j $(JOBS) -R '^(cuda|host_device|$(subst $(space),|,$(CUDA_TESTS)))$$'

test-sanitized: test-deps
	@test -f build-debug/build.ninja || $(CONFIGURE) debug
	@cmake --build build-debug -j $(JOBS)
	@ctest --test-dir build-debug --output-on-failure -j $(JOBS)

# clang, with warnings as errors: the second compiler finds what the first lets pass.
test-clang: test-deps
	@test -f build-clang/build.ninja || $(CONFIGURE) clang
	@cmake --build build-clang -j $(JOBS)

test-tsan: test-deps
	@test -f build-tsan/build.ninja || $(CONFIGURE) tsan
	@cmake --build build-tsan -j $(JOBS)
	@ctest --test-dir build-tsan --output-on-failure -R 'base|kern|runtime|generat|api'

test-fuzz: test-deps
	@test -f build-fuzz/build.ninja || $(CONFIGURE) fuzz
	@cmake --build build-fuzz -j $(JOBS) --target fuzzers
	@tools/fuzz.sh build-fuzz $(FUZZ_SECONDS)

bench: build
	@tools/bench.sh

install: build
	@cmake --install build --prefix $(PREFIX)

clean:
	@rm -rf build build-debug build-clang build-tsan build-fuzz build-nocuda build-cuda
