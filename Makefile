# Every target sets up what it needs; the two a newcomer types are `make demo` and `make test`.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
TOOLS  := $(VENV)/.tools
PYTEST := $(BIN)/python -m pytest -q

# servers that tests start: where each is once it was fetched; SEARCH is also opensearch-3 or elasticsearch-8
SEARCH ?= opensearch
OPENSEARCH := build/$(SEARCH)/.ready
SEARCHES := $(foreach name,opensearch opensearch-3 elasticsearch-8,build/$(name)/.ready)
POUCHDB := build/node/.ready

# what the demo needs for each store
COMMA := ,
NEEDED_BY_couchdb := $(POUCHDB)
NEEDED_BY_mariadb := $(TOOLS)
NEEDED_BY_opensearch := build/opensearch/.ready

# Debian packages that some tests call; without one of them those tests skip and say so
TEST_PACKAGES := git strace faketime mariadb-server-core mariadb-client-core

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYTHONUTF8 := 1
# on a disk, where a sync means something; /tmp may be in memory
TMPDIR ?= /var/tmp
export TMPDIR
export AVE_TEST_SEARCH := $(SEARCH)
MAKEFLAGS += --no-print-directory

.PHONY: help demo test lint bench chaos soak mutants doc clean
.DEFAULT_GOAL := help

help:  ## this list
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/  make \1	\2/p' Makefile | expand -t 18

# STORES=couchdb,mariadb,opensearch, or some of these: on real servers that the demo starts itself
demo: $(READY) $(foreach store,$(subst $(COMMA), ,$(STORES)),$(NEEDED_BY_$(store)))  ## run a real job and print its whole story
	@$(BIN)/python etc/demo/demo.py --stores "$(STORES)"

# the same faults every time; chaos and soak draw new ones
test: export AVE_TEST_SEED ?= 1
test: $(READY) $(TOOLS) $(POUCHDB) $(OPENSEARCH)  ## run all tests: the fast ones first, then the slow ones
	@mkdir -p build
	@echo "fast tests"
	@$(PYTEST) -m "not slow" --durations=5 --junit-xml=build/fast.xml
	@echo "slow tests"
	@$(PYTEST) -m slow --durations=10 --junit-xml=build/slow.xml
	@$(BIN)/python tests/tally.py build/fast.xml build/slow.xml

lint: $(READY) doc  ## style, types, layers, documentation
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache --no-logo
	@$(PYTEST) tests/system/test_docs.py

bench: $(READY) $(OPENSEARCH)  ## measure against the floor and the peers
	@status=0; for script in tests/bench/bench_*.py; do $(BIN)/python $$script || status=1; done; exit $$status

chaos: $(READY) $(TOOLS) $(POUCHDB) $(OPENSEARCH)  ## the fault tests at full size
	@AVE_TEST_SCALE=10 $(PYTEST) tests/chaos

soak: $(READY) $(TOOLS) $(POUCHDB) $(OPENSEARCH)  ## the fault tests at ten times full size
	@AVE_TEST_SCALE=100 $(PYTEST) tests/chaos

# ROWS="R6 R12" for the promises of these names, PART=2/5 for the second fifth
mutants: $(READY) $(TOOLS) $(POUCHDB) $(OPENSEARCH)  ## plant known defects; a test must catch each
	@$(BIN)/python tests/mutants/run.py $(if $(PART),--part $(PART)) $(ROWS)

doc: $(READY)  ## build the documentation into doc/_build/html
	@$(BIN)/sphinx-build -nWq --keep-going doc doc/_build/html

clean:  ## remove everything that make has made
	@rm -rf $(VENV) build dist doc/_build demo-home *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

# Set-up

$(READY): setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.x")'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || etc/apt-install python3-venv
	@echo "setting up $(VENV) (takes a minute the first time)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install -q -e '.[lab,dev]'
	@touch $@

$(TOOLS): Makefile | $(READY)
	@etc/apt-install $(TEST_PACKAGES) && touch $@ || echo "the tests that need them will skip"

build/opensearch-3/.ready: build/opensearch/.ready

LAUNCHERS := $(addprefix tests/system/opensearch/,build *.* */*.*)
$(SEARCHES): build/%/.ready: $(wildcard $(LAUNCHERS)) | $(READY)
	@command -v javac >/dev/null && command -v mvn >/dev/null || etc/apt-install default-jdk-headless maven || true
	@echo "fetching $* (takes a minute)"
	@PIP=$(BIN)/pip tests/system/opensearch/build $* || echo "the tests that need it will skip"

$(POUCHDB):
	@command -v npm >/dev/null || etc/apt-install nodejs npm || true
	@echo "fetching pouchdb-server (takes two minutes)"
	@mkdir -p build/node
	@npm install --prefix build/node --no-audit --no-fund --loglevel=error pouchdb-server@4.2.0 >/dev/null && touch $@ \
	  || echo "the tests that need it will skip"
