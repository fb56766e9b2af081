#!/usr/bin/env python3
"""What NVIDIA's assembler makes of every shader for an H100 (sm_90), as a table, without a GPU.

    tools/nvidia/setup.sh TOOLS                                                 # once: what this needs
    cargo run --manifest-path tools/Cargo.toml -- msl SHADERS                   # naga's Metal text of every variant
    tools/nvidia/sm_90.py TOOLS SHADERS > benches/results/sm_90.csv

naga's Metal text, clang 16, ptxas: this is not NVIDIA's Vulkan compiler. Nothing is run, and nothing is said of time.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
HEAD = ("variant,registers,spilled bytes,stack bytes,instructions,instructions of the main loop,"
        "multiply-adds of the main loop,share of multiply-adds,instructions of the loop behind it")

# Where Metal's text has what CUDA has as registers.
PLACES = {
    "threadgroup_position_in_grid": "{{(uint)__nvvm_read_ptx_sreg_ctaid_x(), (uint)__nvvm_read_ptx_sreg_ctaid_y(), "
                                    "(uint)__nvvm_read_ptx_sreg_ctaid_z()}}",
    "thread_position_in_threadgroup": "{{(uint)__nvvm_read_ptx_sreg_tid_x(), (uint)__nvvm_read_ptx_sreg_tid_y(), "
                                      "(uint)__nvvm_read_ptx_sreg_tid_z()}}",
    # Only of workgroups along x.
    "thread_position_in_grid": "{{(uint)__nvvm_read_ptx_sreg_ctaid_x() * {width} + (uint)__nvvm_read_ptx_sreg_tid_x(), "
                               "(uint)__nvvm_read_ptx_sreg_ctaid_y(), (uint)__nvvm_read_ptx_sreg_ctaid_z()}}",
    "thread_index_in_threadgroup": "(uint)__nvvm_read_ptx_sreg_tid_x()",
}


def to_cuda(metal, workgroup):
    """Metal's text as CUDA's: the kernel's arguments, how vectors are made, and literals."""
    text = re.sub(r"#include.*\n|using metal::uint;", "", metal)
    text = re.sub(r"\[\[max_total_threads_per_threadgroup\(\d+\)\]\] *", "", text)
    head = re.search(r"kernel void \w+\(\n(.*?)\n\) \{\n", text, re.S)
    arguments, first = [], []
    for argument in re.split(r"\n, ", head[1].strip()):
        place = re.search(r"\[\[(\w+)(?:\(\w+\))?\]\]", argument)
        argument = re.sub(r"\s*\[\[.*?\]\]", "", argument)
        if argument.startswith("threadgroup"):
            first.append("static __attribute__((shared)) " + argument.replace("threadgroup ", "").replace("&", "") + ";")
        elif place and place[1] in PLACES:
            first.append(f"const {argument} = " + PLACES[place[1]].format(width=workgroup[0]) + ";")
        elif argument.startswith("constant"):
            # A uniform is where arguments are.
            arguments.append(argument.replace("constant ", "const ").replace("&", ""))
        else:
            arguments.append(argument.replace("device ", "").replace("&", "& __restrict__"))
    size = workgroup[0] * workgroup[1] * workgroup[2]
    kernel = (f'extern "C" __attribute__((global)) __attribute__((launch_bounds({size}))) void shader('
              + ", ".join(arguments) + ") {\n" + "\n".join(first) + "\n")
    text = text[: head.start()] + kernel + text[head.end():]
    text = re.sub(r"static_cast<(metal::\w+[234])>\(", r"converted<\1>(", text)
    text = re.sub(r"(metal::(?:float|uint|int|bool)[234])\(", r"metal::make<\1>(", text)
    text = re.sub(r"(?<![\w.])(\d+\.\d*(?:[eE][-+]?\d+)?)(?![\w.])", r"\1f", text)
    return '#include "metal.h"\n' + text


