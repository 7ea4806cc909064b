# Type 'make' for the way in. Every target first makes .venv, at once when that is done.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help install demo test chaos chaos-long templates contracts bench bench-peers check up down status logs card lock clean test-docker
MAKEFLAGS += --no-print-directory

PYTHON := .venv/bin/python
ARGS ?=
STACK ?= local
HOURS ?= 8
# What knows the broker best, and a card's whole life; beside an engine they run on its RabbitMQ 4.
ON_CONTAINERS := tests/journeys tests/scheduler $(addprefix tests/shared/test_,broker_users.py edge.py publisher.py topology.py worker.py)

help: ## Print this
	@echo "giftcard-jobs: the background jobs of a gift-card business. New here? Type 'make demo'."
	@if [ -t 1 ]; then on=$$(printf '\033[36m'); off=$$(printf '\033[0m'); fi; \
	sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; do \
	printf '  %smake %-11s%s %s\n' "$$on" "$$name" "$$off" "$$text"; done

install: ## Make .venv from requirements.txt; the other targets do it, too
	@sh deploy/local/bootstrap.sh

demo: install ## See about 300 gift cards live their lives on real parts, in a minute; STACK=compose in containers
	@$(PYTHON) -m deploy.local.demo --stack $(STACK) $(ARGS)

test: install ## Run all tests on real servers; ARGS="-k expiry -x" goes to pytest
	@$(PYTHON) -m pytest -n 3 --dist loadgroup $(ARGS)

test-docker: install ## Build every image, run docker-compose.yml, restart all of it under load; needs a Docker engine
	@sh deploy/local/engine.sh
	@$(PYTHON) -m pytest -x $(addprefix tests/docker/,images.py rolling.py observability.py) $(ARGS)
	@$(PYTHON) -m deploy.local.demo --stack compose --stop
	@$(PYTHON) -m pytest -n 3 --dist loadgroup $(ON_CONTAINERS) $(ARGS)

chaos: install ## Break every part while a shop works, and count what is lost; ARGS="--seed 42"
	@$(PYTHON) -m tests.chaos $(ARGS)

chaos-long: install ## The same at a twentieth of the intensity, for HOURS=8
	@$(PYTHON) -m tests.chaos --hours $(HOURS) $(ARGS)

templates: install ## Render every template in every language to HTML and PNG, and check them
	@$(PYTHON) -m services.delivery.preview

contracts: install ## Write JSON Schemas, AsyncAPI and their page into docs/contracts
	@$(PYTHON) -m shared.contracts

bench: install ## Measure it beside its peers, for hours; ARGS="--scale 0.01" for a quick look, ARGS=--help
	@$(PYTHON) -m bench $(ARGS)

bench-peers: install ## Install what it is compared with: BullMQ, Prisma, Redis, Celery, stock Dramatiq
	@sh bench/peers/install.sh

check: install ## Look for mistakes without running anything: format, lint, types, imports, manifests, alerts
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy .
	@.venv/bin/lint-imports
	@$(PYTHON) -m shared.contracts --check
	@$(PYTHON) -m pytest tests/deploy tests/monitoring/test_alerts.py

up: install ## Start servers and services, and leave them running for work
	@$(PYTHON) -m deploy.local.stack up

down: install ## Stop everything that was started here; data stay
	@$(PYTHON) -m deploy.local.stack down

status: install ## Show every process and its pages
	@$(PYTHON) -m deploy.local.stack status

logs: install ## Print the last log lines; ARGS="--follow delivery" for one service, live
	@$(PYTHON) -m deploy.local.stack logs $(ARGS)

card: install ## Issue a gift card in the stack of 'make up', and print its id
	@$(PYTHON) -m deploy.local.stack card $(ARGS)

lock: install ## Write requirements.txt anew from pyproject.toml
	@sh deploy/local/lock.sh

clean: ## Stop everything, and delete data, caches and .venv
	@if [ -x $(PYTHON) ]; then $(PYTHON) -m deploy.local.stack down --delete; fi
	@rm -rf .local .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
