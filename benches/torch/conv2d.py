"""Times PyTorch's conv2d on the layers of a shapes file. On an NVIDIA GPU it calls cuDNN, but for some depthwise layers.

    python conv2d.py SHAPES.json OUT.json [--batches 1 32] [--device cuda]

For each convolution (`conv`) and separable layer (`sep`, two calls), each batch, and each of f32, TF32 and f16: the median
milliseconds of one run, with channels first and with channels last. TF32 rounds the factors of f32 tensors to 10 bits, so it is less exact
than f32. On a GPU, runs are recorded once as a CUDA graph and replayed, so that no call of Python is in the time. As in
`sepconv bench`, up to 16 sets of tensors, of 128 MiB in all, take turns: a run does not find its input in a cache.
"""

import argparse
import json
import math
import statistics
import time

import torch
import torch.nn.functional as F

SAMPLES = 7
SETS, SETS_BYTES = 16, 128 << 20
TYPES = {"f32": (torch.float32, False), "tf32": (torch.float32, True), "f16": (torch.float16, False)}
LAYOUTS = {"channels first": torch.contiguous_format, "channels last": torch.channels_last}


def pair(value):
    return tuple(value) if isinstance(value, list) else (value, value)


def padded(shape):
    """The padding as conv2d takes it. None for a shape that needs more than that."""
    padding = shape.get("p", 0)
    return None if padding == "same" or isinstance(padding, list) and len(padding) == 4 else pair(padding)


class Layer:
    """A convolution, or a separable layer of two."""

    def __init__(self, shape, batch):
        self.is_separable = shape["kind"] == "sep"
        channels, out_channels, self.kernel = shape["c"], shape["oc"], pair(shape["k"])
        between = channels * shape.get("m", 1)
        self.input = (shape.get("n", 1) * batch, channels, shape["h"], shape["w"])
        self.groups = channels if self.is_separable else shape.get("g", 1)
        self.options = {"stride": pair(shape.get("s", 1)), "padding": padded(shape), "dilation": pair(shape.get("d", 1))}
        first = between if self.is_separable else out_channels
        self.weights = [(first, channels // self.groups, *self.kernel)]
        if self.is_separable:
            self.weights.append((out_channels, between, 1, 1))

    def bytes(self, size):
        taps = [
            (length + 2 * p - d * (k - 1) - 1) // s + 1
            for length, k, p, d, s in zip(self.input[2:], self.kernel, *[self.options[key] for key in ("padding", "dilation", "stride")])
        ]
        output = self.input[0] * self.weights[-1][0] * math.prod(taps)
        return size * (math.prod(self.input) + output + sum(math.prod(weight) for weight in self.weights))

    def make(self, device, dtype, layout):
        """A function that runs it, with tensors of its own."""

        def random(*sizes):
            values = torch.randn(*sizes, device=device, dtype=dtype)
            return values.to(memory_format=layout) if len(sizes) == 4 else values

        value = random(*self.input)
        weights = [random(*sizes) for sizes in self.weights]
        biases = [random(sizes[0]) for sizes in self.weights]

        def run():
            result = F.conv2d(value, weights[0], biases[0], groups=self.groups, **self.options)
            return F.conv2d(result, weights[1], biases[1]) if self.is_separable else result

        return run


def median_ms(runs, device):
    """Of one run, the runs taking turns."""

    def all_of_them():
        for run in runs:
            run()

    for _ in range(3):
        all_of_them()
    samples = []
    if device == "cpu":
        for _ in range(SAMPLES):
            start = time.perf_counter()
            all_of_them()
            samples.append((time.perf_counter() - start) * 1e3)
        return statistics.median(samples) / len(runs)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        all_of_them()
    graph.replay()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    for _ in range(SAMPLES):
        start.record()
        graph.replay()
        end.record()
        torch.cuda.synchronize()
        samples.append(start.elapsed_time(end))
    return statistics.median(samples) / len(runs)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("shapes")
    parser.add_argument("out")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    given = parser.parse_args()
    is_gpu = given.device == "cuda"
    torch.backends.cudnn.benchmark = True
    with open(given.shapes) as file:
        shapes = [shape for shape in json.load(file) if shape["kind"] in ("conv", "sep") and padded(shape)]
    result = {
        "device": torch.cuda.get_device_name() if is_gpu else "CPU",
        "torch": torch.__version__,
        "cudnn": torch.backends.cudnn.version() if is_gpu else None,
        "rows": [],
    }
    types = TYPES if is_gpu else {"f32": TYPES["f32"]}
    with torch.no_grad():
        for batch in given.batches:
            for shape in shapes:
                layer = Layer(shape, batch)
                row = {"id": shape["id"], "batch": batch, "input_shape": list(layer.input)}
                for name, (dtype, tf32) in types.items():
                    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
                    sets = min(SETS, -(-SETS_BYTES // layer.bytes(dtype.itemsize)))
                    row[name] = {
                        key: median_ms([layer.make(given.device, dtype, layout) for _ in range(sets)], given.device)
                        for key, layout in LAYOUTS.items()
                    }
                result["rows"].append(row)
                print(json.dumps(row), flush=True)
                # Each time, so that a run that is stopped leaves what it has.
                with open(given.out, "w") as file:
                    json.dump(result, file, indent=1)


if __name__ == "__main__":
    main()
