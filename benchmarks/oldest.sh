#!/usr/bin/env bash
# Install the oldest releases that pyproject.toml admits, in an environment of their own, and run
# the fast tests with them. What those need in turn is as new as they allow.
#
#   benchmarks/oldest.sh [arguments of pytest]
#
# With OLDEST_VENV=FOLDER the environment is kept there and used again.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
venv=${OLDEST_VENV:-$work/venv}

python3 -m venv "$work/uv"
"$work/uv/bin/pip" install --quiet uv
"$work/uv/bin/uv" venv --quiet --allow-existing --python "$(command -v python3)" "$venv"
"$work/uv/bin/uv" pip install --quiet --python "$venv/bin/python" \
  --resolution lowest-direct --editable '.[test]'
"$work/uv/bin/uv" pip freeze --python "$venv/bin/python" | grep -i -f <(
  sed -n 's/^ *"\([A-Za-z0-9._-]*\).*>=.*",\{0,1\}$/^\1==/p' pyproject.toml
)
PATH="$venv/bin:$PATH" python -m pytest -m "not system and not browser and not gpu" "$@"
