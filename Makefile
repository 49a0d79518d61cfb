# Every target sets itself up first. Any Python 3.11 or newer does; name another by PYTHON=...
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && break; \
	done || echo python3)
BOOTSTRAP := $(PYTHON) -m app.bootstrap
BIN := .venv/bin
TESTS ?=

.DEFAULT_GOAL := help
.PHONY: help run setup test check bench lock clean

help: ## What there is
	@sed -n 's/^\([a-z]*\): .*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

run: ## Set up and start the app on loopback
	@$(BOOTSTRAP) run

setup: ## The set-up alone: environment, packages, starter model
	@$(BOOTSTRAP) setup

test: ## Set up, Chromium included, and run the whole suite; TESTS='tests/jobs -x' narrows it
	@$(BOOTSTRAP) test $(TESTS)

check: ## Format, lint, types, import contracts, tests
	@$(BOOTSTRAP) setup --dev
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BOOTSTRAP) test $(TESTS)

bench: ## The benchmarks, with their ratios printed
	@$(BOOTSTRAP) test tests/bench -s -m bench -o timeout=0 $(TESTS)

lock: ## Write the lock files from this environment, once the tests have passed in it
	@$(BIN)/python -m app.lock

clean: ## Remove the environment and the caches; the workspace stays
	@$(BOOTSTRAP) clean
