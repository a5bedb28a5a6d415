#!/usr/bin/env bash
# Install the oldest releases that pyproject.toml admits, in an environment of their own, and run
# the fast tests with them. What those need in turn is as new as they allow.
#
#   benchmarks/oldest.sh [arguments of pytest]
#
# With OLDEST_VENV=FOLDER the environment is kept there and used again. On Linux it downloads a
# PyTorch with CUDA, some 3 GB.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
venv=${OLDEST_VENV:-$work/venv}

# else a boto3 of 2014 is taken, which agrees with the newest python-dateutil and runs nowhere
echo "boto3>=1.35" >"$work/constraints.txt"
python3 -m venv "$work/uv"
"$work/uv/bin/pip" install --quiet uv
"$work/uv/bin/uv" venv --quiet --allow-existing --python "$(command -v python3)" "$venv"
"$work/uv/bin/uv" pip install --quiet --python "$venv/bin/python" --resolution lowest-direct \
  --constraint "$work/constraints.txt" --editable '.[test]'
"$work/uv/bin/uv" pip freeze --python "$venv/bin/python"
PATH="$venv/bin:$PATH" python -m pytest -m "not system and not browser and not gpu" "$@"
