# make run, make test: on the newest TensorFlow that the Python has. make run-tf1, make test-tf1:
# on TensorFlow 1.0.0, with Python 3.6. The first call makes the virtual environment.
# PYTHON=/path/to/python, on the command line, names the interpreter.

.NOTPARALLEL:  # what is measured beside something else is measured wrong
.PHONY: run test run-tf1 test-tf1 benchmark trace versions pairs measured figures quotes cluster \
	lint clean FORCE

run: .venv/ready
	$(call run_scripts,.venv)

test: .venv/ready
	$(call pytest,.venv)

run-tf1: .venv-tf1/ready
	$(call run_scripts,.venv-tf1)

test-tf1: .venv-tf1/ready
	$(call pytest,.venv-tf1)

# What these write goes to the folder results.
into := results
benchmark = .venv/bin/python -m going_further.benchmark

# BENCHMARK_FLAGS=--quick shows that it works, and little more.
benchmark: .venv/ready
	mkdir -p $(into)
	$(benchmark) --json $(into)/benchmark.json $(BENCHMARK_FLAGS)
	$(benchmark) --over read_latency_ms --rounds 12 --json $(into)/read_latency.json $(BENCHMARK_FLAGS)
	$(benchmark) --over batch_size --rounds 12 --steps 15 --json $(into)/batch_size.json $(BENCHMARK_FLAGS)
	@# The intra-op threads are one pool for the whole process, so these are two processes.
	TF_NUM_INTRAOP_THREADS=$$((2 * $$(nproc))) $(benchmark) --over batch_size --values 2048 \
	--rounds 12 --steps 15 --json $(into)/batch_size_twice_the_threads.json $(BENCHMARK_FLAGS)
	$(benchmark) --over capacity --rounds 12 --steps 40 --json $(into)/capacity.json $(BENCHMARK_FLAGS)
	.venv/bin/python -m going_further.make_files
	$(benchmark) --data_dir data --json $(into)/files.json $(BENCHMARK_FLAGS)
	$(benchmark) --data_dir data --read_latency_ms 3 --json $(into)/files_slow_disk.json \
	$(BENCHMARK_FLAGS)
	.venv/bin/python -m going_further.figures --dir $(into)

trace: .venv/ready
	mkdir -p $(into)
	.venv/bin/python -m going_further.trace --json $(into)/trace.json
	.venv/bin/python -m going_further.trace --read_latency_ms 3 --json $(into)/trace_slow_disk.json
	.venv/bin/python -m going_further.figures --dir $(into)

# An environment for each TensorFlow goes to the folder .versions. VERSIONS_FLAGS: its flags.
versions: .venv/ready
	mkdir -p $(into)
	.venv/bin/python -m going_further.releases --json $(into)/versions.json $(VERSIONS_FLAGS)

# The same for some of them, with reads that wait. PAIRS_FLAGS: its flags.
pairs: .venv/ready
	mkdir -p $(into)
	.venv/bin/python -m going_further.releases --releases 1.0.0,1.15.5,2.21.0 \
	--read_latency_ms 0,3,10 --rounds 4 --turns 4 --json $(into)/pairs.json $(PAIRS_FLAGS)

# All that the pages quote, anew.
measured: .venv/ready
	$(MAKE) benchmark trace pairs versions into=going_further/measured
	mkdir -p results
	rm -f results/run.jsonl
	(set -e; for script in 01_* 04_* 01_* 04_* 01_* 04_*; do echo "== $$script"; \
	.venv/bin/python $$script --timings results/run.jsonl; done; \
	for script in 01_* 04_*; do echo "== slow_$$script"; .venv/bin/python $$script \
	--read_latency_ms 3 --steps 1000 --timings results/run.jsonl; done; \
	echo "== seen"; .venv/bin/python -m support --timings results/run.jsonl; \
	for script in 02_* 03_*; do echo "== $$script"; .venv/bin/python $$script; done) \
	> results/run.txt 2>&1 || { tail results/run.txt; exit 1; }
	mv results/run.txt going_further/measured
	$(MAKE) figures quotes into=going_further/measured

