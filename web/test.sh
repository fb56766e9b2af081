#!/bin/sh
# Builds and tests what runs in a browser, in headless Chromium on SwiftShader. On Debian it first installs the browser
# and Node where they are missing; what cannot run is a failure.
set -eu
cd "$(dirname "$0")"
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
for program in chromium node npm; do
    if ! command -v "$program" >/dev/null; then
        [ "$program" = node ] && package=nodejs || package=$program
        as_root apt-get update
        as_root apt-get install -y --no-install-recommends "$package"
    fi
done

./build.sh
cargo fmt --check
if command -v rustup >/dev/null && rustup target list --installed | grep -q wasm32-unknown-unknown; then
    cargo clippy --locked --release --target wasm32-unknown-unknown -- -D warnings
fi
cd tests
npm ci --no-audit --no-fund
node --test --test-concurrency=1 --test-reporter=spec
