# Everything a reader needs, on a machine that has only Python >= 3.11. `make` alone lists the commands.
# Paths are relative, so a folder with spaces in its name works.

CANDIDATES := $(PYTHON) python3 python3.13 python3.12 python3.11 python3.14 python
BIN := .venv/bin
PY := $(BIN)/python
INSTALLED := .venv/.installed
export OMP_NUM_THREADS := 1

.DEFAULT_GOAL := help
.PHONY: help install demo test quick check format lab explore lessons clean

help:  ## list these commands
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 14

install: $(INSTALLED)  ## make .venv and install dinolite in it (the others do it where needed)

demo: $(INSTALLED)  ## train the embedded default in a few minutes and look inside
	$(BIN)/dinolite train demo --out runs/demo

test: $(INSTALLED)  ## run every test and every lesson, on two cores
	$(PY) -m pytest --nbval -n 2 $(ARGS)

quick: $(INSTALLED)  ## the fast tests alone, without the lessons
	$(PY) -m pytest -m "not slow" tests -n 2 $(ARGS)

check: $(INSTALLED)  ## formatter, linter, type checker, lessons against their sources
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	$(PY) -m tools.lessons check

format: $(INSTALLED)  ## format the code and mend what the linter can mend
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

lab: $(INSTALLED)  ## open the lessons in JupyterLab
	$(BIN)/dinolite lab

explore: $(INSTALLED)  ## point at a patch, see its like: a page for this machine only
	$(BIN)/dinolite explore

lessons: $(INSTALLED)  ## rebuild all notebooks from lessons/src (some: make lessons WHICH="03 04")
	$(PY) -m tools.lessons build --force $(WHICH)
	$(PY) -m tools.lesson_map

clean:  ## remove the environment and caches (not runs/ and data/)
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is written last, so a broken install is tried again and a good one is not repeated.
$(INSTALLED): pyproject.toml
	@if [ -x $(PY) ]; then exit 0; fi; \
	python=; for p in $(CANDIDATES); do \
	  if "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$p; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "dinolite needs Python 3.11 or newer and found none; name one: make PYTHON=/path/to/python" >&2; \
	  exit 1; fi; \
	if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
	  echo "$$python cannot make an environment (it lacks ensurepip): install its venv package," \
	    "on Debian and Ubuntu apt install python3-venv, and run make again" >&2; exit 1; fi; \
	"$$python" -m venv .venv || { rm -rf .venv; exit 1; }
	$(PY) -m pip install --disable-pip-version-check --quiet -e ".[course,dev]"
	@touch $(INSTALLED)
