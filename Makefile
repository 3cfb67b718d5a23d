# What is done with a checkout. The environment is .venv/, made from the locks in requirements/;
# everything else that is built here goes to build/ and dist/.

SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
BUILD := $(BIN)/python -m build --no-isolation
INSTALL := $(PIP) install --require-hashes --requirement

# ARGS goes to the daemon (make run ARGS=--console), to pip-compile (make lock ARGS=--upgrade)
# or to the benchmark; TESTS to trial (make test TESTS=tests.test_packaging). PYTHONS are those of
# test-all, RELEASES those of test-bare; JOBS is how many processes run tests.
ARGS ?=
PYTHONS ?= 3.11 3.12 3.13
RELEASES ?= 12 13

# The version is said in setup.cfg.
VERSION = $(shell sed -n 's/^version = //p' setup.cfg)

# Of the image: what it is made of, its name, and the program that builds it.
BASE ?= debian:bookworm-slim
IMAGE ?= socketd
ENGINE ?= $(firstword $(foreach name,podman docker,$(shell command -v $(name))))
JOBS ?= $(shell nproc)

# Tests that start daemons, builds or loads, or take long; all others are unit tests. Those of
# the seeds go with the unit tests, so that each run tries something from end to end.
TEST_FILES := $(sort $(shell find tests -name 'test_*.py'))
DAEMON_TESTS := tests/chaos/% tests/system/% tests/soak/test_soak.py tests/test_packaging.py \
    tests/support/test_limits.py tests/manual/test_tutorial.py tests/manual/test_howto.py \
    tests/manual/test_measure_page.py tests/bench/test_load.py tests/bench/test_tls.py \
    tests/bench/test_answers.py tests/contract/test_over_reactor.py \
    tests/contract/test_builders.py tests/net/faults/test_statistics.py \
    tests/cli/clock/test_nts_query.py tests/net/test_layers.py \
    tests/daemon/test_reload_addresses.py
SEEDS := tests/system/test_seeds.py
DAEMON_TESTS := $(filter-out $(SEEDS),$(filter $(DAEMON_TESTS),$(TEST_FILES)))
UNIT_TESTS := $(filter-out $(DAEMON_TESTS),$(TEST_FILES))

# trial with a directory for each target and environment, and what it skipped said last.
TRIAL = mkdir -p build && $(BIN)/python -u -m twisted.trial \
    --temp-directory=build/$@$(patsubst .venv%,%,$(notdir $(VENV))) $(1) | \
    $(BIN)/python tests/support/summary.py

.DEFAULT_GOAL := help
.PHONY: help run test test-daemon test-all coverage mutation interop lint-page recording pictures fuzz faults soak check docs site dist deb image test-image system-test test-bare lock bench bench-quick clean distclean
.DELETE_ON_ERROR:

help: ## list the targets
	@awk -F ':[^#]*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/run.stamp ## serve etc/socketd.ini until Ctrl-C; ARGS=--console to talk back
	@exec $(BIN)/twistd --nodaemon --pidfile= socketd --config etc/socketd.ini $(ARGS)

test: TESTS ?= $(UNIT_TESTS)
test: $(VENV)/dev.stamp ## run the unit tests and the seeds, or the tests named by TESTS=
	@$(call TRIAL,--jobs=$(JOBS) $(TESTS))

# WORKERS=2 is for tests/system/test_with_workers.py, which sees it in the environment.
test-daemon: TESTS ?= $(DAEMON_TESTS)
test-daemon: $(VENV)/dev.stamp ## run the tests that start daemons, or those named by TESTS=; WORKERS=2
	@$(call TRIAL,--jobs=$(JOBS) $(TESTS))