figures: .venv/ready
	.venv/bin/python -m going_further.figures --dir $(into)

# Writes what was measured into the pages.
quotes: .venv/ready
	.venv/bin/python -m cogapp -r -I . README.md docs/measurements.md docs/versions.md

# CLUSTER_FLAGS="--workers 4" and the like: its flags.
cluster: .venv/ready
	.venv/bin/python -m going_further.cluster $(CLUSTER_FLAGS)

lint: .venv/ready
	.venv/bin/python -m ruff check .
	.venv/bin/python -m ruff format --check .

clean:
	rm -rf .venv .venv-tf1 .versions

define run_scripts
$(1)/bin/python 01_feed_dict_baseline.py
@echo
$(1)/bin/python 02_queue_hang_demo.py
@echo
$(1)/bin/python 03_queue_runner_demo.py
@echo
$(1)/bin/python 04_queue_pipeline_training.py
@echo
@echo "01 and 04 again, where each read waits for 3 ms, as for a slow disk:"
@echo
$(1)/bin/python 01_feed_dict_baseline.py --read_latency_ms 3 --steps 1000
@echo
$(1)/bin/python 04_queue_pipeline_training.py --read_latency_ms 3 --steps 1000
@echo
@$(1)/bin/python -m support
endef

# Several tests at a time (tests/conftest.py says how many), those of one xdist_group in one process.
pytest = $(1)/bin/python -m pytest -n auto --dist loadgroup tests

define install
$(1)/bin/python -m pip install --quiet -r $(2) -r tests/requirements.txt
touch $(1)/ready
endef

# ------------------------------------------------------------------ the environments

given := $(if $(filter command,$(origin PYTHON)),$(PYTHON))
version = $(shell "$(1)" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)

# .venv is made anew where its Python or pip is missing, and where another version is given.
has := $(if $(wildcard .venv/bin/pip),$(call version,.venv/bin/python))
wanted := $(if $(given),$(or $(call version,$(given)),none))
anew := $(if $(has),$(filter-out $(has),$(wanted)),yes)
pythons = $(if $(given),"$(given)",python3 python3.13 python3.12 python3.11 python3.10 python3.9)

.venv/ready: requirements.txt going_further/requirements.txt tests/requirements.txt \
		$(if $(anew),FORCE)
	$(if $(anew),@$(make_venv))
	$(call install,.venv,requirements.txt)

define make_venv
for python in $(pythons); do if "$$python" support/python.py 2>/dev/null; then \
[ ! -e .venv ] || echo "Removing .venv, which was made with $(if $(has),Python $(has),a Python that is gone)."; \
rm -rf .venv; echo "Making .venv with $$python, $$("$$python" -V)"; \
exec "$$python" -m venv .venv; fi; done; \
set -- $(pythons); "$$1" support/python.py; \
echo "Or add PYTHON=/path/to/python to this command." >&2; exit 1
endef

python36 = "$(or $(given),python3.6)"

.venv-tf1/ready: requirements-cpu.txt going_further/requirements.txt tests/requirements.txt \
		$(if $(call version,.venv-tf1/bin/python),,FORCE)
	@$(python36) -c "import sys; sys.exit(sys.version_info[:2] != (3, 6))" 2>/dev/null || \
	{ echo "TensorFlow 1.0.0 needs Python 3.6: get it with 'pyenv install 3.6.15' or" \
	"'conda create -n py36 python=3.6', then add PYTHON=/path/to/python3.6 to this command." >&2; exit 1; }
	[ -x .venv-tf1/bin/pip ] || { rm -rf .venv-tf1; $(python36) -m venv .venv-tf1; }
	@# Its own pip, 18.1, picks wheels that it can't install.
	.venv-tf1/bin/python -m pip install --quiet "pip==21.3.1"
	$(call install,.venv-tf1,requirements-cpu.txt)
