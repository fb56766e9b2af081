#!/bin/sh
# Runs the tests. On Linux without a Vulkan driver it first installs a software one through the system's packages.
set -eu
cd "$(dirname "$0")"

# wgpu looks for a place to talk to a display; none is needed.
export XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-/tmp}"

# Asked with a test, because `cargo run` would compile `wgpu` once more: tests have a feature of it that the command has not.
cargo test --no-run --test device
device() { cargo test --quiet --test device a_context_has_all_of_its_adapter_that_kernels_use -- --nocapture 2>&1; }

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

if [ "$(uname)" = Linux ] && [ "${SEPCONV_TEST_GPU:-}" != skip ] && ! device >/dev/null; then
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

echo "test.sh: $(device | grep -E '^device:|^SEPCONV_TEST_GPU=skip')"
# More threads than cores: tests wait for each other while the driver compiles for one device.
RUST_TEST_THREADS="${RUST_TEST_THREADS:-4}" exec cargo test "$@"
