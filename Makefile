# RoILab. Everything runs in .venv, which the first command makes; PYTHON chooses what it is made with.
PYTHON ?= python3
RUN := .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-processors test-browser test-slurm fuzz lint bench clean

help:
	@echo "make demo                sample set, training, AP table and pictures (installs what is missing)"
	@echo "make test [ARGS=...]     run the tests; ARGS goes to pytest"
	@echo "make test-processors [ARGS=...]  the tests as on each older processor that this one can stand for"
	@echo "make test-browser        the app in a headless Chromium, which must be installed"
	@echo "make test-slurm          jobs of a SLURM that the tests start, which must be installed; as root"
	@echo "make fuzz [N=... SEED=...]  spoilt annotation files, a million by default; damaged"
	@echo "                         and hostile run folders through every command, trainings that are"
	@echo "                         killed, and jobs of SLURM that end in every way, where it is installed"
	@echo "make lint                ruff check, ruff format, mypy"
	@echo "make bench [ONLY=name]   every benchmark against its reference, into outputs/bench.json"
	@echo "make setup               only make .venv"
	@echo "make clean               remove caches; .venv, datasets and outputs stay"
	@echo "PYTHON=python3.12 after any of them chooses the interpreter for a new .venv"

setup:
	@$(PYTHON) scripts/setup_env.py

demo: setup
	@$(RUN) scripts/quickstart.py

# A process a core and one thread each: the tests' tensors are tiny, and threads wait for each other.
# A file's tests stay together, since they share what is trained for them.
PYTEST = $(RUN) -m pytest -q -n auto --maxprocesses 4 --dist loadfile --durations=10 --durations-min=1 $(ARGS)

test: setup
	@OMP_NUM_THREADS=1 $(PYTEST)

# LEVELS=lowest runs them once, as on the oldest.
test-processors: setup
	@OMP_NUM_THREADS=1 $(RUN) scripts/test_processors.py --levels $(or $(LEVELS),all) $(PYTEST)

# ARGS="--run RUN --screenshots docs/images" makes the pictures of the documents.
test-browser: setup
	@OMP_NUM_THREADS=1 $(RUN) -m pytest -q tests/browser $(ARGS)

test-slurm: setup
	@OMP_NUM_THREADS=1 $(RUN) -m pytest -q tests/slurm $(ARGS)

fuzz: setup
	@ROILAB_FUZZ_INPUTS=$(or $(N),1000000) ROILAB_FUZZ_SEED=$(or $(SEED),1) \
		$(RUN) -m pytest -q -s tests/via/test_fuzz.py
	@ROILAB_FUZZ_DAMAGES=500 ROILAB_FUZZ_CHECKPOINTS=200 ROILAB_FUZZ_SEED=$(or $(SEED),1) \
		OMP_NUM_THREADS=1 $(RUN) -m pytest -q -s tests/test_damage.py
	@ROILAB_FUZZ_KILLS=100 ROILAB_FUZZ_SEED=$(or $(SEED),1) \
		OMP_NUM_THREADS=1 $(RUN) -m pytest -q -s tests/engine/test_kills.py
	@ROILAB_HOSTILE=all OMP_NUM_THREADS=1 $(RUN) -m pytest -q -n auto tests/engine/test_hostile.py
	@ROILAB_SLURM_ENDINGS=all OMP_NUM_THREADS=1 $(RUN) -m pytest -q -s tests/slurm

lint: setup
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m mypy

bench: setup
	@$(RUN) scripts/bench.py $(if $(ONLY),--only $(ONLY))

clean:
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find project scripts configs tests -name __pycache__ -type d -prune -exec rm -rf {} +
