# Two commands: `make book` and `make test`. Each sets up what it needs. `make help` lists the rest.

.DEFAULT_GOAL := help
SHELL := /bin/sh
PROFILE ?= quick
VENV := .venv
PY := $(VENV)/bin/python
CALL := $(PY) -m companion
# What the user gives goes through the environment, so that the shell reads none of it.
export CH P PROFILE SWEEP FIG MINUTES
ONE := $(if $(CH),--chapter "$$CH")
# A change of the pins, of the project or of the torch build has another name, so it is installed again. Another torch
# build brings its own CUDA libraries, so their pins are left out for it.
BACKEND := $(or $(TORCH_BACKEND),$(shell cat $(VENV)/torch-backend 2>/dev/null))
READY := $(VENV)/ready-$(shell cat requirements.txt pyproject.toml | cksum | cut -d' ' -f1)$(if $(BACKEND),-$(BACKEND))

.PHONY: help book test faults gpu lint chapter record data notebooks check-pages clean sweep verify figure archive pdf

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo '  PROFILE=quick|cpu|wide|paper   the scale (quick)   DATA_DIR=data   where MNIST and CIFAR-10 lie'
	@echo '  CH=01_width               one chapter            TORCH_BACKEND=cpu|auto|cu130   another torch build'
	@echo '  P="trials=50 seed=3"      its parameters         PYTHON=python3.12   the Python to build on'

book: $(READY) ## the book: runs the chapters that changed, then makes the pages
	@test -z "$$CH$$P" || { echo 'make book builds the whole book; for one chapter: make chapter CH=01_width P="trials=50 seed=3"' >&2; exit 2; }
	@$(CALL) build --profile "$$PROFILE"

test: $(READY) ## the tests and the examples in the docstrings; SLOW=1 for the slow ones too
	@OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=2 $(PY) -m pytest -n logical --dist loadgroup -m "$(if $(SLOW),slow or not slow,not slow)" --doctest-modules lib experiments companion templates tests $(T)

faults: $(READY) ## kills, full disks, damaged data, odd arguments: 25 minutes, MINUTES=25; its table is book/faults.md
	@OMP_NUM_THREADS=1 $(PY) tests/faults/run.py

lint: $(READY) ## style, types and spelling
	@$(PY) -m ruff check . && $(PY) -m ruff format --check . && $(PY) -m mypy && $(VENV)/bin/codespell

chapter: $(READY) ## one chapter with parameters of your own: CH=01_width P="trials=50 seed=3"
	@test -n "$$CH" || { echo 'Which chapter? make chapter CH=01_width P="trials=50 seed=3"' >&2; exit 2; }
	@$(CALL) build --profile "$$PROFILE" --chapter "$$CH" --set="$$P"

record: $(READY) ## write what a profile measured into book/records/: PROFILE=cpu [CH=01_width [P="seed=3"]]
	@$(CALL) build --profile "$$PROFILE" $(ONE) --set="$$P" --until chapters
	@$(CALL) record --profile "$$PROFILE" $(ONE) --set="$$P"

sweep: $(READY) ## one chapter at many points: CH=01_width P="width=100,500 seed=0..99" [DRY=1] [ON=slurm], or SWEEP=my.yaml
	@$(CALL) sweep --profile "$$PROFILE" $(ONE) --set="$$P" $(if $(SWEEP),--yaml "$$SWEEP") $(if $(DRY),--dry) $(if $(ON),--on $(ON)) $(if $(DRAWS),--seed $(DRAWS))

verify: $(READY) ## run again what is published and compare: [CH=01_width] [PROFILE=cpu]
	@$(CALL) verify --profile "$$PROFILE" $(ONE)

figure: $(READY) ## draw a figure from its stored numbers: CH=01_width [FIG=spectra] [PROFILE=cpu]
	@$(CALL) figure --profile "$$PROFILE" $(ONE) --name "$$FIG"

archive: $(READY) ## the book, notebooks, records, rows and checksums as an RO-Crate
	@$(CALL) archive --profile "$$PROFILE"

pdf: $(READY) ## the built book as one PDF, linked on its pages; needs a Chromium
	@$(CALL) pdf --profile "$$PROFILE"

gpu: $(READY) ## all that needs a GPU, in order of value: MINUTES=12, goes on where it stopped; TOY=1 rehearses on a CPU
	@$(PY) -m benchmarks.gpu --minutes $(or $(MINUTES),12) $(if $(TOY),--toy)

data: $(READY) ## download MNIST and CIFAR-10 into DATA_DIR
	@$(CALL) data

notebooks: $(READY) ## the chapters as .ipynb in _build/notebooks/, for Jupyter or plain papermill
	@$(CALL) notebooks $(ONE)

check-pages: $(READY) ## open the built book in a headless Chromium and check every page
	@$(PY) tests/companion/check_pages.py "_build/$$PROFILE/html"

clean: ## remove what was built, keep .venv and data
	rm -rf _build .snakemake

$(PY):
	@for python in $(PYTHON) python3 python3.13 python3.12 python3.11 python; do \
	  $$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null || continue; \
	  $$python -m venv $(VENV) || { echo "$$python cannot make $(VENV): its venv module is missing (on Debian: apt install python3-venv)" >&2; exit 1; }; \
	  exit 0; \
	done; echo 'No Python 3.11, 3.12 or 3.13 found. Install one, or say where it is: make book PYTHON=/path/to/python3.12' >&2; exit 1

$(READY): | $(PY)
	@echo "Installing the exact pins of requirements.txt into $(VENV)$(if $(BACKEND), (torch for $(BACKEND)))"
	@uv=uv; $$uv --version >/dev/null 2>&1 || { uv=$(VENV)/bin/uv; test -x $$uv || $(PY) -m pip install --quiet --disable-pip-version-check uv; }; \
	$(if $(BACKEND),sed -E '/^(nvidia-|cuda-|triton==)/d' requirements.txt > $(VENV)/pins.txt; $$uv pip install --python $(PY) --torch-backend=$(BACKEND) --reinstall-package torch --reinstall-package torchvision -r $(VENV)/pins.txt,$$uv pip install --python $(PY) -r requirements.txt) && \
	$$uv pip install --python $(PY) --no-deps --editable .
	@rm -f $(VENV)/ready-*; $(if $(BACKEND),echo $(BACKEND) > $(VENV)/torch-backend;) touch $@
