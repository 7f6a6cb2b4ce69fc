# What a contributor, a reader or a machine runs. `make` lists it. Options: ARGS='...', PYTHON=python3.11,
# TORCH_INDEX_URL=<index of torch wheels, e.g. one with CPU builds alone>.

PYTHON ?= python3.11
ARGS ?=
PIP := 26.3

# An environment is ready when its stamp exists. The stamp's name holds a digest of all that defines the
# environment, so that a second call costs nothing and a changed pin installs itself.
stamp = $(1)/ready-$(shell cat Makefile pyproject.toml requirements/$(2).txt | cksum | cut -d' ' -f1)
CORE := $(call stamp,.venv,core)
RADIO := $(call stamp,.venv/radio,core)
FEDERATED := $(call stamp,.venv-federated,federated)
PEERS := $(call stamp,.venv-peers,peers)

# $(call environment,folder,constraints,what to install)
define environment
	@echo "setting up $(1): the first time takes some minutes"
	@command -v $(PYTHON) > /dev/null || { echo "there is no '$(PYTHON)': install Python 3.11, or name yours: make PYTHON=python3"; exit 1; }
	@test -x $(1)/bin/python || $(PYTHON) -m venv $(1)
	@$(1)/bin/python -m pip install --quiet --disable-pip-version-check pip==$(PIP)
	@$(if $(and $(TORCH_INDEX_URL),$(filter-out peers,$(2))),$(1)/bin/python -m pip install --quiet --no-deps --index-url "$(TORCH_INDEX_URL)" $$(grep '^torch==' requirements/$(2).txt))
	@$(1)/bin/python -m pip install --quiet -c requirements/$(2).txt --build-constraint requirements/$(2).txt $(3)
	@mkdir -p $(@D) && rm -f $(@D)/ready-* && touch $@
endef

.PHONY: help up test lint docs bench wheel radio federated peers pins clean

help: ## this list
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r target meaning; do printf '  make %-10s %s\n' "$$target" "$$meaning"; done

up: $(CORE) ## set up .venv, then start the network here (Ctrl-C ends it); ARGS go to `netgpt up`
	@exec .venv/bin/netgpt up $(ARGS)

test: lint ## the same set-up, then the whole test-suite; ARGS go to pytest
	.venv/bin/python -m pytest $(ARGS)

lint: $(CORE) ## style, import layers, types
	.venv/bin/python -m ruff check .
	.venv/bin/python -m ruff format --check .
	.venv/bin/lint-imports
	.venv/bin/python -m pyright

docs: $(CORE) ## write docs/reference anew from the sources
	.venv/bin/python docs/generate.py

bench: $(CORE) ## measure the engine; ARGS go to `netgpt bench engine`
	.venv/bin/netgpt bench engine $(ARGS)

wheel: $(CORE) ## build dist/netgpt-*.whl (no weights) and dist/models, what `netgpt models fetch` brings; NETGPT_MODELS_URL: where that will be
	rm -f dist/netgpt-*.whl
	.venv/bin/python -m hatchling build -t wheel -d dist
	.venv/bin/netgpt models pack weights/* --output dist/models

radio: $(RADIO) ## add the radio physical layer (Sionna) to .venv

federated: $(FEDERATED) ## set up .venv-federated: Flower, whose pins clash with core's
peers: $(PEERS) ## set up .venv-peers: the systems that benchmarks compare with, and llama.cpp for tests

pins: $(CORE) ## resolve requirements/*.txt anew
	.venv/bin/python requirements/pin.py

clean: ## remove environments, caches and build folders; runs/ and weights/ stay
	rm -rf .venv .venv-federated .venv-peers build dist .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(CORE):
	$(call environment,.venv,core,-e . --group dev)

$(RADIO): $(CORE)
	$(call environment,.venv,core,-e '.[radio]')

$(FEDERATED):
	$(call environment,.venv-federated,federated,-e '.[federated]' --group test)

$(PEERS):
	$(call environment,.venv-peers,peers,--group peers)
