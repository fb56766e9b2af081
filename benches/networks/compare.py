"""Whole networks beside peers on one Vulkan device: sepconv, ncnn's Vulkan, LiteRT's WebGPU and, as a yardstick,
onnxruntime's CPU.

    python compare.py SEPCONV NETWORKS [--rounds N] [--only NAME ...] [--peers ncnn litert] [--tflite FOLDER]

SEPCONV is the command-line program, NETWORKS a folder with models/NAME.onnx and golden/NAME.safetensors, FOLDER one with
npm's packages @mediapipe/…, which have two of the networks for LiteRT.
Prints a Markdown table. README.md beside this file says what is counted.
"""

import argparse
import importlib.metadata
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WORK = tempfile.TemporaryDirectory()
# Caches start empty, so that first runs are first ones. Set before the driver is loaded.
os.environ["XDG_CACHE_HOME"] = WORK.name + "/cache"

import numpy as np  # noqa: E402
import onnx  # noqa: E402
import onnxruntime  # noqa: E402
from safetensors.numpy import load_file, save_file  # noqa: E402

NETWORKS = {
    "efficientnet_lite0": 224,
    "selfie_segmentation": 256,
    "blazeface_short": 128,
    "centerface": 512,
    "ppocrv4_det": 512,
}
TFLITE = {
    "selfie_segmentation": "selfie_segmentation/selfie_segmentation.tflite",
    "blazeface_short": "face_detection/face_detection_short_range.tflite",
}
# What each peer is called in PyPI.
PACKAGES = {"ncnn": ["ncnn", "pnnx"], "litert": ["ai-edge-litert"]}
CPU = "onnxruntime CPU"
SLICE = 1.0  # Seconds a peer is measured for in each round, and at least two runs. sepconv's own slice is as long.


