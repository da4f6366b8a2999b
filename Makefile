# make demo: environment, install, the main job on generated scenes.  make test: environment, install, lint, types, tests.
# make test-all: the same with the tests that are marked slow, before a release and after work on what they look at.
# make docs: the site.  make lock: the versions that the Dockerfile installs.  make release-check: what goes to PyPI.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN ?= runs/demo
# Modules are compiled when they are first imported, and kept whatever the environment says: to compile all 20,000 of the
# dependencies would take a minute, and a fraction is used.
export PYTHONDONTWRITEBYTECODE =
# Tests that load other runtimes (onnxruntime, OpenVINO, NNCF, Gradio, a notebook's kernel) run in processes of their own.
FOREIGN = tests/exporting tests/serving tests/docs/test_notebook.py
SELECTED = -m "not slow"
INSTALL = $(PYTHON) .ci/install.py $(VENV)

.PHONY: install demo test test-all lint types unit browser docs lock release-check clean

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "segdistill needs Python 3.11 or newer, found $$($(PYTHON) --version). Try: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --editable '.[dev]'
	@touch $@

demo: install
	OMP_NUM_THREADS=1 $(BIN)/segdistill distill demo out=$(RUN) $(ARGS)  # so small a student gains nothing by threads

test: install  # types are checked, by one process, beside the tests
	@$(MAKE) --no-print-directory --jobs 2 lint types unit

test-all: install
	@$(MAKE) --no-print-directory --jobs 2 SELECTED= lint types unit

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

unit: install browser
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal $(SELECTED) $(FOREIGN:%=--ignore=%)  # a process a core, each of one thread
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal $(SELECTED) $(FOREIGN)

# The tests of pages want a real browser: Debian's where there is none and we may install; else they skip, and the end
# of the tests says how many. That of the exported page wants onnxruntime-web from npm.
browser: node_modules/onnxruntime-web
	@for name in chromium chromium-browser google-chrome; do command -v $$name >/dev/null && exit 0; done; \
	if test "$$(id -u)" = 0 && command -v apt-get >/dev/null; then \
		export DEBIAN_FRONTEND=noninteractive; \
		{ apt-get install -y -qq chromium || { apt-get update -qq && apt-get install -y -qq chromium; }; } >/dev/null && exit 0; \
	fi; \
	echo "No Chromium here: the tests of the page in a browser are skipped. To run them: apt-get install chromium"

node_modules/onnxruntime-web:
	@command -v npm >/dev/null && npm install --no-save --silent onnxruntime-web || \
		echo "No onnxruntime-web here: its test is skipped. To run it: npm install onnxruntime-web"

docs: $(VENV)/installed-docs  # every page anew, so that every warning shows, and any of them fails
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx -E -a -W --keep-going -q -b html -c docs -d build/doctrees . build/site
	@echo "The site is build/site/index.html"

$(VENV)/installed-docs: $(VENV)/installed
	$(INSTALL) --editable '.[docs]'
	@touch $@

# What the Dockerfile installs, with the hashes of PyPI: all of it, and for the CPU all but torch and CUDA.
# Versions stay as they are where they can; ARGS=--upgrade takes the newest.
COMPILE = $(BIN)/uv pip compile pyproject.toml --extra huggingface --extra smp --extra pictures \
	--generate-hashes --no-config --default-index https://pypi.org/simple --python-version 3.11 \
	--python-platform x86_64-manylinux_2_28 --custom-compile-command 'make lock' --quiet
CUDA = s/^(torch|torchvision|triton|nvidia-[^=]*|cuda-[^=]*)==.*/--no-emit-package \1/p

lock: install
	$(INSTALL) uv
	$(COMPILE) $(ARGS) --output-file requirements.lock
	cp requirements.lock requirements-cpu.lock
	$(COMPILE) $$(sed -nE '$(CUDA)' requirements.lock) --output-file requirements-cpu.lock

# The sdist, the wheel made from it, their metadata, and a distillation in an environment that has nothing but the wheel,
# in a folder outside the checkout. What is in the wheel is compared with src/ by tests/test_release.py.
RELEASE := build/release

release-check: install
	$(INSTALL) build twine
	rm -rf $(RELEASE)
	$(BIN)/python -m build --outdir $(RELEASE) .
	$(BIN)/python -m twine check --strict $(RELEASE)/*
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/test_release.py
	$(PYTHON) -m venv $(RELEASE)/fresh
	$(RELEASE)/fresh/bin/python -m pip install --quiet --disable-pip-version-check --no-compile $(RELEASE)/*.whl
	$(RELEASE)/fresh/bin/python -m pip check
	folder=$$(mktemp -d) && fresh=$(CURDIR)/$(RELEASE)/fresh/bin && cd $$folder && unset PYTHONPATH && export OMP_NUM_THREADS=1 && \
	$$fresh/segdistill --help >/dev/null && $$fresh/segdistill list networks >/dev/null && \
	$$fresh/segdistill distill streets tiny_pair steps=4 teacher.train.steps=4 teacher.check=false data.count=8 out=first && \
	$$fresh/segdistill report first && $$fresh/segdistill distill demo steps=2 data.count=8 out=demo && \
	rm -rf $$folder
	@echo "$$(ls $(RELEASE)/*.whl $(RELEASE)/*.tar.gz): ready"

clean:
	rm -rf $(VENV) build dist *.egg-info src/*.egg-info
