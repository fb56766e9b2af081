#!/bin/sh
# Builds the npm package (web/target/package) and the page (web/target/page).
set -eu
cd "$(dirname "$0")"
target=wasm32-unknown-unknown
tools=$PWD/target/tools

# rustup's target where it is or can be had; else Debian's compiler, which brings the standard library's source.
if command -v rustup >/dev/null && rustup target add "$target"; then
    cargo build --locked --release --target "$target"
else
    if ! [ -x /usr/bin/wasm-ld-19 ] || ! [ -d /usr/lib/rustlib/src ]; then
        as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
        as_root apt-get update
        as_root apt-get install -y --no-install-recommends rustc-web cargo-web rust-web-src lld-19
    fi
    RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=wasm-ld-19 \
        /usr/bin/cargo build --locked --release --target "$target" -Z build-std=std,panic_abort
fi

# The bindings' generator must be of the very version that was compiled in.
version=$(sed -n '/^name = "wasm-bindgen"$/{n;s/version = "\(.*\)"/\1/p;}' Cargo.lock)
if [ "$("$tools/bin/wasm-bindgen" --version 2>/dev/null)" != "wasm-bindgen $version" ]; then
    cargo install wasm-bindgen-cli --version "$version" --debug --root "$tools"
fi

rm -rf target/package target/page
mkdir -p target/package target/page
"$tools/bin/wasm-bindgen" --target web --out-name sepconv --out-dir target/package \
    "target/$target/release/sepconv_web.wasm"
# Binaryen makes it a fifth smaller, where it is there. With features that not every browser has it would write files that
# not every browser reads.
if command -v wasm-opt >/dev/null; then
    wasm-opt -Os --enable-bulk-memory --enable-multivalue --enable-mutable-globals --enable-nontrapping-float-to-int \
        --enable-reference-types --enable-sign-ext -o target/package/sepconv_bg.wasm target/package/sepconv_bg.wasm
fi
cp package/* ../LICENSE-MIT ../LICENSE-APACHE target/package/
cp page/* ../benches/shapes.json ../assets/astronaut.jpg ../assets/*.onnx target/package/sepconv.js target/package/pictures.js target/package/sepconv_bg.wasm target/page/
