"""What the tests share."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy
import pytest
from onnx import TensorProto, helper
from PIL import Image
from safetensors.numpy import load_file

os.environ.setdefault("XDG_RUNTIME_DIR", "/tmp")

PROJECT = Path(__file__).resolve().parents[2]
SELFIE = PROJECT / "assets" / "selfie_segmentation.onnx"
"""A network that comes with the project."""
NETWORKS = PROJECT.parent / "shared" / "networks"
GOLDEN = PROJECT / "tests" / "golden"


def random(*shape: int, seed: int = 1) -> numpy.typing.NDArray[numpy.float32]:
    """Values from 0 to 1."""
    return numpy.random.default_rng(seed).random(shape, dtype=numpy.float32)


def astronaut() -> numpy.typing.NDArray[numpy.float32]:
    """The project's photograph as the network that comes with it takes it: 1 x 3 x 256 x 256, from 0 to 1."""
    with Image.open(PROJECT / "assets" / "astronaut.jpg") as picture:
        pixels = numpy.asarray(picture.convert("RGB").resize((256, 256)), numpy.float32)
    return numpy.ascontiguousarray(pixels.transpose(2, 0, 1)[None] / 255)


def onnxruntime_session(model: str | os.PathLike[str]) -> Any:
    """The other engine, with one thread so that other tests have some processor left."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def relu(**sizes: Any) -> bytes:
    """A network of one Relu whose sizes are open, or these."""
    shape = [sizes.get(axis) for axis in "nchw"]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "relu", ends[:1], ends[1:])
    opset = helper.make_opsetid("", 17)
    return bytes(helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString())


def networks() -> list[Any]:
    """The five networks, where they are there."""
    if not NETWORKS.is_dir():
        reason = "shared/networks, five networks and what another engine made of them, is not beside the project"
        return [pytest.param(None, marks=pytest.mark.skip(reason=reason))]
    cases = json.loads((NETWORKS / "cases.json").read_text())
    return [pytest.param(case, id=Path(case["model"]).stem) for case in cases]


def tensors(path: Path) -> dict[str, Any]:
    """The tensors of a safetensors file."""
    return dict(load_file(path))
