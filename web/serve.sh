#!/bin/sh
# Builds the page and serves it on this machine: web/serve.sh [PORT]
set -eu
cd "$(dirname "$0")"
./build.sh
echo "the page: http://localhost:${1:-8000}/ (end with Ctrl-C)"
exec python3 -m http.server "${1:-8000}" --bind 127.0.0.1 --directory target/page
