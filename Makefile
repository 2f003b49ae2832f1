# Each target does the set-up that it needs, once; nothing here needs anything but Python 3.11 and make.
.PHONY: help setup run serve test coverage lint lint-api schema client audit format bench screenshots lock
.DEFAULT_GOAL := help

PY := .venv/bin/python
# Settings that have no default, for tools that load the settings and talk to no server.
OFFLINE := SECRET_KEY=offline FIELD_ENCRYPTION_KEYS=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= \
	DATABASE_URL=postgres://offline@127.0.0.1:1/offline REDIS_URL=redis://127.0.0.1:1/0
ARGS ?=

help: ## What there is
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: ## Make .venv and install everything
	@launcher/setup.sh requirements-dev.txt

run: setup ## Everything on loopback with a demo cluster (http://127.0.0.1:8000); Ctrl-C stops it
	@exec $(PY) -m launcher run --end-with-parent

serve: ## The production web server, settings from the environment alone
	@launcher/setup.sh requirements.txt
	@exec $(PY) -m launcher serve --end-with-parent

test: setup ## The whole suite against real PostgreSQL and Redis (ARGS="tests/x.py -k name" to choose)
	@launcher/browser.sh
	$(PY) -m pytest -n 2 $(ARGS)

coverage: setup ## The suite again, with the branches that it reaches (several times slower); a floor of 89 %
	@launcher/browser.sh
	$(PY) -m pytest -n 2 --cov --cov-branch --cov-report=term:skip-covered --cov-fail-under=89 $(ARGS)

lint: setup ## Style, types, import contracts, forgotten migrations, security
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) tools/style.py
	$(OFFLINE) $(PY) -m mypy
	.venv/bin/lint-imports
	$(OFFLINE) $(PY) -W ignore manage.py makemigrations --check --dry-run
	$(PY) -m bandit --quiet --recursive --severity-level high access agents alerts automation billing clusters console core dialects edge gateway insights kubegale launcher manifest_templates operations simcluster storage_api tenants workloads

	-@$(MAKE) --no-print-directory audit

schema:
	@mkdir -p test-artifacts
	@$(OFFLINE) $(PY) -W ignore manage.py spectacular --format openapi-json --file test-artifacts/openapi.json

client: setup schema ## The Python client: its table of calls, its generated half, and both archives in clients/python/dist
	$(PY) clients/python/generate.py test-artifacts/openapi.json
	$(PY) -m uv build --offline --quiet clients/python --out-dir clients/python/dist

lint-api: setup schema ## The OpenAPI document as redocly and a strict TypeScript program see it; asks npm
	npx --yes @redocly/cli@2.77.0 lint test-artifacts/openapi.json
	tests/typescript/check.sh test-artifacts/openapi.json test-artifacts/typescript

audit: setup ## Known vulnerabilities of the pinned packages; asks PyPI, so lint only shows what it says
	timeout 120 .venv/bin/pip-audit --requirement requirements.txt --no-deps --disable-pip --progress-spinner off

format: setup ## Put the code in the house style
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

bench: setup ## Measure, against simulated clusters
	$(PY) -m bench $(ARGS)

screenshots: setup ## Take the pictures of docs/images anew, of a KubeGale that runs for them (ARGS="pods alerts" to choose)
	@launcher/browser.sh
	@PYTHONPATH=clients/python/src $(PY) -m tools.screenshots $(ARGS)

lock: setup ## Compile requirements*.in to requirements*.txt
	$(PY) -m uv pip compile --quiet --no-header --no-emit-index-url --no-annotate --python-version 3.11 requirements.in -o requirements.txt
	$(PY) -m uv pip compile --quiet --no-header --no-emit-index-url --no-annotate --python-version 3.11 requirements-dev.in -o requirements-dev.txt
