# make setup   install everything into .venv
# make demo    the whole method on pico: SFT, reward models, two rounds, PPO, Ghost Attention (about eight minutes)
# make quick   fine-tune pico and show what it learned (about three minutes)
# make test    run the tests            make check   lint, format, types, what is installed
# make test-all   also those that are slow and rarely break
# make fuzz    the tests that draw their cases at random, with new cases each time (make fuzz ROUNDS=100)
# make bench   llamatune beside plain trl and TRL 1.12's PPO, the price of guards, light commands, data preparation
# make findings   the paper's findings on pico, three seeds (an hour or more; goes on where it was stopped)
# make gpu-check   a GPU in ten minutes: its tests, and what llamatune does on it
# make gpu-check-dry   whether that would run: a tiny model, on the CPU
# make bench-gpu   switch by switch on a GPU, an hour or more
# make docs    the pages of docs/ as a site, every link checked
# make release the wheel and the source archive, tried in an environment of their own
# make pico    rebuild the built-in model from nothing (about forty minutes, on one core whatever the machine has)

PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup demo quick test test-all fuzz check bench bench-gpu gpu-check gpu-check-dry findings docs pico format release

setup: .venv/.installed

# The lock files hold everything, so that nothing else is looked up: --no-deps, and a build with what is installed.
# PyTorch's CPU build is taken where pip finds it (PIP_FIND_LINKS, PIP_EXTRA_INDEX_URL), the CUDA build elsewhere.
LOCKED := $(BIN)/pip install --quiet --require-hashes --no-deps --requirement

.venv/.installed: requirements.lock requirements-cpu.lock requirements-cuda.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(LOCKED) requirements.lock
	@$(LOCKED) requirements-cpu.lock 2>/dev/null || $(LOCKED) requirements-cuda.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	$(BIN)/pip check
	@touch $@

demo: setup
	$(BIN)/llamatune run recipes/pico/llama2_chat.yaml
	@echo 'To use the commands above: . $(BIN)/activate'

quick: setup
	$(BIN)/llamatune run recipes/pico/sft.yaml --overwrite
	$(BIN)/llamatune exam pico runs/pico-sft --show 4
	@echo 'To use the commands above: . $(BIN)/activate'

test: setup
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow"

test-all: setup
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# Each round draws as many new cases as `make test` looks at.
ROUNDS ?= 10
fuzz: setup
	for round in $$(seq $(ROUNDS)); do \
		$(BIN)/python -m pytest -n 2 -q --hypothesis-profile=search -m "not slow" \
			$$(grep -rl --include='*.py' 'from hypothesis' tests | grep test_) || exit 1; \
	done

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python scripts/audit.py

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup
	$(BIN)/python benchmarks/sft.py
	$(BIN)/python benchmarks/reward.py
	$(BIN)/python benchmarks/ppo.py
	$(BIN)/python benchmarks/ppo_memory.py
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/light_commands.py
	$(BIN)/python benchmarks/prepare_rows.py

bench-gpu: setup
	$(BIN)/python benchmarks/gpu.py --save gpu

# On a machine with a torch of its own: python3 benchmarks/gpu_check.py --wheels FOLDER
gpu-check: setup
	$(BIN)/python benchmarks/gpu_check.py

gpu-check-dry: setup
	$(BIN)/python benchmarks/gpu_check.py --device cpu --tiny

findings: setup
	$(BIN)/python benchmarks/run_findings.py --save

docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo 'The first page: site/index.html'

release: setup
	$(BIN)/python scripts/release.py

pico: setup
	$(BIN)/python scripts/make_pico_tokenizer.py
	OMP_NUM_THREADS=1 $(BIN)/llamatune run recipes/pico/pretrain_copying.yaml --overwrite
	OMP_NUM_THREADS=1 $(BIN)/llamatune run recipes/pico/pretrain.yaml --overwrite
	$(BIN)/python scripts/install_pico.py runs/pico-pretrain
