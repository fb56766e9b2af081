#!/bin/bash
# Puts into a folder what sm_90.py needs: NVIDIA's assembler and disassembler from PyPI's wheels, and clang 16 from Debian 12. None of
# it is installed on the system, and none of it belongs into the repository: NVIDIA's parts have a licence of their own.
#
#     tools/nvidia/setup.sh FOLDER
set -euo pipefail
if [ $# -ne 1 ]; then echo "usage: $0 FOLDER" >&2; exit 2; fi
mkdir -p "$1/wheels" "$1/packages"
cd "$1"
# Of triton only nvdisasm is used.
python3 -m pip download --quiet --no-deps --dest wheels nvidia-cuda-nvcc-cu12==12.9.86 triton==3.9.0
for wheel in wheels/*.whl; do unzip -qo "$wheel" -d nvidia; done
chmod +x nvidia/nvidia/cuda_nvcc/bin/ptxas nvidia/triton/backends/nvidia/bin/nvdisasm
(cd packages && apt-get download --quiet clang-16 libclang-cpp16 libllvm16 libclang-common-16-dev libclang1-16)
for package in packages/*.deb; do dpkg-deb -x "$package" clang; done
echo "$1 has what sm_90.py needs"
