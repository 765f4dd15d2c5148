# The two commands to know are `make demo` and `make test`; each sets everything up first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check format clean

demo: $(VENV)/installed-all
	$(BIN)/curate demo

test: $(VENV)/installed-test
	bash .ci/chromium.sh
	$(BIN)/curate models pull
	$(BIN)/pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder $(TESTS)

check: $(VENV)/installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/installed-test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(VENV)/installed-%: pyproject.toml constraints.txt
	sh .ci/venv.sh $(PYTHON) $(VENV) $*
	bash .ci/mongod.sh $(VENV)
	touch $@

clean:
	rm -rf $(VENV) demo build *.egg-info
