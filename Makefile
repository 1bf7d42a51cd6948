# make demo        set up, train a small Res2Net Faster R-CNN, evaluate and draw it  (DATA=path/to/coco: your own images)
# make test        set up, then run all tests, one process with one thread for each core  (JOBS=4: so many)
# make test-fast   the tests that one runs while working
# make lint        ruff, and mypy on the types of the package
# make docs        the pages of docs/ as a site, build/site/index.html, where a warning is an error
# make soak        the long tests of reliability: kills, payloads, hostile files, memory (hours on 2 cores)
# make sanitize    the tests of the training kernels and the native engine under ASan and UBSan
# make env         set up only: a virtual environment in $(VENV), as locked in requirements/lock.txt
PYTHON ?= python3.11
VENV ?= .venv
DATA ?=
JOBS ?= auto
export UV_FIND_LINKS

ready := $(VENV)/.ready
pytest := OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n $(JOBS) --maxprocesses 8 --dist worksteal

.PHONY: demo test test-fast docs soak sanitize env lint lock licences wheelhouse clean
demo: $(ready)
	$(VENV)/bin/python tools/dev/demo.py $(if $(DATA),--data "$(DATA)")

test: $(ready)
	$(pytest)

test-fast: $(ready)
	$(pytest) -m 'not slow and not distributed and not gpu and not soak'

docs: $(ready)
	@$(VENV)/bin/python -c 'import sphinx, myst_parser, furo, sphinx_copybutton, linkify_it' 2>/dev/null || \
	  { echo "make docs needs the extra docs: $(VENV)/bin/python -m pip install -e '.[docs]'"; exit 1; }
	$(VENV)/bin/python -m sphinx -c docs -b html -q -E -W --keep-going -n . build/site

soak: $(ready)
	$(pytest) -m soak -rP

sanitize: $(ready)
	tools/dev/sanitize_kernels.sh $(VENV)/bin/python

env: $(ready)

$(ready): requirements/lock.txt requirements/locked.py setup.py tools/dev/setup_env.sh
	tools/dev/setup_env.sh "$(VENV)" "$(PYTHON)"
	touch $@

lint: $(ready)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

# Compile the lock from setup.py's extras and requirements/env.in: what they add, and, with UPGRADE=1, later versions.
lock: $(ready)
	$(VENV)/bin/uv pip compile setup.py requirements/env.in --all-extras --python-version 3.11 $(if $(UPGRADE),--upgrade) \
	  --generate-hashes --overrides requirements/overrides.txt --no-emit-find-links \
	  --custom-compile-command 'make lock' --output-file requirements/lock.txt

# Print the licences of all that is in the lock.
licences: $(ready)
	$(VENV)/bin/python requirements/licences.py

# Fill DIR with every wheel of the lock, to set up where there is no network: UV_FIND_LINKS=DIR UV_OFFLINE=1 make test
DIR ?= wheelhouse
wheelhouse: $(ready)
	$(VENV)/bin/python -m pip wheel --no-deps --no-build-isolation --no-binary xtcocotools --require-hashes \
	  --wheel-dir "$(DIR)" --requirement requirements/lock.txt

clean:
	rm -rf build dist *.egg-info res2net_mm/.mim work_dirs .pytest_cache .ruff_cache .mypy_cache
