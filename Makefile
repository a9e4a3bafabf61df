# make run, make test: on the newest TensorFlow that the Python has. make run-tf1, make test-tf1:
# on TensorFlow 1.0.0, with Python 3.6. The first call makes the virtual environment.
# PYTHON=/path/to/python names the interpreter.

.NOTPARALLEL:  # what is measured beside something else is measured wrong
.PHONY: run test run-tf1 test-tf1 benchmark trace versions pairs measured figures cluster lint clean

run: .venv/ready
	$(call run_scripts,.venv)

test: .venv/ready
	.venv/bin/python -m pytest tests

run-tf1: .venv-tf1/ready
	$(call run_scripts,.venv-tf1)

test-tf1: .venv-tf1/ready
	.venv-tf1/bin/python -m pytest tests

# What these write goes to the folder results.
into := results

benchmark: .venv/ready
	mkdir -p $(into)
	.venv/bin/python -m going_further.make_files
	.venv/bin/python -m going_further.benchmark --json $(into)/benchmark.json
	$(sweep) read_latency_ms --json $(into)/read_latency.json
	$(sweep) batch_size --steps 15 --json $(into)/batch_size.json
	$(sweep) capacity --steps 40 --read_latency_ms 50 --latency_every 20 --json $(into)/capacity.json
	.venv/bin/python -m going_further.figures --dir $(into)
	.venv/bin/python -m going_further.files_benchmark --json $(into)/files.json
	.venv/bin/python -m going_further.files_benchmark --read_latency_ms 3 --json $(into)/files_slow_disk.json
	.venv/bin/python -m going_further.shuffles --json $(into)/shuffles.json
	.venv/bin/python -m going_further.complaints --json $(into)/complaints.json
	@# Last, for it needs a disk, and may find none.
	.venv/bin/python -m going_further.files_benchmark --cold --json $(into)/files_cold.json

sweep = .venv/bin/python -m going_further.sweep --over

trace: .venv/ready
	mkdir -p $(into)
	.venv/bin/python -m going_further.trace --json $(into)/trace.json
	.venv/bin/python -m going_further.trace --read_latency_ms 3 --json $(into)/trace_slow_disk.json
	.venv/bin/python -m going_further.refills --json $(into)/refills.json
	.venv/bin/python -m going_further.figures --dir $(into)

# An environment for each TensorFlow goes to the folder .versions. VERSIONS_FLAGS: its flags.
versions: .venv/ready
	mkdir -p $(into)
	.venv/bin/python -m going_further.versions --json $(into)/versions.json $(VERSIONS_FLAGS)
	.venv/bin/python -m going_further.figures --dir $(into)

# 01 and 04 by turns, on some of these TensorFlows. PAIRS_FLAGS: its flags.
pairs: .venv/ready
	mkdir -p $(into)
	.venv/bin/python -m going_further.pairs --json $(into)/pairs.json $(PAIRS_FLAGS)

# All that README.md, going_further/README.md and going_further/versions/README.md quote, anew.
measured: .venv/ready
	$(MAKE) benchmark trace pairs versions into=going_further/measured
	mkdir -p results
	rm -f results/run.jsonl
	(set -e; feed_dict=01_feed_dict_baseline.py; queue=04_queue_pipeline_training.py; \
	for script in $$feed_dict $$queue $$feed_dict $$queue $$feed_dict $$queue; do \
	.venv/bin/python $$script --timings results/run.jsonl; done; \
	.venv/bin/python 02_queue_hang_demo.py; .venv/bin/python 03_queue_runner_demo.py) \
	> results/run.txt 2>&1 || { tail results/run.txt; exit 1; }
	mv results/run.jsonl results/run.txt going_further/measured
	$(on_1) -m going_further.files_benchmark --steps 15 --json going_further/measured/files_on_1.0.0.json
	$(on_1) -m going_further.complaints --steps 15 --json going_further/measured/complaints_on_1.0.0.json
	TENSORFLOW_USE_CUSTOM_CONTRACTION_KERNEL=false TF_ENABLE_ONEDNN_OPTS=0 .venv/bin/python \
	-m going_further.benchmark --brief --json going_further/measured/without_onednn.json

on_1 = .versions/1.0.0/bin/python

figures: .venv/ready
	.venv/bin/python -m going_further.figures

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
endef

define install
$(1)/bin/python -m pip install --quiet -r $(2) -r tests/requirements.txt
touch $(1)/ready
endef

# An environment made here whose Python has since been removed is made anew,
$(shell for venv in .venv .venv-tf1; do \
	[ ! -e $$venv/ready ] || [ -x $$venv/bin/python ] || rm -rf $$venv; done)
# and so is .venv where PYTHON names a Python of another version.
wanted := $(if $(PYTHON),$(shell "$(PYTHON)" support/python.py 2>/dev/null && "$(PYTHON)" -V))
has := $(and $(wanted),$(wildcard .venv/ready),$(shell .venv/bin/python -V))
ifneq ($(if $(filter %-tf1,$(MAKECMDGOALS)),,$(has)),)
ifneq ($(has),$(wanted))
$(info Removing .venv, which was made with $(has).)
$(shell rm -rf .venv)
endif
endif

pythons = $(if $(PYTHON),"$(PYTHON)",python3 python3.13 python3.12 python3.11 python3.10 python3.9)

.venv/ready: requirements.txt going_further/requirements.txt tests/requirements.txt
	@for python in $(pythons); do if "$$python" support/python.py 2>/dev/null; then \
	echo "Making .venv with $$python, $$("$$python" -V)"; exec "$$python" -m venv .venv; fi; done; \
	set -- $(pythons); "$$1" support/python.py; \
	echo "Or add PYTHON=/path/to/python to this command." >&2; exit 1
	$(call install,.venv,requirements.txt)

.venv-tf1/ready: requirements-cpu.txt going_further/requirements.txt tests/requirements.txt
	@"$(or $(PYTHON),python3.6)" -c "import sys; sys.exit(sys.version_info[:2] != (3, 6))" 2>/dev/null || \
	{ echo "TensorFlow 1.0.0 needs Python 3.6: get it with 'pyenv install 3.6.15' or" \
	"'conda create -n py36 python=3.6', then add PYTHON=/path/to/python3.6 to this command." >&2; exit 1; }
	"$(or $(PYTHON),python3.6)" -m venv .venv-tf1
	@# Its own pip, 18.1, picks wheels that it can't install.
	.venv-tf1/bin/python -m pip install --quiet "pip==21.3.1"
	$(call install,.venv-tf1,requirements-cpu.txt)
