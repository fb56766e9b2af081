"""Packs ONNX's own tests of single operators into operators.safetensors: see README.md."""

import warnings
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.backend.test.case.node import collect_testcases
from safetensors.numpy import save_file

# The operators that src/network/onnx/operators.rs reads.
OPERATORS = set("""
    Abs Add AveragePool BatchNormalization Cast Ceil Clip Concat Constant ConstantOfShape Conv ConvTranspose DepthToSpace
    Div Dropout Elu Equal Erf Exp Expand Flatten Floor Gather Gelu Gemm GlobalAveragePool GlobalMaxPool GroupNormalization
    HardSigmoid HardSwish Identity InstanceNormalization LayerNormalization LeakyRelu Log LogSoftmax MatMul Max MaxPool
    Min Mish Mul Neg PRelu Pad Pow Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceMax ReduceMean ReduceMin
    ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize Shape Sigmoid Slice Softmax Softplus SpaceToDepth Split Sqrt
    Squeeze Sub Sum Swish Tanh Tile Transpose Unsqueeze Upsample Where
""".split())

# From which input on an operator's inputs are weights, limits or scales, which must be known when a network is planned.
PARAMETERS = {
    "BatchNormalization": 1, "Clip": 1, "Conv": 1, "ConvTranspose": 1, "GroupNormalization": 1,
    "InstanceNormalization": 1, "LayerNormalization": 1, "Pad": 1, "Resize": 1, "Upsample": 1,
}
WHOLE = (np.dtype("int64"), np.dtype("int32"), np.dtype("bool"))
LARGEST = 100_000


def packed(case):
    """The model, its inputs and its outputs; none for a case that is of no use here."""
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    graph = model.graph
    if not all(node.op_type in OPERATORS and node.domain in ("", "ai.onnx") for node in graph.node):
        return None
    inputs, outputs = case.data_sets[0]
    if not all(isinstance(array, np.ndarray) for array in [*inputs, *outputs]):
        return None
    if not all(array.dtype in (np.float32, *WHOLE) for array in [*inputs, *outputs]):
        return None
    if sum(array.nbytes for array in [*inputs, *outputs]) > LARGEST:
        return None
    parameters = {
        name for node in graph.node for index, name in enumerate(node.input)
        if index >= PARAMETERS.get(node.op_type, len(node.input))
    }
    given = {}
    declared = list(graph.input)
    del graph.input[:]
    for value, array in zip(declared, inputs, strict=True):
        if array.dtype in WHOLE or value.name in parameters:
            graph.initializer.append(numpy_helper.from_array(array, value.name))
        else:
            graph.input.append(value)
            given[value.name] = array
    expected = {}
    declared = list(graph.output)
    del graph.output[:]
    for value, array in zip(declared, outputs, strict=True):
        name = value.name
        if array.dtype in WHOLE:
            # Whole numbers are no network's output: a cast makes them one.
            name = f"{name} as f32"
            graph.node.append(helper.make_node("Cast", [value.name], [name], to=TensorProto.FLOAT))
        graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape))
        expected[name] = array.astype(np.float32)
    return model.SerializeToString(), given, expected


def main():
    warnings.filterwarnings("ignore")
    tensors = {}
    for case in collect_testcases():
        found = packed(case) if case.model else None
        if not found:
            continue
        model, given, expected = found
        name = case.name.removeprefix("test_")
        tensors[f"{name}/model"] = np.frombuffer(model, np.uint8)
        for kind, arrays in (("input", given), ("output", expected)):
            for port, array in arrays.items():
                tensors[f"{name}/{kind}:{port}"] = np.array(array, order="C")
    path = Path(__file__).with_name("operators.safetensors")
    save_file(tensors, path, {"origin": f"the PyPI package onnx {onnx.__version__}, Apache-2.0"})
    models = sum(name.endswith("/model") for name in tensors)
    print(f"{models} cases, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
