# What people do here.  `make run` and `make test` need nothing but Python 3.11 and make.

VENV   ?= .venv
PYTHON ?= python3
# torch: a CPU build where one is offered; for a CUDA build: make install TORCH='torch==2.13.0 --index-url URL-OF-YOUR-CUDA-BUILD'
TORCH  ?= torch==2.13.0

BIN := $(VENV)/bin
FUNCTIONS ?= functions
# make chaos: how many runs, and how many invocations each has
SEEDS ?= 10
COUNT ?= 20000

.PHONY: help run rabbitmq test chaos servers browser install bench bench-generator bench-rabbitmq check format clean

help: ## say what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

run: install ## start Lumbre on http://127.0.0.1:8080 with the functions of this folder
	@exec $(BIN)/lumbre up --functions $(FUNCTIONS)

test: $(VENV)/tested servers browser ## run the tests
	$(BIN)/python -m pytest

rabbitmq: servers ## run a private RabbitMQ until Ctrl-C, to try the distributed mode
	@exec $(BIN)/python -m loadtest.servers rabbitmq

chaos: $(VENV)/tested servers ## break everything under load, $(SEEDS) times; writes docs/reliability.md
	$(BIN)/python -m loadtest.chaos --seeds $(SEEDS) --count $(COUNT) --page docs/reliability.md

servers: $(VENV)/tested ## install the RabbitMQ and PostgreSQL of the tests, where that is possible
	@.ci/servers $(BIN)/python

browser: ## install the Chromium of the tests, where that is possible
	@.ci/browser

bench: $(VENV)/tested servers ## measure the budgets, side by side with others; writes docs/benchmarks.md
	$(BIN)/python -m loadtest.budgets.embedded
	$(BIN)/python -m loadtest.budgets.rabbitmq

bench-generator: $(VENV)/tested # the load test beside wrk, which must be installed
	$(BIN)/python -m loadtest.budgets.generator

bench-rabbitmq: $(VENV)/tested servers # only what goes over RabbitMQ
	$(BIN)/python -m loadtest.budgets.rabbitmq

check: $(VENV)/tested ## format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/tested ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

install: $(VENV)/installed ## make .venv and install Lumbre and what its functions need

$(VENV)/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and f"lumbre needs Python 3.11 or newer, and $(PYTHON) is {v.major}.{v.minor}: say make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check $(TORCH)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[functions,loadtest,cluster]'
	@touch $@

$(VENV)/tested: $(VENV)/installed
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[functions,loadtest,cluster,push,dev]'
	@touch $@

clean: ## remove the environment and what tools have left
	rm -rf $(VENV) dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
