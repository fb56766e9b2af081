"""A Markdown table of sepconv's times beside cuDNN's: of the kernels alone, by each one's device clock.

    python beside.py SEPCONV.json CUDNN.json [--f16 SEPCONV-F16.json]

The first file is of `sepconv bench --json`, the second of conv2d.py beside this file, on the same GPU and the same layers.
cuDNN's time is that of the faster of its two layouts.
"""

import argparse
import json
import statistics


def rows(path):
    with open(path) as file:
        result = json.load(file)
    return result, [row for row in result["rows"] if not row.get("candidate")]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("sepconv")
    parser.add_argument("cudnn")
    parser.add_argument("--f16")
    given = parser.parse_args()
    result, ours = rows(given.sepconv)
    peer, theirs = rows(given.cudnn)
    cudnn = {(row["id"], *row["input_shape"]): row for row in theirs}
    halves = {row["id"]: row for row in rows(given.f16)[1]} if given.f16 else {}
    heads = ["layer", "kernel", "us", "TFLOP/s", "% of roofline", "cuDNN f32 us", "cuDNN f32 / sepconv", "cuDNN TF32 us", "cuDNN TF32 / sepconv"]
    if halves:
        heads += ["f16 us", "cuDNN f16 us", "cuDNN f16 / sepconv f16"]
    print("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")
    ratios = {"f32": [], "TF32": [], "f16": []}
    for row in ours:
        other = cudnn.get((row["id"], *row["input_shape"]))
        if other is None:
            continue
        best = {name: 1e3 * min(other[key].values()) for name, key in (("f32", "f32"), ("TF32", "tf32"), ("f16", "f16"))}
        us = 1e3 * row["gpu_ms"]
        cells = [row["id"], row["kernel"], f"{us:.1f}", f"{row['gflop_s'] / 1e3:.1f}", f"{row['roofline_percent']:.0f}"]
        for name in ("f32", "TF32"):
            cells += [f"{best[name]:.1f}", f"{best[name] / us:.2f}"]
            ratios[name].append(best[name] / us)
        if halves:
            half = 1e3 * halves[row["id"]]["gpu_ms"]
            cells += [f"{half:.1f}", f"{best['f16']:.1f}", f"{best['f16'] / half:.2f}"]
            ratios["f16"].append(best["f16"] / half)
        print("| " + " | ".join(cells) + " |")
    means = {name: f"{statistics.geometric_mean(values):.2f}" for name, values in ratios.items() if values}
    print("\nGeometric means: " + ", ".join(f"cuDNN {name} / sepconv {mean}" for name, mean in means.items()))
    print(f"sepconv on {result['adapter']}, {result['driver']}; PyTorch {peer['torch']} on {peer['device']}, cuDNN {peer['cudnn']}")


if __name__ == "__main__":
    main()