def counted(listing):
    """All instructions, and those and the multiply-adds of the main loop: the one with the most multiply-adds, the inner one of two
    around each other. And those of a loop behind it, the inner one of two."""
    code, labels = [], {}
    for line in listing.splitlines():
        if label := re.match(r"\s*(\.L_x_\d+):", line):
            labels[label[1]] = len(code)
        elif instruction := re.match(r"\s+/\*[0-9a-f]+\*/\s+(.*?);", line):
            code.append(re.sub(r"^@!?U?P\w+\s+", "", instruction[1].strip()))
    loops, others = [], []
    for place, instruction in enumerate(code):
        target = re.match(r"BRA.*`\((\.L_x_\d+)\)", instruction)
        if target and labels.get(target[1], len(code)) <= place:
            body = code[labels[target[1]]: place + 1]
            multiply_adds = sum(name.startswith("FFMA") for name in body)
            # An endless loop to itself only fills the last line.
            if multiply_adds:
                loops.append((multiply_adds, -len(body), place))
            elif len(body) > 1:
                others.append((place, len(body)))
    multiply_adds, length, end = max(loops, default=(0, 0, len(code)))
    behind = min((length for place, length in others if place > end), default=0)
    return len(code), -length, multiply_adds, behind


class Compiler:
    def __init__(self, tools):
        root = Path(tools).resolve()
        self.clang = root / "clang/usr/lib/llvm-16/bin/clang++"
        self.ptxas = root / "nvidia/nvidia/cuda_nvcc/bin/ptxas"
        self.nvdisasm = root / "nvidia/triton/backends/nvidia/bin/nvdisasm"
        for tool in (self.clang, self.ptxas, self.nvdisasm):
            if not tool.exists():
                sys.exit(f"{tool} is not there; tools/nvidia/setup.sh FOLDER makes such a folder")
        libraries = [str(root / "clang/usr/lib/x86_64-linux-gnu"), str(root / "clang/usr/lib/llvm-16/lib")]
        self.environment = {**os.environ, "LD_LIBRARY_PATH": ":".join(libraries)}

    def run(self, name, *command):
        done = subprocess.run([str(word) for word in command], env=self.environment, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{name}: {' '.join(map(str, command))}\n{done.stderr}")
        return done

    def version(self):
        said = self.run("ptxas", self.ptxas, "--version").stdout
        return re.search(r"release \S+, V(\S+)", said)[1]

    def row(self, shader, folder):
        with tempfile.TemporaryDirectory() as work:
            work, name = Path(work), shader["name"]
            (work / "shader.cu").write_text(to_cuda((folder / shader["file"]).read_text(), shader["workgroup"]))
            flags = "-x cuda --cuda-device-only --cuda-gpu-arch=sm_90 -nocudainc -nocudalib -O3 -S -std=c++17 -w -fno-math-errno"
            self.run(name, self.clang, *flags.split(), "-I", HERE, work / "shader.cu", "-o", work / "shader.ptx")
            said = self.run(name, self.ptxas, "-arch=sm_90", "-v", work / "shader.ptx", "-o", work / "shader.cubin").stderr
            registers = int(re.search(r"Used (\d+) registers", said)[1])
            stack, stores, loads = map(int, re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads",
                                                      said).groups())
            listing = self.run(name, self.nvdisasm, "-c", work / "shader.cubin").stdout
            total, length, multiply_adds, behind = counted(listing)
            loop = f"{length},{multiply_adds},{multiply_adds / length:.2f},{behind or ''}" if length else ",,,"
            return f"{name},{registers},{stores + loads},{stack},{total},{loop}"


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    compiler, folder = Compiler(sys.argv[1]), Path(sys.argv[2])
    shaders = json.loads((folder / "index.json").read_text())

    def row(shader):
        try:
            return compiler.row(shader, folder), None
        except RuntimeError as error:
            return None, error

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        rows, errors = zip(*pool.map(row, shaders))
    if any(errors):
        sys.exit("\n".join(str(error) for error in errors if error))
    print(f"# sm_90, ptxas {compiler.version()}, clang 16\n{HEAD}")
    print("\n".join(sorted(rows)))


main()
