# The one entry point. `make help` lists what there is to do.
#
# Variables: PG_CONFIG (pg_config of the server to build for and to test with), PG_MAJOR (which PostgreSQL of several),
# prefix (of the shipper, default /usr/local), DESTDIR, BUILD_TYPE, JOBS, DEPS=no (install nothing), VERSIONS.

ifdef PG_MAJOR
PG_CONFIG ?= /usr/lib/postgresql/$(PG_MAJOR)/bin/pg_config
else
PG_CONFIG ?= pg_config
endif
prefix ?= /usr/local
BUILD_TYPE ?= RelWithDebInfo
DEPS ?= yes
FUZZ_SECONDS ?= 20
VERSIONS ?= 15 17 18
JOBS ?= $(shell nproc)

export PG_CONFIG

VENV_PYTHON := build/venv/bin/python
PGXS := --no-print-directory PG_CONFIG=$(PG_CONFIG) with_llvm=no
HARNESSES := $(patsubst tests/fuzz/%.cpp,%,$(wildcard tests/fuzz/*_fuzz.cpp))

# These goals see to it first that everything needed is installed; packagers' goals never install anything.
WITH_DEPS := all demo check check-unit check-regress check-isolation check-integration check-fuzz check-sanitize check-valgrind \
             check-versions check-stress torture failpoints lint bench bench-debezium
ifneq ($(DEPS),no)
NEEDED := $(if $(filter $(WITH_DEPS),$(MAKECMDGOALS)),deps)
endif

.DEFAULT_GOAL := help
.PHONY: help deps all plugin extension shipper demo check check-unit check-regress check-isolation check-integration check-fuzz \
        check-sanitize check-valgrind check-versions check-stress torture failpoints model lint bench bench-debezium install install-plugin install-shipper uninstall format clean

help: ## list what there is to do
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 26

deps: ## install what is needed: packages, the Kafka broker's jars, Python packages of the tests
	@tools/deps

all: plugin extension shipper ## build everything

plugin: | $(NEEDED) ## build the output plugin
	+@$(MAKE) -C plugin $(PGXS)

extension: | $(NEEDED) ## build the SQL extension
	+@$(MAKE) -C sql $(PGXS)

shipper: build/shipper/build.ninja ## build the shipper, the command walferry
	@ninja -j$(JOBS) -C build/shipper --quiet walferry

# Made once: from then on ninja itself runs CMake again when a CMakeLists.txt or the set of files has changed.
build/shipper/build.ninja: | $(NEEDED)
	@cmake -S . -B build/shipper -G Ninja -DCMAKE_BUILD_TYPE=$(BUILD_TYPE)

build/sanitize/build.ninja: | $(NEEDED)
	@cmake -S . -B build/sanitize -G Ninja -DWALFERRY_SANITIZE=ON -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS=-O1

build/failpoints/build.ninja: | $(NEEDED)
	@cmake -S . -B build/failpoints -G Ninja -DWALFERRY_FAIL_POINTS=ON -DCMAKE_BUILD_TYPE=$(BUILD_TYPE)

build/fuzz/build.ninja: | $(NEEDED)
	@cmake -S . -B build/fuzz -G Ninja -DWALFERRY_FUZZ=ON -DCMAKE_CXX_COMPILER=clang++ \
	    -DCMAKE_CXX_FLAGS=-fsanitize=fuzzer-no-link

# The shipper with the places in it where tests make it fail (shipper/fail_point).
failpoints: build/failpoints/build.ninja
	@ninja -j$(JOBS) -C build/failpoints --quiet walferry

demo: all ## show it at work: a throwaway PostgreSQL, a throwaway Kafka broker, pgbench, every message counted
	@$(VENV_PYTHON) tests/demo/demo.py

check: | $(NEEDED) ## prove it: all tests and lint, with a summary
	+@tools/check

check-unit: build/shipper/build.ninja ## unit tests (GoogleTest)
	@ninja -j$(JOBS) -C build/shipper --quiet
	@tools/run-unit-tests build/shipper

check-regress: plugin extension ## the plugin and the extension in the server (pg_regress)
	@$(VENV_PYTHON) tools/regress

check-isolation: plugin extension ## several sessions at once, step by step (pg_isolation_regress)
	@$(VENV_PYTHON) tools/isolation

check-integration: all failpoints ## server, shipper and broker together (pytest); PYTEST_ARGS="-k name" chooses
	@$(VENV_PYTHON) -m pytest -c tests/pytest.ini --junitxml=build/check/pytest.xml $(PYTEST_ARGS)

check-fuzz: build/fuzz/build.ninja ## a bounded run of each fuzzer
	@ninja -j$(JOBS) -C build/fuzz --quiet $(HARNESSES)
	@FUZZ_SECONDS=$(FUZZ_SECONDS) tools/run-fuzzers build/fuzz $(HARNESSES)

check-sanitize: build/sanitize/build.ninja ## unit tests under AddressSanitizer and UndefinedBehaviorSanitizer
	@ninja -j$(JOBS) -C build/sanitize --quiet
	@tools/run-unit-tests build/sanitize

check-valgrind: plugin extension ## the regress suite with the server under valgrind (minutes; not part of check)
	@$(VENV_PYTHON) tools/valgrind-plugin

check-versions: shipper ## regress and core integration tests on PostgreSQL 15, 17 and 18 (VERSIONS=; not part of check)
	@$(VENV_PYTHON) tools/check-versions $(VERSIONS) $(if $(PYTEST_ARGS),-- $(PYTEST_ARGS))

check-stress: plugin extension ## storms, fuzzing and cancels on a server with assertions, invalidation at every look-up (an hour; not part of check)
	+@tools/stress $(STRESS_STEPS)

torture: plugin extension failpoints ## every fault, both kinds of delivery, every row accounted for (half an hour; not part of check); TORTURE_ARGS="--kills-per-stage 100" kills at every fail point
	@$(VENV_PYTHON) tests/torture/main.py $(TORTURE_ARGS)

model: ## the model of delivery, by TLC (minutes; not part of check); MODEL="readback transactional/zombie" chooses
	@tools/model $(MODEL)

lint: build/shipper/build.ninja ## clang-format and clang-tidy, warnings are errors
	@ninja -j$(JOBS) -C build/shipper --quiet wire_schema
	@tools/lint

bench: all ## measure, side by side with the neighbours; results in build/bench/results.json
	@$(VENV_PYTHON) tests/bench/run.py $(BENCH_ARGS)

bench-debezium: all ## the same, with Debezium as a neighbour
	@$(VENV_PYTHON) tests/bench/run.py --debezium $(BENCH_ARGS)

install: install-plugin install-shipper ## install plugin, extension and shipper (PG_CONFIG=, DESTDIR=, prefix=)

install-plugin: plugin extension ## install plugin and extension only: for the database host
	+@$(MAKE) -C plugin $(PGXS) install DESTDIR=$(DESTDIR)
	+@$(MAKE) -C sql $(PGXS) install DESTDIR=$(DESTDIR)

install-shipper: shipper ## install the command walferry only: for the host beside Kafka
	install -D -m 755 build/shipper/walferry $(DESTDIR)$(prefix)/bin/walferry

uninstall: ## remove what install installed
	+@$(MAKE) -C plugin $(PGXS) uninstall DESTDIR=$(DESTDIR)
	+@$(MAKE) -C sql $(PGXS) uninstall DESTDIR=$(DESTDIR)
	rm -f $(DESTDIR)$(prefix)/bin/walferry

format: ## put all C++ files into the project's form
	@tools/lint --format

clean: ## remove what was built; what deps fetched stays
	-@if [ -e plugin/Makefile ]; then $(MAKE) -C plugin $(PGXS) clean; fi
	-@if [ -e sql/Makefile ]; then $(MAKE) -C sql $(PGXS) clean; fi
	rm -rf build/shipper build/failpoints build/torture build/sanitize build/fuzz build/check build/regress build/isolation build/lint build/bench build/versions build/stress build/model
