# Everything a developer does, one target each. `make help` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

UV_COMPILE = $(BIN)/uv pip compile --system-certs --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links \
  --custom-compile-command "make lock"
ROLES := api processor archiver relay grpc files migrate
define resolve
	$(UV_COMPILE) $(2) -o $(1)/requirements.txt pyproject.toml
	$(UV_COMPILE) $(2) -c $(1)/requirements.txt --group build -o $(1)/requirements-build.txt
	$(UV_COMPILE) $(2) -c $(1)/requirements.txt -c $(1)/requirements-build.txt --group dev \
	  -o $(1)/requirements-dev.txt pyproject.toml
	@mkdir -p $(1)/docker/requirements
	@echo $(ROLES) | tr ' ' '\n' | xargs -P 4 -I '{}' \
	  $(UV_COMPILE) -c $(1)/requirements.txt --group role-{} -o $(1)/docker/requirements/{}.txt
	@sed -i 's|$(1)/requirements|requirements|' $(1)/requirements-*.txt $(1)/docker/requirements/*.txt
endef

.PHONY: help up install test coverage test-slow compose-test check installed-check lock lock-check format bench docs migration proto proto-check proto-release api-check spectral fuzz capacity chaos audit sbom images

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

up: $(VENV)/.installed ## Start everything (make up ARGS="--port 9000 --data DIR")
	@exec $(BIN)/atelier up $(ARGS)

install: $(VENV)/.installed ## Make the virtual environment from the lock

test: $(VENV)/.dev $(VENV)/.pips ## Run the tests (ARGS="tests/queue -x" for some)
	$(BIN)/python -m pytest $(or $(ARGS),-n 3)

compose-test: $(VENV)/.dev ## Build the containers, bring compose.yaml up, use it, kill its parts, bring it down (needs Docker)
	$(BIN)/python -m pytest -m compose tests/compose -x $(ARGS)

coverage: $(VENV)/.dev $(VENV)/.pips ## Lines and branches that the tests run, subprocesses counted, by slice (ARGS="tests/files" for some)
	@rm -f .coverage .coverage.*
	$(BIN)/python -m pytest --cov --cov-report= $(or $(ARGS),-n 2 --cov-fail-under=70); status=$$?; \
	  $(BIN)/python -m scripts.coverage && exit $$status

test-slow: $(VENV)/.dev ## Run the tests that take minutes
	$(BIN)/python -m pytest -m slow $(ARGS)

# All of PEP 8 but what the formatter decides otherwise and, as ruff checks it, the place of imports;
# of all that is not generated.
PYCODESTYLE = $(BIN)/pycodestyle --max-line-length=99 --ignore=E203,E402,E704,W503 \
  --exclude='*_pb2*.py,node_modules'

check: $(VENV)/.dev ## Lint, types, layers, lock, migrations, .proto, OpenAPI
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(PYCODESTYLE) src tests benchmarks scripts docker
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .
	$(BIN)/hadolint docker/*.Dockerfile
	@$(MAKE) --no-print-directory installed-check
	@$(MAKE) --no-print-directory lock-check
	$(BIN)/python -m scripts.migration
	@$(MAKE) --no-print-directory proto-check
	@$(MAKE) --no-print-directory api-check

format: $(VENV)/.dev ## Format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

BUF := npx --yes @bufbuild/buf@1.75.0

proto: $(VENV)/.dev ## Write the Python of the .proto files
	$(BIN)/python -m scripts.proto

proto-check: $(VENV)/.dev ## Is the Python of the .proto files fresh, are they well made, do they break no client
	$(BIN)/python -m scripts.proto --check
	@if command -v npx >/dev/null; then cd proto && $(BUF) lint && $(BUF) breaking --against released.binpb; \
	elif [ -n "$$CI" ]; then echo "buf needs npx" >&2; exit 1; else echo "no npx: buf was not asked"; fi

proto-release: ## Remember the .proto files as what clients of this release rely on
	cd proto && $(BUF) build --exclude-source-info -o released.binpb

BENCHMARKS := imaging http_requests pipeline work_queue event_bus relay event_streams books tasks files
bench: $(VENV)/.dev ## Run the benchmarks, Markdown tables out (BENCHMARKS="pipeline relay" for some)
	@for each in $(BENCHMARKS); do echo "## $$each"; $(BIN)/python -m benchmarks.$$each || exit; done

capacity: $(VENV)/.dev ## Measure what this machine carries into docs/discussions (FOR=6m a run; ARGS="instance --help" for another instance)
	$(BIN)/python -m benchmarks.capacity $(or $(ARGS),machine --for $(or $(FOR),6m))

chaos: $(VENV)/.dev ## Kill every part of a loaded instance and look for what is lost (FOR=2h; SEED=123 repeats; ARGS="--help")
	$(BIN)/python -m tests.chaos --for $(or $(FOR),10m) $(if $(SEED),--seed $(SEED)) $(ARGS)

SPECTRAL := tests/api/node_modules

api-check: $(VENV)/.dev ## Lint the OpenAPI document: spectral with OWASP's rules (needs node)
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory spectral; \
	elif [ -n "$$CI" ]; then echo "spectral needs npm" >&2; exit 1; else echo "no npm: spectral was not asked"; fi

spectral: $(SPECTRAL)/.installed
	@mkdir -p .stamps && $(BIN)/python -m scripts.openapi > .stamps/openapi.json
	$(SPECTRAL)/.bin/spectral lint .stamps/openapi.json --fail-severity hint

$(SPECTRAL)/.installed: tests/api/package.json
	npm install --prefix tests/api --no-package-lock --ignore-scripts --no-audit --no-fund --silent
	@touch $@

fuzz: $(VENV)/.dev ## Try the API with made-up requests for minutes (FUZZ=2000 for longer)
	ATELIER_TEST_FUZZ=$(or $(FUZZ),200) $(BIN)/python -m pytest tests/api/test_schema.py $(ARGS)

docs: $(VENV)/.dev ## Write the reference pages that are made from the program
	$(BIN)/python -m scripts.reference

migration: $(VENV)/.dev ## Write the migration that the models ask for (MESSAGE="add books")
	$(BIN)/python -m scripts.migration "$(MESSAGE)"

lock: $(VENV)/.dev ## Resolve the dependencies anew into requirements*.txt (ARGS=--upgrade for newer ones)
	$(call resolve,.,$(ARGS))

# With no index to ask, uv can but confirm that each requirement is met, extras (which `pip check` passes over) too.
installed-check: $(VENV)/.dev
	$(BIN)/uv pip install --quiet --dry-run --offline --no-index --no-cache --python $(BIN)/python -r pyproject.toml \
	  --group build --group dev

lock-check: $(VENV)/.dev
	@rm -rf .stamps && mkdir -p .stamps/docker && cp requirements*.txt .stamps
	@cp -r docker/requirements .stamps/docker
	$(call resolve,.stamps,)
	@for each in requirements*.txt docker/requirements; do diff -qr $$each .stamps/$$each \
	  || { echo "requirements*.txt do not match pyproject.toml: run make lock" >&2; exit 1; }; done

audit: $(VENV)/.dev ## Look the locked dependencies up among known vulnerabilities, OSV (exit code 3: it was not reached)
	@$(BIN)/python -m scripts.audit $(ARGS)

sbom: $(VENV)/.dev ## Write the bill of materials of the locked dependencies, CycloneDX, to sbom.cdx.json
	@$(BIN)/python -m scripts.sbom > sbom.cdx.json.new && mv sbom.cdx.json.new sbom.cdx.json

images: $(VENV)/.dev ## Pin the newest releases of the images that containers start from (ARGS=--check: only look)
	@$(BIN)/python -m scripts.images $(ARGS)

# The stamp: a virtual environment that was left half-made, or made with a Python that is too old, is made anew.
$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { found=$$($(PYTHON) --version 2>/dev/null) \
	  || found="not there"; echo "Atelier needs Python 3.11 or newer; $(PYTHON) is $$found. Name another: make up PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

# A lock is complete: --no-deps has every pip take just the files that it lists. Left to look for dependencies, a pip
# before 23.3 asks the index again for a package with an extra, and stops at a release newer than the locked one.
# What comes as source, and Atelier itself, is built by the locked tools, not by whatever is newest on the day.
PIP = $(BIN)/pip --quiet --disable-pip-version-check
LOCKED = $(PIP) install --no-deps --no-build-isolation

$(VENV)/.installed: requirements-build.txt requirements.txt pyproject.toml $(VENV)/.made
	@echo "Installing what Atelier needs into $(VENV): a minute or a few."
	@$(LOCKED) --require-hashes -r requirements-build.txt
	@$(LOCKED) --require-hashes -r requirements.txt
	@$(LOCKED) --editable .
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.installed
	@echo "Installing the tools that the tests and checks need."
	@$(LOCKED) --require-hashes -r requirements-dev.txt
	@touch $@

# One at a time, for a list cannot name a package twice. Without the network the tests that want them are skipped.
PIPS := $(wildcard tests/install/pips/*.txt)
$(VENV)/.pips: $(PIPS) $(VENV)/.made
	@(for each in $(PIPS); do \
	  $(PIP) download --no-deps --require-hashes -d $(VENV)/pips -r $$each || exit; \
	done) && touch $@ || echo "Could not fetch the pips that tests/install tries." >&2
