#!/bin/sh
# Runs the tests. On Linux without a Vulkan driver it first installs a software one through the system's packages.
set -eu
cd "$(dirname "$0")"

# wgpu looks for a place to talk to a display; none is needed.
export XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-/tmp}"

has_adapter() { cargo run --quiet -- devices --json | grep -q '"name"'; }

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

if [ "$(uname)" = Linux ] && [ "${SEPCONV_TEST_GPU:-}" != skip ] && ! has_adapter; then
    echo "test.sh: no Vulkan driver answers; installing Mesa's software driver (llvmpipe)"
    if command -v apt-get >/dev/null; then
        as_root apt-get update
        as_root apt-get install -y --no-install-recommends libvulkan1 mesa-vulkan-drivers
    elif command -v dnf >/dev/null; then
        as_root dnf install -y vulkan-loader mesa-vulkan-drivers
    elif command -v pacman >/dev/null; then
        as_root pacman -Sy --noconfirm vulkan-icd-loader vulkan-swrast
    elif command -v zypper >/dev/null; then
        as_root zypper --non-interactive install libvulkan1 libvulkan_lvp
    elif command -v apk >/dev/null; then
        as_root apk add vulkan-loader mesa-vulkan-swrast
    else
        echo "test.sh: no package manager that it knows; install a Vulkan driver by hand" >&2
        exit 1
    fi
fi

echo "test.sh: the adapters are"
cargo run --quiet -- devices | grep -E '^[^ ]|^  driver|^No adapter'
exec cargo test "$@"
