# `make` alone lists the targets. Everything is installed into .venv; nothing outside the repository is touched but caches.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check
EVERYTHING := --constraint constraints.txt --editable '.[dev,minilm]'
# Some images switch compiled modules off. With them PyTorch is there in 8 seconds of computing instead of 20, in every process.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help setup demo test check format bench faults kafka kafka-stop registry registry-stop schemas clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## install everything into .venv, at the tested versions

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("occustream needs Python 3.11 or later; name one with make PYTHON=...") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(PIP) --constraint constraints.txt uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python $(EVERYTHING) || \
		{ echo "going on with pip, which is slower but knows the package index of pip.conf"; $(PIP) $(EVERYTHING); }
	@touch $(STAMP)

demo: setup ## train, stream postings through the real consumer, reload a second version; KAFKA_BOOTSTRAP_SERVERS=... for your cluster
	$(BIN)/python -m deploy.demo

# Each worker process takes whole files; a real Kafka and a trained model are made once for all workers.
TEST_WORKERS ?= 3
test: setup ## run all tests, some at a time; what is missing on this machine is skipped and listed at the end
	$(BIN)/python -m pytest --numprocesses $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder

check: setup ## lint and type-check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup ## measure throughput on the memory broker, and on Kafka where one can be had
	$(BIN)/python -m benchmarks.throughput

faults: setup ## break brokers, consumers and networks on a real Kafka, and count what comes out (Java 17, Maven; an hour or two)
	$(BIN)/python -m faults --output benchmarks/results/faults.jsonl

kafka: setup ## start a real single-node Kafka in the background (Java 17, Maven); prints its address
	$(BIN)/python -m deploy.kafka.local_kafka start

kafka-stop: ## stop it
	$(BIN)/python -m deploy.kafka.local_kafka stop

registry: setup ## start a real schema registry in the background (Java 17, Maven); prints its address
	$(BIN)/python -m deploy.schema_registry.local_registry start

registry-stop: ## stop it
	$(BIN)/python -m deploy.schema_registry.local_registry stop

schemas: setup ## write the schemas, examples and the page of profiles anew
	$(BIN)/python -m schemas.export
	$(BIN)/python -m deploy.profiles_page

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info demo-registry
