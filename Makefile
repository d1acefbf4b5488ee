# The commands for developers and CI. `make test` needs Rust, a C toolchain and Python 3. It downloads only crates and the packages of
# bindings/python/requirements-dev.txt.

.PHONY: test gpu-test python wheel lint slow demo-federation reference torture fuzz audit paper paper-whole

test:
	cargo test --locked --release --workspace
	bindings/python/make.sh

# .venv/bin/python with `import effgan`, and the Python tests. PYTHON=python3.12 makes .venv from another Python.
python:
	bindings/python/make.sh

# Networks on a GPU, or on a CPU that acts as one: docs/devices.md.
gpu-test:
	scripts/gpu_test.sh

# The wheel for release, in target/wheels; with GPU=1 it has GPUs. It compiles everything again, since maturin builds one package by itself.
wheel:
	cd bindings/python && ../../.venv/bin/maturin build --locked --release $(if $(GPU),--features gpu) --target-dir ../../target

lint:
	cargo fmt --all --check
	python3 scripts/imports.py --check
	cargo clippy --locked --release --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --release --workspace --no-deps

# MINUTES of fuzzing per target, for all targets or those in TARGETS: CONTRIBUTING.md. Needs `cargo install cargo-fuzz --locked`.
MINUTES = 10
fuzz:
	python3 scripts/fuzz.py --minutes $(MINUTES) $(TARGETS)

# Figures that take too long for a test; README, docs/reliability.md and docs/bad-clients.md have them. DATA is a folder with mnist/ and fashion-mnist/ in IDX files.
slow:
	EFFGAN_DATA=$(abspath $(DATA)) cargo test --locked --release --workspace -- --ignored
	.venv/bin/pip install --quiet --require-hashes --no-deps --requirement bindings/python/simulation.lock
	bindings/python/make.sh -m slow -s
	FLWR=1.42.0 bindings/python/make.sh -m "slow or not slow" $(addprefix tests/test_,executor.py federation_check.py federation_isolation.py federation_kit.py federation_setup.py federation_start.py flower.py flower_faults.py flower_strategies.py one_way_out.py pulling.py records.py strategy.py wire.py)
	cargo build --locked --release
	python3 scripts/tables.py drift --data $(DATA) --out runs/tables
	python3 scripts/tables.py algorithms --data $(DATA) --out runs/tables
	python3 scripts/tables.py poison --out runs/tables

# A server and three sites with TLS and node identity on this machine train the quick start, to the simulation's hash: docs/deploy.md.
demo-federation:
	cargo build --locked --release --workspace
	PYTHON_TESTS=none bindings/python/make.sh
	.venv/bin/python scripts/demo_federation.py

# How much of the work to share, coarse: one seed of the splits that matter in all places of docs/results, 192 runs. DATA as above; run again, it resumes.
paper:
	cargo build --locked --release
	EFFGAN_DATA=$(abspath $(DATA)) target/release/effgan sweep configs/paper/seeds.sweep.toml --seeds 11
	python3 scripts/share_map.py gains

# All of docs/results: five seeds, every share, the paper's numbers of local epochs, other totals of work and moving averages.
paper-whole: paper
	export EFFGAN_DATA=$(abspath $(DATA)); for sweep in seeds cyclic share epochs total ema; do \
	    target/release/effgan sweep configs/paper/$$sweep.sweep.toml || exit; done
	python3 scripts/share_map.py gains
	python3 scripts/share_map.py one-seed

# Computes every reference number of the tests again from the Python packages that gave them. Takes minutes, 6 GB of memory and 6 GB of disk.
reference:
	scripts/reference/run.sh

# Kills runs 200 times (KILLS=…) and compares each with an uninterrupted run: docs/reliability.md.
KILLS = 200
torture:
	EFFGAN_KILLS=$(KILLS) cargo test --locked --release --workspace --test resume -- --include-ignored --nocapture kill

# Checks licences, sources and known advisories of everything that is compiled in.
audit:
	scripts/audit.sh
