# Every task of this tree. `demo`, `test` and `bench` set up by themselves what they need, and need root for it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.NOTPARALLEL:
.DEFAULT_GOAL := help
.PHONY: help demo test lint bench campaign sabotage clean root packages tested-with setup mysql
MAKEFLAGS += --no-print-directory

export DEBIAN_FRONTEND := noninteractive
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# pip would warn that root installs, and the virtual environment is made for that
export PIP_ROOT_USER_ACTION := ignore
unexport PYTHONPATH PYTHONHOME

PYTHON := /usr/bin/python3
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := mariadb-server mariadb-client keepalived nftables debootstrap iproute2 iputils-ping procps \
            python3-venv systemd tcpdump util-linux
TESTED_WITH := chromium openssl systemd-container prometheus prometheus-alertmanager
SHIPPED := $(shell find vipguard keepalived systemd prometheus -type f -not -name '*.pyc') setup.cfg pyproject.toml LICENSE

help:  ## list the tasks
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## */\1\t/' | while IFS=$$'\t' read -r task what; do
		printf '  make %-7s %s\n' "$$task" "$$what"
	done

demo: root setup  ## fail a writer over on real servers in network namespaces, and see it rejoin
	@mkdir -p build
	$(BIN)/vipguard lab demo --svg build/failover.svg

# The clusters wait for real programs most of the time, so three streams run side by side; what the other two printed
# comes at the end. Each has one shared cluster at a time, and the tests with clusters of their own are shared out.
# What failed while the streams kept the machine busy, and broke no law, is judged last, when nothing else runs.
APART := $(patsubst %,tests/lab/test_%.py,cli_in_a_lab doctor lab_itself migration prometheus readers rejoin_discard replicas setup)
PYTEST := env --default-signal=INT $(BIN)/pytest --durations=25

test: root setup tested-with mysql lint  ## lint, then every test, those on real servers too
	@mysql=$$(mktemp) rest=$$(mktemp) left=$$(mktemp) codes=
	trap 'rm -f "$$mysql" "$$rest" "$$left"' EXIT
	$(PYTEST) --left-to "$$left" -p no:cacheprovider --flavor mysql $(addprefix --ignore=,$(APART)) tests/lab >"$$mysql" 2>&1 &
	second=$$!
	$(PYTEST) --left-to "$$left" -p no:cacheprovider --flavor mysql \
		tests/unit tests/sim tests/behaviour tests/integration tests/packaging $(APART) >"$$rest" 2>&1 &
	third=$$!
	$(PYTEST) --left-to "$$left" --flavor mariadb tests/lab || codes+=$$?
	wait $$second || codes+=$$?
	wait $$third || codes+=$$?
	cat "$$mysql" "$$rest"
	mapfile -t tests <"$$left"
	[ $${#tests[@]} = 0 ] || $(PYTEST) "$${tests[@]}" || codes+=$$?
	[ -z "$$codes" ]

lint: setup  ## ruff, mypy and the contracts of the rooms
	@$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: root setup mysql  ## measure outages, processor time and memory beside plain keepalived
	@$(BIN)/python -P bench/run.py

SEEDS := 50000
MINUTES := inf
campaign: setup  ## play SEEDS=50000 seeds of the simulator, or MINUTES of it; the figures go to docs/reliability.md
	@cd tests
	../$(BIN)/python -m sim.campaign --seeds $(SEEDS) --minutes $(MINUTES) --write ../docs/reliability.md

sabotage: setup  ## break a copy of vipguard in each of some 30 ways, and see the simulator notice it; the table goes to docs/reliability.md
	@cd tests
	../$(BIN)/python -m sim.sabotage --write ../docs/reliability.md

clean:  ## remove what was built here; the cached MySQL in /var/cache/vipguard-lab stays
	@rm -rf build dist ./*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage*
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
	[ ! -L $(VENV) ] || rm -rf "$$(readlink $(VENV))"
	rm -rf $(VENV)

root:
	@if [ "$$(id -u)" != 0 ]; then
		echo "make $(or $(MAKECMDGOALS),test) needs root: it installs Debian packages and makes network namespaces." >&2
		exit 1
	fi

# Only what is missing is installed, and no service that this installs is started or enabled: the lab starts its own.
packages: NEEDED := $(PACKAGES)
tested-with: NEEDED := $(TESTED_WITH)
packages tested-with:
	@missing=$$(for name in $(NEEDED); do
		dpkg-query -W -f '$${db:Status-Status}' $$name 2>/dev/null | grep -qx installed || echo $$name
	done)
	if [ -n "$$missing" ]; then
		echo "installing Debian packages:" $$missing
		[ "$$(id -u)" = 0 ] || { echo "this needs root" >&2; exit 1; }
		if [ ! -e /usr/sbin/policy-rc.d ]; then
			trap 'rm -f /usr/sbin/policy-rc.d' EXIT
			printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
			chmod 755 /usr/sbin/policy-rc.d
		fi
		apt-get update -qq
		apt-get install -y -qq --no-install-recommends --no-remove $$missing >/dev/null
		for service in mariadb keepalived prometheus prometheus-alertmanager; do
			case " $$(echo $$missing) " in *" $$service"[\ -]*) systemctl disable --quiet $$service 2>/dev/null || true ;; esac
		done
	fi

# keepalived runs root's scripts only below directories that root alone can write. Where this tree is not below such
# ones (a clone in /tmp or in somebody's home), the environment lives in /var/cache, and .venv points there.
$(BIN)/pip: | packages
	@umask 022
	place=$(VENV)
	part=$$PWD
	if [ "$$(id -u)" = 0 ] && [ ! -e $(VENV) ]; then
		rm -f $(VENV)
		while :; do
			if [ -L "$$part" ] || [ -n "$$(find "$$part" -maxdepth 0 \( -not -uid 0 -o -perm /022 \))" ]; then
				place=/var/cache/vipguard-lab/venv-$$(pwd -P | cksum | cut -d' ' -f1)
			fi
			[ "$$part" != / ] || break
			part=$$(dirname "$$part")
		done
	fi
	mkdir -p "$$(dirname "$$place")"
	$(PYTHON) -m venv "$$place"
	[ "$$place" = $(VENV) ] || ln -s "$$place" $(VENV)

$(VENV)/.requirements: setup.cfg pyproject.toml | $(BIN)/pip
	@umask 022
	echo "installing Python packages into $$(realpath $(VENV))"
	$(BIN)/pip install -q --upgrade 'setuptools>=70.1'
	rm -rf build
	$(BIN)/pip install -q --no-build-isolation '.[dev]'
	touch $@

# Not editable: the wrappers and units are shipped with the package, and the tests run what is shipped.
$(VENV)/.installed: $(VENV)/.requirements $(SHIPPED)
	@umask 022
	rm -rf build
	$(BIN)/pip install -q --no-build-isolation --no-deps --force-reinstall .
	rm -rf build vipguard.egg-info
	touch $@

setup: packages $(VENV)/.installed

# Once into /var/cache/vipguard-lab, so that no test waits for it.
mysql: setup
	@$(BIN)/python -P -c 'from vipguard.lab import templates; templates.mysql_template(print)'
