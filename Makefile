# Every target makes .venv by itself; the second time it is already there. Paths are relative, so a
# checkout whose path has a space in it works.
PYTHON ?= python3
VENV_PYTHON := .venv/bin/python
STAMP := .venv/.installed

.PHONY: demo demo-ps test test-all lint validate upstream clean
.DEFAULT_GOAL := test

$(STAMP): setup.cfg pyproject.toml
	@if command -v uv >/dev/null 2>&1; then \
	  uv venv --quiet --allow-existing --python $(PYTHON) .venv && \
	  uv pip install --quiet --python $(VENV_PYTHON) -e '.[test,recipes,lint]'; \
	else \
	  $(PYTHON) -m venv .venv && \
	  $(VENV_PYTHON) -m pip install --quiet --disable-pip-version-check -e '.[test,recipes,lint]'; \
	fi
	@touch $@

# Once, before workers and tests with time limits need them. Without a C++ compiler the reference is used.
OPS := .venv/.native-ops
$(OPS): $(STAMP) $(wildcard tfdml/native/*.cc tfdml/native/*.h tfdml/native/kernels/*)
	-$(VENV_PYTHON) -m tfdml.cli.main build-ops
	@touch $@

demo: $(OPS)
	$(VENV_PYTHON) -m tfdml.cli.main launch --workers=2 recipes/train_image_classifier.py \
	  --config=configs/image_classifier/multi_worker.yaml --model_dir=runs/demo

demo-ps: $(OPS)
	$(VENV_PYTHON) -m tfdml.cli.main launch --workers=2 --ps=2 recipes/train_recommender.py \
	  --config=configs/recommender/parameter_server.yaml --model_dir=runs/demo-ps

test: $(OPS)
	$(VENV_PYTHON) -m pytest -m "not slow"

test-all: $(OPS)
	$(VENV_PYTHON) -m pytest

lint: $(STAMP)
	$(VENV_PYTHON) -m ruff check .
	$(VENV_PYTHON) -m ruff format --check .
	$(VENV_PYTHON) -m mypy
	.venv/bin/lint-imports

# The files that `tfdml cluster` writes, against the schemas of those who read them: in an environment of
# its own, with the extra `validate` of setup.cfg and without tfdml.
VALIDATE_STAMP := .venv-validate/.installed
VALIDATE_PACKAGES := import configparser; setup = configparser.ConfigParser(); \
  setup.read('setup.cfg'); print(setup['options.extras_require']['validate'])
$(VALIDATE_STAMP): setup.cfg
	@mkdir -p .venv-validate
	@$(PYTHON) -c "$(VALIDATE_PACKAGES)" > .venv-validate/packages.txt
	@if command -v uv >/dev/null 2>&1; then \
	  uv venv --quiet --allow-existing --python $(PYTHON) .venv-validate && \
	  uv pip install --quiet --python .venv-validate/bin/python -r .venv-validate/packages.txt; \
	else \
	  $(PYTHON) -m venv .venv-validate && \
	  .venv-validate/bin/python -m pip install --quiet --disable-pip-version-check \
	    -r .venv-validate/packages.txt; \
	fi
	@touch $@

validate: $(STAMP) $(VALIDATE_STAMP)
	$(VENV_PYTHON) -m pytest tests/deploy/test_validate.py

# The pinned defects and private names, against the newest nightly Keras in an environment of its own:
# what fails here, upstream has fixed or changed.
NIGHTLY_PYTHON := .venv-nightly/bin/python
upstream:
	$(PYTHON) -m venv .venv-nightly
	$(NIGHTLY_PYTHON) -m pip install --quiet --disable-pip-version-check -e '.[test,recipes]'
	$(NIGHTLY_PYTHON) -m pip uninstall --quiet --yes keras
	$(NIGHTLY_PYTHON) -m pip install --quiet --disable-pip-version-check --pre --upgrade \
	  --force-reinstall --no-deps keras-nightly
	$(NIGHTLY_PYTHON) -m pytest --continue-on-collection-errors tests/upstream \
	  tests/optimizers/test_keras_private.py tests/training/test_keras_private.py \
	  tests/strategies/test_virtual_devices.py

clean:
	rm -rf .venv .venv-nightly .venv-validate build dist runs *.egg-info .pytest_cache .mypy_cache .ruff_cache