# What is missing is said last, where it is seen.
test-all: ## run test and test-daemon under each Python of PYTHONS=, in environments of their own
	@failed=; missing=; for version in $(PYTHONS); do \
	    python$$version -c 'import ensurepip, venv' 2>/dev/null || \
	        { missing="$$missing $$version"; continue; }; \
	    echo "python$$version"; \
	    $(MAKE) --no-print-directory --keep-going VENV=.venv-$$version \
	        PYTHON=python$$version test test-daemon || failed="$$failed $$version"; \
	done; \
	test -z "$$failed" || echo "make: tests failed under Python$$failed"; \
	for version in $$missing; do \
	    echo "make: python$$version is missing: apt-get install python$$version-venv; where" \
	        "the system has none, build it from python.org's source and put it on PATH"; \
	done; \
	test -z "$$failed$$missing"

# The layers without sockets, and what else is pure: a branch of them that no test takes fails.
PURE := socketd/common/*,socketd/settings/*,socketd/access/*,socketd/protocols/*
PURE := $(PURE),socketd/settings/faults/*,socketd/faults/*
PURE := $(PURE),socketd/net/timer_wheel.py
PURE := $(PURE),socketd/net/proxy/header.py,socketd/control/commands.py,socketd/control/reports.py
PURE := $(PURE),socketd/web/guard.py,socketd/web/history.py
PURE := $(PURE),socketd/control/requests.py,socketd/control/results.py
PURE := $(PURE),socketd/workers/checks.py,socketd/workers/figures.py,socketd/workers/queue.py
PURE := $(PURE),socketd/workers/relay.py,socketd/workers/task.py

coverage: TESTS ?= $(UNIT_TESTS)
coverage: $(VENV)/dev.stamp ## the branches that no unit test takes; none may be in a pure layer
	@rm -rf build/coverage && mkdir -p build/coverage
	@$(BIN)/coverage run -m twisted.trial --temp-directory=build/coverage/trial $(TESTS)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report
	@$(BIN)/coverage report --include='$(PURE)' --fail-under=100

# In a copy, for mutmut writes beside what it reads. With CI hypothesis draws the same each time.
# A change can make a loop that takes all memory, so there is a limit (KiB of addresses).
mutation: $(VENV)/mutation.stamp ## whether tests notice changes of access rules and settings: an hour
	@rm -rf build/mutation && mkdir -p build/mutation
	@tar -cf - --exclude=__pycache__ setup.cfg pyproject.toml etc socketd tests twisted | tar -xf - -C build/mutation
	@cd build/mutation && ulimit -v 4194304 && \
	    CI=1 timeout 10800 $(CURDIR)/$(BIN)/mutmut run --max-children 1 $(ARGS) && \
	    $(CURDIR)/$(BIN)/mutmut results | sed '/not checked/d'

interop: $(VENV)/kubernetes.stamp build/pytest/stamp ## run the clients of tests/support/packages.txt against the daemon
	@$(call TRIAL,tests/interop/with_*.py)

# Of pytest, the releases beside that of the lock which its plugin is tried with.
build/pytest/stamp: Makefile | $(VENV)/dev.stamp
	@rm -rf build/pytest && for release in 7.4.4 8.4.2; do \
	    $(PIP) install --no-deps --target build/pytest/$$release pytest==$$release || exit; done
	@touch $@

# Pinned here, for a lock of npm names where each package came from.
LINTERS := eslint@9.39.5 @html-eslint/eslint-plugin@0.47.0 stylelint@16.10.0 \
    stylelint-config-standard@36.0.1

lint-page: build/npm/stamp ## the linters of the status page's files, which npm fetches
	@build/npm/node_modules/.bin/eslint --max-warnings 0 --no-config-lookup \
	    --config tools/lint/eslint.config.mjs socketd/web/files/*.js socketd/web/files/*.html
	@build/npm/node_modules/.bin/stylelint --config tools/lint/stylelint.config.mjs \
	    --config-basedir build/npm socketd/web/files/*.css

build/npm/stamp: Makefile
	@rm -rf build/npm && mkdir -p build/npm
	@timeout 120 npm install --prefix build/npm --no-save --no-audit --no-fund --silent $(LINTERS)
	@touch $@

recording: $(VENV)/dev.stamp build/termtosvg/stamp ## docs/pictures/console.svg: an operator at work
	@RECORDING=$(CURDIR)/docs/pictures/console.svg $(BIN)/python -m twisted.trial \
	    --temp-directory=build/recording tests.interop.recording

build/termtosvg/stamp: Makefile | $(VENV)/dev.stamp
	@rm -rf build/termtosvg && $(PYTHON) -m venv build/termtosvg
	@build/termtosvg/bin/python -m pip --disable-pip-version-check --quiet install termtosvg-ng==1.4.1
	@touch $@

pictures: recording ## docs/pictures/ of the status page after a quarter of an hour, and the recording; SECONDS=
	@PICTURES=$(CURDIR)/docs/pictures $(BIN)/python -m twisted.trial \
	    --temp-directory=build/pictures tests.interop.pictures

fuzz: $(VENV)/dev.stamp ## any input, any order of events, for two minutes; ARGS=--seconds=600
	@$(BIN)/python -m tests.fuzz $(ARGS)

faults: $(VENV)/dev.stamp ## what goes wrong around a daemon: all of docs/RELIABILITY.md; ARGS=WORDS
	@$(BIN)/python -m tests.chaos $(ARGS)

soak: $(VENV)/dev.stamp ## ten minutes of load with faults on; ARGS="--seconds=3600 --workers=2 --seed=N"
	@$(BIN)/python -m tests.soak $(ARGS)

check: $(VENV)/dev.stamp ## style, names, types, the API documentation and the environment
	@mkdir -p build; failed=0; \
	for tool in flake8 mypy "pydoctor --quiet" "pip check"; do \
	    echo "$$tool"; $(BIN)/$$tool || failed=1; \
	done; \
	echo units; bash packaging/check-units $(BIN) || failed=1; \
	bash -n .ci/run && exit $$failed

docs: $(VENV)/dev.stamp ## write docs/options.md, manual pages, completions and build/docs/ (the API)
	@$(BIN)/python -m tools.manual docs
	@$(BIN)/pydoctor --quiet

# Sphinx wants another docutils than the tools, so it has an environment of its own.
site: $(VENV)/dev.stamp build/site-venv/stamp ## build/site/html/: all pages, options, manual pages and the API, with search
	@command -v mandoc >/dev/null || { echo "make: mandoc is missing: apt-get install mandoc" >&2; exit 1; }
	@$(BIN)/pydoctor --quiet
	@build/site-venv/bin/python -m tools.site build/docs
	@echo "build/site/html/index.html"

build/site-venv/stamp: requirements/site.txt | $(VENV)/dev.stamp
	@rm -rf build/site-venv && $(PYTHON) -m venv build/site-venv
	@build/site-venv/bin/python -m pip --disable-pip-version-check --quiet install \
	    --require-hashes --requirement $<
	@touch $@

# A build is as old as its commit, so the same commit gives the same bytes. Without git (a source
# archive) it is as old as a zip file can be.
dist deb: export SOURCE_DATE_EPOCH ?= $(or $(shell git log -1 --format=%ct 2>/dev/null),315619200)
dist: $(VENV)/dev.stamp ## build wheel, SBOM and source archive into dist/, always the same bytes
	@rm -rf build/dist dist
	@mkdir -p build/dist dist
	@$(BUILD) --sdist --outdir build/dist . >build/dist.log 2>&1 || { cat build/dist.log; exit 1; }
	@tar -xzf build/dist/socketd-*.tar.gz -C build/dist && rm build/dist/socketd-*.tar.gz
	@chmod -R u=rwX,go=rX build/dist/socketd-*
	@for tree in build/dist/socketd-*; do \
	    $(BIN)/python packaging/archive.py $$tree | gzip -9 --no-name \
	        >dist/$$(basename $$tree).tar.gz || exit; done
	@umask 022; { $(BUILD) --wheel --outdir build/dist build/dist/socketd-* && \
	    bash packaging/add-sbom $(BIN)/python build/dist/socketd-*.whl dist; } \
	    >build/dist.log 2>&1 || { cat build/dist.log; exit 1; }
	@cd dist && sha256sum *

deb: dist ## build the Debian package into dist/, for this machine's Python and architecture
	@bash packaging/build-deb $(BIN)/python

# Only the format of Docker has a health check, which podman leaves out of its own.
image: dist ## build a container image with podman or docker; BASE= IMAGE= ENGINE=
	@test -n "$(ENGINE)" || { echo "make: neither podman nor docker is there" >&2; exit 1; }
	@$(ENGINE) build $(if $(findstring podman,$(ENGINE)),--format=docker) --file=Containerfile \
	    --build-arg=BASE=$(BASE) --build-arg=VERSION=$(VERSION) \
	    --tag=$(IMAGE) --tag=$(IMAGE):$(VERSION) .

test-image: dist build/image/wheels ## as root: build the image on a Debian of its own, and try it
	@timeout 1800 $(BIN)/python -m twisted.trial --temp-directory=build/image/trial \
	    tests.machine.with_image | $(BIN)/python tests/support/summary.py

# What pip finds there in place of an index.
build/image/wheels: requirements/run.txt | $(VENV)/dev.stamp
	@rm -rf $@ $@.new && mkdir -p $@.new
	@$(PIP) download --no-deps --only-binary :all: --python-version $(PYTHON-12) --dest $@.new \
	    --require-hashes --requirement requirements/run.txt
	@mv $@.new $@ && touch $@

# Machines of our own, without a network: their disks and all that is fetched for them stay in
# build/machine/. By release of Debian: its name, its Python, and the disk that has only what README
# asks for; of the last packages only the archives are there, for README's "apt install".
SUITE-12 := bookworm
SUITE-13 := trixie
PYTHON-12 := 3.11
PYTHON-13 := 3.13
BARE := python3,python3-venv,make,git
LATER := systemd pipx lintian curl

# Bounded: nothing in there waits longer than a minute, all of it takes about three. Here the package
# for Debian 12 is built; that for 13 is the one that test-bare has built there.
RELEASE ?= 12
system-test: $(if $(filter-out 12,$(RELEASE)),$(VENV)/dev.stamp,deb) build/machine/old-$(RELEASE)/stamp ## as root: try the package on a Debian with systemd; RELEASE=13
	@bash tests/machine/make-tree build/machine/systemd-$(RELEASE) $(SUITE-$(RELEASE)) \
	    systemd,systemd-sysv,dbus,python3,chrony,iproute2
	@RELEASE=$(RELEASE) timeout 1200 $(BIN)/python -m twisted.trial --temp-directory=build/machine/trial \
	    tests/machine/with_systemd.py

# The first commit with a package, for the upgrade; where git does not have it, or that Python is
# missing, the tests of the upgrade are skipped.
OLD := c4d17c988525fdefe1057a139f593b26420677ad
build/machine/old-%/stamp:
	@rm -rf $(@D) && mkdir -p $(@D)
	@{ git archive $(OLD) | tar -xf - -C $(@D) && \
	    SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct $(OLD)) $(MAKE) --no-print-directory \
	        -C $(@D) VENV=.venv PYTHON=python$(PYTHON-$*) deb; } >$(@D).log 2>&1 || \
	    echo "make: 0.1 cannot be built here: see $(@D).log"
	@touch $@

test-bare: $(VENV)/dev.stamp $(RELEASES:%=build/machine/wheels-%) ## as root: what README, guide and how-tos say, on bare Debians; RELEASES=12 for one
	@$(foreach release,$(RELEASES),bash tests/machine/make-tree \
	    build/machine/bare-$(release) $(SUITE-$(release)) $(BARE) $(LATER) &&) true
	@rm -rf build/machine/socketd.git
	@git clone --quiet --bare "file://$(CURDIR)" build/machine/socketd.git
	@timeout 5400 $(BIN)/python -m twisted.trial --temp-directory=build/machine/bare-trial \
	    $(RELEASES:%=tests.machine.with_bare.Debian%Tests)

# What pip and uv find there in place of an index.
build/machine/wheels-%: requirements/run.txt requirements/dev.txt | $(VENV)/dev.stamp
	@rm -rf $@ $@.new && mkdir -p $@.new
	@$(PIP) download --no-deps --only-binary :all: --python-version $(PYTHON-$*) --dest $@.new \
	    --require-hashes $(^:%=--requirement %)
	@$(PIP) download --no-deps --only-binary :all: --dest $@.new uv
	@mv $@.new $@ && touch $@

lock: $(VENV)/dev.stamp ## write the locks from requirements/*.in; ARGS=--upgrade for new versions
	@$(BIN)/python -c "import sys; sys.exit(sys.version_info[:2] != (3, 11) and \
	    'make: lock with Python 3.11: later ones need less, and the locks serve them all')"
	@for name in run dev mutation kubernetes site; do \
	    CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile --quiet --generate-hashes \
	        --allow-unsafe --strip-extras --no-emit-index-url --no-emit-trusted-host \
	        --no-emit-find-links $(ARGS) --output-file=requirements/$$name.txt \
	        requirements/$$name.in || exit; done

bench: $(VENV)/dev.stamp ## measure every peer in one run and write bench/RESULTS.md
	@$(BIN)/python -m bench $(ARGS)

bench-quick: $(VENV)/dev.stamp ## the same in under a minute, into bench/build/
	@$(BIN)/python -m bench --quick $(ARGS)

clean: ## remove what was built; .venv/ stays
	rm -rf build dist bench/build *.egg-info .mypy_cache _trial_temp* twisted/plugins/dropin.cache
	find . -name '.venv*' -prune -o -name __pycache__ -prune -exec rm -rf {} +

distclean: clean ## remove .venv/ too, and those of test-all
	rm -rf $(VENV) .venv-*

# Two steps: what a running daemon needs, and what work on it needs on top. Each is taken again
# when its lock or the metadata changes.  An editable install leaves data files out.
$(VENV)/run.stamp: requirements/run.txt setup.cfg pyproject.toml
	$(if $(CANNOT),$(error $(CANNOT)))
	@echo "making $(VENV) from $<"
	@$(PYTHON) -m venv $(VENV)
	@$(INSTALL) $<
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@mkdir -p $(VENV)/etc/socketd && ln -sfn ../../../etc/socketd.ini $(VENV)/etc/socketd/
	@touch $@

$(VENV)/dev.stamp: requirements/dev.txt $(VENV)/run.stamp
	@echo "adding $< to $(VENV)"
	@$(INSTALL) $<
	@touch $@

$(VENV)/kubernetes.stamp: requirements/kubernetes.txt $(VENV)/dev.stamp
	@echo "adding $< to $(VENV)"
	@$(INSTALL) $<
	@touch $@

$(VENV)/mutation.stamp: requirements/mutation.txt $(VENV)/dev.stamp
	@echo "adding $< to $(VENV)"
	@$(INSTALL) $<
	@touch $@

# Why no environment can be made here, in one line; empty when one can.
CANNOT = $(shell \
    if ! $(PYTHON) -c '' 2>/dev/null; then \
        echo "$(PYTHON) is missing: apt-get install $(notdir $(PYTHON))-venv"; \
    elif ! $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then \
        echo "$$($(PYTHON) --version) is too old: make PYTHON=python3.11 (or newer)"; \
    elif ! $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then \
        echo "python3-venv is missing: apt-get install python3-venv"; \
    fi)
