# Every target works from a fresh clone with Python 3.11, make and the package registries.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
PROMETHEUS ?= v0.315.0
VICTORIA ?= v1.150.0
GO_BUILD ?= nice go build -p 1

.PHONY: up test p2p check bench bench-peers peer-prometheus peer-victoria web web-test proto wheel clean

up: $(VENV)/.run web  ## install into .venv and watch this machine
	$(BIN)/peerwatch up $(ARGS)

test: $(VENV)/.dev  ## everything that runs without servers of others, 8 to 16 minutes; -rs names what was left out
	$(BIN)/python -m pytest -rs -m "not browser and not servers and not chaos" $(ARGS)

p2p: $(VENV)/.p2p  ## add libp2p, without a compiler: docs/decisions/0012; make test then runs the tests of the node too

check: $(VENV)/.dev  ## lint, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	MYPYPATH=src $(BIN)/mypy -p peerwatch
	$(BIN)/lint-imports

bench: $(VENV)/.dev  ## compare with Prometheus and VictoriaMetrics: docs/benchmarks.md
	$(BIN)/python -m bench $(ARGS)

bench-peers: peer-prometheus peer-victoria  ## recent servers to compare with: then PEERWATCH_BENCH_BIN=.env/peers make bench

peer-prometheus:  ## build the Prometheus that tests/differential and bench compare with (needs Go, 11 min)
	mkdir -p .env/peers .env/peers-prometheus
	cd .env/peers-prometheus && (test -f go.mod || go mod init peers/prometheus) && \
		GOFLAGS=-mod=mod go get github.com/prometheus/prometheus/cmd/prometheus@$(PROMETHEUS) && \
		GOFLAGS=-mod=mod $(GO_BUILD) -o ../peers/prometheus github.com/prometheus/prometheus/cmd/prometheus

peer-victoria:  ## build the VictoriaMetrics that bench compares with (needs Go)
	mkdir -p .env/peers .env/peers-victoria
	cd .env/peers-victoria && (test -f go.mod || go mod init peers/victoria) && \
		go mod edit -require=github.com/VictoriaMetrics/VictoriaMetrics@$(VICTORIA) && \
		GOFLAGS=-mod=mod $(GO_BUILD) \
		-ldflags "-X github.com/VictoriaMetrics/VictoriaMetrics/lib/buildinfo.Version=victoria-metrics-$(VICTORIA)" \
		-o ../peers/victoria-metrics github.com/VictoriaMetrics/VictoriaMetrics/app/victoria-metrics

web: $(VENV)/.run  ## build the page into the package
	$(BIN)/python web/build.py $(ARGS_WEB)

web-test: $(VENV)/.run  ## types and unit tests of the page's own source
	$(BIN)/python web/build.py --test

wheel: $(VENV)/.dev  ## a wheel with the page in it
	$(BIN)/python web/build.py --strict
	$(BIN)/python -m build --no-isolation --wheel --sdist

proto:  ## wire/*.proto to Python (protobuf 6 and 7 can read it)
	$(PYTHON) -m venv .env/proto
	.env/proto/bin/pip install --quiet "grpcio-tools==1.73.1" "setuptools<81"
	.env/proto/bin/python -m grpc_tools.protoc -Isrc/peerwatch/wire --python_out=src/peerwatch/wire \
		--pyi_out=src/peerwatch/wire schema.proto remote.proto

$(VENV)/.created:
	$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] <= (3, 13) else \
		"peerwatch needs Python 3.11 to 3.13, this is %d.%d: make PYTHON=python3.11" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.run: $(VENV)/.created pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

# pip holds every package to what libp2p's metadata says unless libp2p itself comes without its dependencies.
LIBP2P = $(shell sed -n 's/^p2p = \["\(libp2p==[^"]*\)".*/\1/p' pyproject.toml)
$(VENV)/.p2p: $(VENV)/.run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[p2p-wheels]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps '$(LIBP2P)'
	touch $@

clean:  ## remove everything that was made
	rm -rf $(VENV) .env dist build web/node_modules web/.node src/peerwatch/dashboard/static
