"""Writes the distinct convolutions and pools of networks as a shapes file, each once by kind and sizes.

    python benches/networks/shapes.py NETWORKS > benches/networks/shapes.json

NETWORKS is a folder with `cases.json` and `models/NAME.onnx`, as compare.py has it. A layer is named after the first network
that has it. It is as the file has it: without what is fused into it, but with its bias.
"""

import json
import sys
from pathlib import Path

import onnx
from onnx import shape_inference

KINDS = {"Conv": "conv", "MaxPool": "max_pool", "AveragePool": "average_pool"}


def sizes(model):
    """From a tensor's name to its sizes."""
    known = list(model.graph.value_info) + list(model.graph.input) + list(model.graph.output)
    found = {value.name: [axis.dim_value for axis in value.type.tensor_type.shape.dim] for value in known}
    return found | {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}


def layer(node, shapes):
    attributes = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    _, channels, height, width = shapes[node.input[0]]
    convolves = node.op_type == "Conv"
    kernel = attributes.get("kernel_shape") or shapes[node.input[1]][2:]
    padding = attributes.get("auto_pad", b"NOTSET").decode()
    ends = attributes.get("pads", [0, 0, 0, 0])
    assert not attributes.get("ceil_mode"), node.name
    result = {"kind": KINDS[node.op_type], "c": channels, "h": height, "w": width}
    if convolves:
        result["oc"] = shapes[node.output[0]][1]
    result |= {"k": kernel, "s": attributes.get("strides", [1, 1])}
    result["p"] = {"NOTSET": ends, "VALID": 0, "SAME_UPPER": "same"}[padding]
    if convolves:
        result |= {"d": attributes.get("dilations", [1, 1]), "g": attributes.get("group", 1)}
        if len(node.input) < 3:
            result["bias"] = False
    # One number where all are the same.
    for key in "kspd":
        value = result.get(key)
        if isinstance(value, list):
            result[key] = value[0] if len(set(value)) == 1 else list(value)
    return result


def name(network, shape):
    kind = shape["kind"]
    if kind == "conv":
        grouped = "dw" if shape["g"] == shape["c"] else "grouped"
        kind = ("pw" if shape["k"] == 1 else "conv") if shape["g"] == 1 else grouped
    parts = [network, kind, shape["c"]] + ([shape["oc"]] if kind in ("pw", "conv") else [])
    parts += [shape["h"]] + ([shape["w"]] if shape["w"] != shape["h"] else [])
    for key in "ks":
        if shape[key] != 1:
            parts.append(key + "x".join(map(str, shape[key] if isinstance(shape[key], list) else [shape[key]])))
    return "_".join(map(str, parts))


def main(folder):
    seen, lines = set(), []
    for case in json.loads((folder / "cases.json").read_text()):
        model = onnx.load(folder / case["model"])
        for value in model.graph.input:
            for axis, size in zip(value.type.tensor_type.shape.dim, case["input"].get(value.name, [])):
                axis.dim_value = size
        del model.graph.value_info[:]
        shapes = sizes(shape_inference.infer_shapes(model, data_prop=True))
        for node in model.graph.node:
            if node.op_type not in KINDS:
                continue
            shape = layer(node, shapes)
            key = json.dumps(shape)
            if key in seen:
                continue
            seen.add(key)
            lines.append(" " + json.dumps({"id": name(Path(case["model"]).stem, shape)} | shape))
    print("[\n" + ",\n".join(lines) + "\n]")


main(Path(sys.argv[1]))