def golden_input(path, size):
    """The input of the golden file, repeated and cut to size x size."""
    given = next(value for name, value in load_file(path).items() if name.startswith("input:"))
    times = [-(-size // length) for length in given.shape[2:]]
    return np.ascontiguousarray(np.tile(given, (1, 1, *times))[:, :, :size, :size])


def restate(source, target, shape):
    """The model with the input's shape as given: one of them declares another, and pnnx and onnxruntime obey it."""
    model = onnx.load(source)
    graph = model.graph
    del graph.value_info[:]
    weights = {weight.name for weight in graph.initializer}
    value = next(value for value in graph.input if value.name not in weights)
    value.CopyFrom(onnx.helper.make_tensor_value_info(value.name, onnx.TensorProto.FLOAT, shape))
    for output in graph.output:
        output.type.tensor_type.ClearField("shape")
    onnx.save(model, target)
    return value.name, [output.name for output in graph.output]


def repeat(run):
    """Milliseconds of each run, for a slice of time."""
    times, end = [], time.perf_counter() + SLICE
    while len(times) < 2 or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        times.append((time.perf_counter() - start) * 1e3)
    return times


class Sepconv:
    """A process for each round, as `sepconv run` measures itself. Its smallest is its tenth percentile."""

    def __init__(self, program, model, values, names):
        self.out, given = model.parent / "out.safetensors", model.parent / "in.safetensors"
        save_file({names[0]: values}, given)
        self.command = [program, "run", model, given, "--out", self.out, "--time", "--json"]
        self.first, self.medians, self.smallest, self.names = [], [], [], names[1]

    def round(self):
        done = json.loads(subprocess.run(self.command, check=True, capture_output=True).stdout)
        self.first.append(done["first_ms"])
        self.medians.append(done["median_ms"])
        self.smallest.append(done["p10_ms"])
        self.device = done["device"]

    def outputs(self):
        values = load_file(self.out)
        return [values[name] for name in self.names]


class InProcess:
    """A peer: its net is made twice, to time its first runs, and kept for all rounds."""

    def __init__(self, make):
        self.first, self.medians, self.smallest = [], [], []
        for _ in range(2):
            self.run = None
            start = time.perf_counter()
            self.run = make()
            self.run()
            self.first.append((time.perf_counter() - start) * 1e3)

    def round(self):
        times = repeat(self.run)
        self.medians.append(statistics.median(times))
        self.smallest.append(min(times))

    def outputs(self):
        return self.run()


def with_ncnn(model, values, outputs, half):
    """ncnn on Vulkan. A run takes values from an array and gives arrays, so both ways of the copies are counted."""
    import ncnn

    def make():
        net = ncnn.Net()
        net.opt.use_vulkan_compute = True
        if not half:
            net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
        assert net.load_param(str(model.with_suffix(".ncnn.param"))) == 0
        assert net.load_model(str(model.with_suffix(".ncnn.bin"))) == 0

        def run():
            extractor = net.create_extractor()
            extractor.input("in0", ncnn.Mat(values[0]))
            return [np.array(extractor.extract(f"out{index}")[1]) for index in range(outputs)]

        return run

    return make


def with_litert(file, values, names):
    """LiteRT on WebGPU, in f32; its files are of the same networks, with channels last."""
    from ai_edge_litert.compiled_model import CompiledModel, GpuOptions, HardwareAccelerator, Options

    given = np.ascontiguousarray(values.transpose(0, 2, 3, 1))

    def make():
        options = Options(hardware_accelerators=HardwareAccelerator.GPU, gpu_options=GpuOptions(enforce_f32=True))
        model = CompiledModel.from_file(str(file), options=options)
        assert model.is_fully_accelerated()
        signature = next(iter(model.get_signature_list()))
        inputs = model.create_input_buffers(0)
        details = model.get_output_tensor_details(signature)
        outputs = [model.create_output_buffer_by_name(signature, name) for name in names]
        shapes = [details[name]["shape"] for name in names]
        # With one channel, or without any, the order of the values is the same.
        assert all(len(shape) < 4 or shape[3] == 1 for shape in shapes), shapes

        def run():
            inputs[0].write(given)
            model.run_by_index(0, inputs, outputs)
            return [
                buffer.read(int(np.prod(shape)), np.float32) for buffer, shape in zip(outputs, shapes, strict=True)
            ]

        return run

    return make


def with_onnxruntime(model, values, name):
    def make():
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 2
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        return lambda: session.run(None, {name: values})

    return make


def difference(ours, right):
    """The largest difference over the largest value of an output, of the worst output."""
    for a, b in zip(ours, right, strict=True):
        assert a.size == b.size, (a.shape, b.shape)
    return max(float(np.abs(a.ravel() - b.ravel()).max() / np.abs(b).max()) for a, b in zip(ours, right))


def measure(name, size, given):
    folder = Path(WORK.name, name)
    folder.mkdir()
    model = folder / f"{name}.onnx"
    values = golden_input(given.networks / "golden" / f"{name}.safetensors", size)
    names = restate(given.networks / "models" / f"{name}.onnx", model, values.shape)
    runners = {"sepconv": Sepconv(given.sepconv, model, values, names)}
    if "ncnn" in given.peers:
        # fp16=0: the weights stay f32, as sepconv's and onnxruntime's do.
        shape = "inputshape=" + str(list(values.shape)).replace(" ", "")
        subprocess.run([given.pnnx, model.name, shape, "fp16=0"], cwd=folder, check=True, capture_output=True)
        runners["ncnn"] = InProcess(with_ncnn(model, values, len(names[1]), half=False))
        runners["ncnn f16"] = InProcess(with_ncnn(model, values, len(names[1]), half=True))
    if "litert" in given.peers and name in TFLITE:
        runners["LiteRT"] = InProcess(with_litert(given.tflite / TFLITE[name], values, names[1]))
    runners[CPU] = InProcess(with_onnxruntime(model, values, names[0]))
    for _ in range(given.rounds):
        for runner in runners.values():
            runner.round()
    right = runners[CPU].outputs()
    row = {"name": f"{name} {size}²", "device": runners["sepconv"].device}
    for key, runner in runners.items():
        row[key] = {
            "median": statistics.median(runner.medians),
            "smallest": min(runner.smallest),
            "first": runner.first[:2],
            "off": difference(runner.outputs(), right),
        }
    return row


def ratios(row, key):
    return [row[key][which] / row["sepconv"][which] for which in ("median", "smallest")]


def number(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def table(rows):
    """What each took and how much longer than sepconv; then first runs, and how far each is from onnxruntime."""
    known = list(dict.fromkeys(key for row in rows for key in row if isinstance(row[key], dict)))
    peers = [key for key in known if key not in ("sepconv", CPU)]

    def cell(row, key, text):
        return text(row[key]) if key in row else "–"

    heads = ["network", *(f"{key} ms" for key in known), *(f"{key} ÷ sepconv" for key in peers)]
    yield "| " + " | ".join(heads) + " |"
    yield "|---" * len(heads) + "|"
    for row in rows:
        cells = [cell(row, key, lambda one: f"{number(one['median'])} / {number(one['smallest'])}") for key in known]
        cells += ["{:.2f} / {:.2f}".format(*ratios(row, key)) if key in row else "–" for key in peers]
        yield "| " + " | ".join([row["name"], *cells]) + " |"
    pairs = [[ratios(row, key) for row in rows if key in row] for key in peers]
    means = [[statistics.geometric_mean(both) for both in zip(*pair)] for pair in pairs]
    cells = ["{:.2f} / {:.2f}".format(*mean) for mean in means]
    yield "| geometric mean |" + " |" * len(known) + " " + " | ".join(cells) + " |"
    yield ""
    first, off = [key for key in known if key not in ("ncnn f16", CPU)], [key for key in known if key != CPU]
    heads = ["network", *(f"{key} first ms" for key in first), *(f"{key} differs" for key in off)]
    yield "| " + " | ".join(heads) + " |"
    yield "|---" * len(heads) + "|"
    for row in rows:
        cells = [cell(row, key, lambda one: ", ".join(f"{ms:.0f}" for ms in one["first"])) for key in first]
        cells += [cell(row, key, lambda one: f"{one['off']:.1e}") for key in off]
        yield "| " + " | ".join([row["name"], *cells]) + " |"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("sepconv", type=Path)
    parser.add_argument("networks", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--peers", nargs="+", choices=PACKAGES, default=["ncnn"])
    parser.add_argument("--tflite", type=Path)
    given = parser.parse_args()
    if given.rounds < 2:
        parser.error("at least two rounds: the second has the second first run")
    if "litert" in given.peers and given.tflite is None:
        parser.error("litert needs --tflite, the folder of its models")
    given.sepconv = given.sepconv.resolve()
    given.pnnx = shutil.which("pnnx", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    before, start = os.getloadavg(), time.perf_counter()
    rows = [measure(name, NETWORKS[name], given) for name in given.only]
    spent, after = time.perf_counter() - start, os.getloadavg()

    version = importlib.metadata.version
    ours = subprocess.run([given.sepconv, "--version"], check=True, capture_output=True, text=True).stdout.strip()
    print("\n".join(table(rows)))
    print(f"\nsepconv on: {rows[0]['device']}")
    if "ncnn" in given.peers:
        import ncnn

        print(f"ncnn on: {ncnn.get_gpu_info(0).device_name()}")
    packages = [package for peer in given.peers for package in PACKAGES[peer]]
    peers = ", ".join(f"{package} {version(package)}" for package in [*packages, "onnxruntime"])
    print(f"{ours}, {peers}; {given.rounds} rounds, {spent:.0f} s")
    loads = ", ".join(f"{load:.1f}" for load in (before[0], before[1], after[0], after[1]))
    print(f"load of 1 and 5 minutes, before and after: {loads}, on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
