# Every target sets up what it needs first. `make` alone lists them.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
export PYTHON

# Under openai 3 run the tests that can meet the client: all but those of parts that may not import it.
WITHOUT_OPENAI := unit/core unit/fences unit/executors unit/bridge unit/skills unit/store unit/structure \
	unit/mcp unit/tools contract conformance integration/bridge integration/executors integration/mcp/test_[!a]*
PYTEST := -m pytest -n 2 --dist loadgroup

# The stamps lie inside of what they stand for, so that deleting that is enough to have it made again.
OPENAI2 := .venv/.ready
OPENAI3 := .venv-openai3/.ready
NODE := tools/node_modules/.ready
INPUTS := pyproject.toml scripts/venv scripts/uv scripts/python requirements-uv.lock

.PHONY: help setup demo test check lint format lock clean system uv

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1#\2/p' Makefile | awk -F'#' '{ printf "%-12s %s\n", $$1, $$2 }'

setup: $(OPENAI2) $(OPENAI3) $(NODE) ## install everything (the other targets do it by themselves)

demo: $(OPENAI2) $(NODE) ## run the main job on the scripted model, or on the real API when OPENAI_API_KEY is set
	@.venv/bin/agentd demo

# Of what ARGS asks for, none may be left for openai 3: pytest ends with 5 then.
test: setup ## run the tests, under both majors of the openai client; ARGS="tests/unit/core -k id" narrows them
	scripts/bounded .venv/bin/python $(PYTEST) $(ARGS)
	scripts/bounded .venv-openai3/bin/python $(PYTEST) $(WITHOUT_OPENAI:%='--ignore-glob=tests/%') $(ARGS) \
		|| { test $$? -eq 5 && test -n "$(ARGS)"; }

check: lint test ## lint, types, import contracts, tests

lint: $(OPENAI2) ## the static part of check
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/pyright
	.venv/bin/lint-imports --no-cache

format: $(OPENAI2) ## format the code and sort the imports
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

lock: ## make the lock files again; ARGS="--upgrade" takes newer versions
	scripts/lock $(ARGS)

clean: ## remove what set-up and runs have made
	rm -rf .venv .venv-openai3 .tools tools/node_modules .pytest_cache .ruff_cache .hypothesis

# Order-only: they have to be there, but are no reason to install anything again.
system:
	@scripts/system-packages

uv:
	@scripts/uv --version >/dev/null

$(OPENAI2): requirements.lock $(INPUTS) | system uv
	scripts/venv .venv requirements.lock
	@touch $@

$(OPENAI3): requirements-openai3.lock $(INPUTS) | system uv
	scripts/venv .venv-openai3 requirements-openai3.lock
	@touch $@

$(NODE): tools/package.json tools/package-lock.json tools/.npmrc | system
	cd tools && npm ci --no-audit --no-fund --loglevel=error
	@touch $@
