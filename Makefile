# make demo        set up .venv and run the demonstration: ROOT files of Geant4 showers to results/report/index.html
# make test        set up .venv and run all tests
# make test-slurm  run the workflow on a SLURM and an HTCondor of this machine alone, in .venv-cluster
# make check       formatting and lint
# make schema      write config.schema.json, which editors read

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
CLUSTER_BIN := .venv-cluster/bin

# A user's own Python paths stay out of .venv.
unexport PYTHONPATH PYTHONHOME

.PHONY: demo test test-slurm check schema

demo: .venv/installed
	$(BIN)/snakemake --cores all

# Without a shell between them (env), ending make ends the tests.
test: .venv/installed-dev
	env OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

test-slurm: .venv-cluster/installed
	env OMP_NUM_THREADS=1 $(CLUSTER_BIN)/python -m pytest tests/cluster

check: .venv/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

schema: .venv/installed
	$(BIN)/python -m caloforge.config.schema

.venv/installed: pyproject.toml constraints.txt | .venv/created
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

# What .venv has, and the executors, which would slow down every start of Snakemake there.
.venv-cluster/installed: .venv/installed-dev
	$(BIN)/python -m venv .venv-cluster
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
		> `$(CLUSTER_BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))'`/venv.pth
	$(CLUSTER_BIN)/python -m pip install --quiet -c constraints.txt -e '.[slurm,htcondor]'
	touch $@

.venv/created:
	@test -n "$(PYTHON)" || { echo "error: no python3 found, expected Python 3.11 or newer; name it with PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: $(PYTHON) is `$(PYTHON) --version 2>&1`, expected 3.11 or newer; name one with PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || \
		{ echo "error: $(PYTHON) cannot make environments; on Debian and Ubuntu install the package python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	touch $@
