# make run and make test use the newest TensorFlow for your Python. make run-tf1 and make test-tf1
# use TensorFlow 1.0.0 on Python 3.6. The first call makes the virtual environment. Add
# PYTHON=/path/to/python to name a Python.

.NOTPARALLEL:  # because two measurements at the same time would slow each other down
.PHONY: run test run-tf1 test-tf1 benchmark trace pairs measured figures quotes cluster \
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
benchmark = .venv/bin/python -m benchmarks

# BENCHMARK_FLAGS=--quick shows that it works, and little more.
benchmark: .venv/ready
	mkdir -p $(into)
	@# First, because it fails if the folder contains other files.
	.venv/bin/python -m going_further.files.write --data_dir results/data
	$(benchmark) --json $(into)/benchmark.json $(BENCHMARK_FLAGS)
	$(benchmark) --over read_latency_ms --rounds 12 --json $(into)/read_latency.json $(BENCHMARK_FLAGS)
	$(benchmark) --over batch_size --rounds 12 --steps 15 --json $(into)/batch_size.json $(BENCHMARK_FLAGS)
	$(benchmark) --over capacity --rounds 12 --steps 40 --json $(into)/capacity.json $(BENCHMARK_FLAGS)
	$(benchmark) --over work --rounds 8 --steps 20 --json $(into)/numpy.json $(BENCHMARK_FLAGS)
	$(benchmark) --data_dir results/data --json $(into)/files.json $(BENCHMARK_FLAGS)
	$(benchmark) --data_dir results/data --read_latency_ms 3 --json $(into)/files_slow_disk.json \
	$(BENCHMARK_FLAGS)
	.venv/bin/python -m benchmarks.figures --dir $(into)

trace: .venv/ready
	mkdir -p $(into)
	.venv/bin/python -m benchmarks.trace --json $(into)/overlap.json
	.venv/bin/python -m benchmarks.trace --read_latency_ms 3 --json $(into)/overlap_slow_disk.json
	.venv/bin/python -m benchmarks.figures --dir $(into)

# PYTHONS=".venv/bin/python .venv-tf1/bin/python" names the Pythons to compare.
PYTHONS := .venv/bin/python

pairs: .venv/ready
	mkdir -p $(into)
	.venv/bin/python -m benchmarks.pairs --json $(into)/pairs.json $(PAIRS_FLAGS) $(PYTHONS)

# Measures everything that the pages quote again.
measured: .venv/ready
	$(MAKE) benchmark trace pairs into=benchmarks/results
	mkdir -p results
	rm -f results/run.jsonl
	(set -e; for script in 01_* 04_* 01_* 04_* 01_* 04_*; do echo "== $$script"; \
	.venv/bin/python $$script --timings results/run.jsonl; done; \
	for script in 01_* 04_*; do echo "== slow_$$script"; .venv/bin/python $$script \
	--read_latency_ms 3 --steps 1000 --timings results/run.jsonl; done; \
	echo "== seen"; .venv/bin/python -m support --timings results/run.jsonl; \
	for script in 02_* 03_*; do echo "== $$script"; .venv/bin/python $$script; done; \
	echo "== doctor_01"; .venv/bin/python doctor.py 01_* --steps 1000 --timings results/run.jsonl; \
	echo "== doctor_numpy"; PYTHONPATH=. .venv/bin/python doctor.py \
	going_further/numpy_training.py --input feed_dict --steps 300 --timings results/run.jsonl; \
	echo "== doctor_02"; .venv/bin/python doctor.py --give_up 02_* --patience 0 || test $$? = 3) \
	> results/run.txt 2>&1 || { tail results/run.txt; exit 1; }
	mv results/run.txt benchmarks/results
	$(MAKE) figures quotes into=benchmarks/results

figures: .venv/ready
	.venv/bin/python -m benchmarks.figures --dir $(into)

# Writes the results into the pages.
quotes: .venv/ready
	.venv/bin/python -m cogapp -r -I . README.md docs/measurements.md docs/your_own_data.md \
	docs/troubleshooting.md

# CLUSTER_FLAGS="--steps 5000" passes flags to the script.
cluster: .venv/ready
	.venv/bin/python -m going_further.distributed_training $(CLUSTER_FLAGS)

lint: .venv/ready
	.venv/bin/python -m ruff check .
	.venv/bin/python -m ruff format --check .
	.venv/bin/python -m codespell_lib . .ci/* .github/*/*

clean:
	rm -rf .venv .venv-tf1

define run_scripts
$(1)/bin/python 01_feed_dict_baseline.py
@echo
$(1)/bin/python 02_queue_hang_demo.py
@echo
$(1)/bin/python 03_queue_runner_demo.py
@echo
$(1)/bin/python 04_queue_pipeline_training.py
@echo
@echo "01 and 04 again, with a latency of 3 ms per read, as on a slow disk:"
@echo
$(1)/bin/python 01_feed_dict_baseline.py --read_latency_ms 3 --steps 1000
@echo
$(1)/bin/python 04_queue_pipeline_training.py --read_latency_ms 3 --steps 1000
@echo
@$(1)/bin/python -m support
endef

# Several tests run at a time (tests/conftest.py sets how many). One process runs an xdist_group.
pytest = $(1)/bin/python -m pytest -n auto --dist loadgroup tests

# PYTHON counts only if it is typed in the make command, because shells may set it, too.
python := $(if $(filter command,$(origin PYTHON)),$(PYTHON))

.venv/ready: FORCE
	@sh support/environment.sh .venv requirements.txt "$(python)"

.venv-tf1/ready: FORCE
	@sh support/environment.sh .venv-tf1 requirements-cpu.txt "$(python)"
