# `make` lists the targets. Each sets up what it needs, once: .venv, from envs/lock.txt
# and envs/lock-nodeps.txt.

PYTHON ?= python3
CORES ?= 4
WORKERS ?= 2

STAMP := .venv/installed
# Not `source .venv/bin/activate`: what follows needs only this.
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: help table4 tables figures test cluster faults inputs lint docs bench bench-gpu lock resources clean

help:
	@echo "make table4     Table 4 on the embedded scenes: results/table4.csv"
	@echo "make tables     Tables 4, 6 and 7 likewise"
	@echo "make figures    Figures 1 and 4: results/figures"
	@echo "make test       lint, then the tests that need neither a GPU nor minutes each"
	@echo "make cluster    jobs on a real SLURM, started here (tests/cluster); needs root"
	@echo "make faults     all faults on all stages, into docs/faults.md; needs root"
	@echo "make inputs     all of people's unusual files, into docs/inputs.md"
	@echo "make lint       ruff, mypy, snakefmt, snakemake --lint"
	@echo "make docs       the documentation as a site, site/index.html; a dead link is an error"
	@echo "make bench      throughput against straightforward versions, as one table"
	@echo "make bench-gpu  the same work at the paper's sizes on a GPU, beside what it could do at most"
	@echo "make resources  remake the embedded weights (hours on two cores)"
	@echo "make lock       resolve envs/requirements*.txt into envs/lock*.txt again"
	@echo "make clean      remove results and caches; .venv stays"

table4: $(STAMP)
	snakemake --cores $(CORES) results/table4.csv
	@cat results/table4.md

tables: $(STAMP)
	snakemake --cores $(CORES) results/table4.csv results/table6.csv results/table7.csv
	@cat results/table4.md results/table6.md results/table7.md

figures: $(STAMP)
	snakemake --cores $(CORES) results/figures/figure1.png results/figures/figure4.png

test: lint
	python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder \
		-m "not slow and not gpu and not bench and not cluster"

cluster: $(STAMP)
	python -m pytest -s -v -m cluster tests/workflow

# Six minutes on two cores.
faults: $(STAMP)
	python -m pytest tests/faults -m "slow or not slow" --fault-table docs/faults.md

# Two minutes on two cores.
inputs: $(STAMP)
	python -m pytest tests/inputs tests/workflow/test_own_folder.py tests/workflow/test_own_paths.py \
		-m "slow or not slow" --input-table docs/inputs.md

lint: $(STAMP)
	ruff check
	ruff format --check
	mypy
	snakefmt --check workflow
	snakemake --lint

docs: .venv/docs
	python workflow/support/reference.py
	NO_MKDOCS_2_WARNING=1 python -m mkdocs build

bench: $(STAMP)
	python -m pytest -m bench -s

bench-gpu: $(STAMP)
	mkdir -p results
	python benchmarks/gpu_throughput.py --json results/gpu_throughput.json

resources: $(STAMP)
	snakemake --cores $(CORES) results/resources/scenes_move.safetensors results/resources/scenes_clip.safetensors \
		results/resources/scenes_captioner.safetensors
	mkdir -p workflow/resources
	cp results/resources/scenes_move.safetensors results/resources/scenes_clip.safetensors \
		results/resources/scenes_captioner.safetensors workflow/resources/
	snakemake --cores $(CORES) results/g_captions/grounding/grounder.safetensors \
		results/g_regions/grounding/grounder.safetensors
	cp results/g_captions/grounding/grounder.safetensors \
		workflow/resources/scenes_grounder_captions.safetensors
	cp results/g_regions/grounding/grounder.safetensors \
		workflow/resources/scenes_grounder_regions.safetensors

# A half-made .venv has no stamp and is completed by the next run.
$(STAMP): envs/lock.txt envs/lock-nodeps.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "make: $(PYTHON) is missing or older than 3.11; name another: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2> /dev/null \
		|| { echo "make: $(PYTHON) has no venv module; on Debian: apt install python3-venv" >&2; exit 1; }
	@echo "installing into .venv: once, a few minutes"
	$(PYTHON) -m venv .venv
	python -m pip install --quiet --requirement envs/lock.txt
	python -m pip install --quiet --no-deps --requirement envs/lock-nodeps.txt
	python -m pip install --quiet --no-deps --editable .
	@touch $@

.venv/docs: $(STAMP) envs/lock-docs.txt
	python -m pip install --quiet --requirement envs/lock-docs.txt
	@touch $@

# CUDA's packages exist for Linux alone; elsewhere torch does without them.
lock:
	$(PYTHON) -m venv --clear .venv-lock
	.venv-lock/bin/python -m pip install --quiet --requirement envs/requirements.txt \
		--requirement envs/requirements-dev.txt
	.venv-lock/bin/python -m pip freeze | sed -E \
		"s/^(nvidia|cuda|triton).*/& ; platform_system == 'Linux' and platform_machine == 'x86_64'/" \
		> envs/lock.txt
	.venv-lock/bin/python -m pip install --quiet --constraint envs/lock.txt \
		--requirement envs/requirements-docs.txt
	sed 's/ ;.*//' envs/lock.txt > .venv-lock/lock.txt
	{ echo '# On top of lock.txt, for make docs.'; .venv-lock/bin/python -m pip freeze \
		| grep -Fvx -f .venv-lock/lock.txt; } > envs/lock-docs.txt
	rm -rf .venv-lock

clean:
	rm -rf results .snakemake .pytest_cache .ruff_cache .mypy_cache .hypothesis site
	find stages tests benchmarks workflow -name __pycache__ -type d -prune -exec rm -rf {} +
