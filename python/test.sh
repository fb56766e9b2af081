#!/bin/sh
# Installs the package into a virtual environment, target/environment, as a user does, and runs its tests there. On Debian it
# first installs what Python lacks for that.
set -eu
cd "$(dirname "$0")"
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    as_root apt-get update
    as_root apt-get install -y --no-install-recommends python3 python3-venv
fi
export XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-/tmp}"

python3 -m venv target/environment
target/environment/bin/pip install --quiet '.[ray,test]'
cargo fmt --check
cargo clippy --locked --all-targets -- -D warnings
target/environment/bin/python -m pytest --durations=3 "$@"
