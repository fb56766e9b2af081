"""`Session.profile`, `tune` and `separate`."""

from __future__ import annotations

import numpy
import pytest
import sepconv
from conftest import SELFIE, astronaut, random, relu
from onnx import TensorProto, helper, numpy_helper


def two_layers() -> bytes:
    """Two convolutions of 3 x 3, the first of which is nearly separable."""
    generator = numpy.random.default_rng(1)
    spatial, mixing = generator.random((1, 16, 3, 3)) - 0.3, generator.random((32, 16, 1, 1)) - 0.5
    weights = [spatial * mixing, generator.random((8, 32, 3, 3)) - 0.5]
    constants = [numpy_helper.from_array(weight.astype(numpy.float32), f"w{n}") for n, weight in enumerate(weights)]
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["between"], name="first", pads=[1] * 4),
        helper.make_node("Conv", ["between", "w1"], ["y"], name="second", pads=[1] * 4),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, 64, 64])
        for name, channels in (("x", 16), ("y", 8))
    ]
    graph = helper.make_graph(nodes, "two", ends[:1], ends[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def test_profile() -> None:
    profile = sepconv.Session(SELFIE).profile({"input": astronaut()})
    assert len(profile.layers) > 20 and all(0 <= layer.error <= 1 for layer in profile.layers)
    assert all(0 < layer.floor_milliseconds and 0 < layer.milliseconds for layer in profile.layers)
    assert profile.milliseconds > 0 and profile.steps >= len(profile.layers)
    table = str(profile).splitlines()
    assert table[0].split()[:4] == ["layer", "kind", "kernel", "ms"]
    rows = zip(table[1:], profile.layers)
    assert all(line.split()[0] == layer.name and f"{layer.milliseconds:.3f}" in line for line, layer in rows)


def test_open_sizes_have_no_profile() -> None:
    with pytest.raises(ValueError, match="^shapes has nothing for input 'x'"):
        sepconv.Session(relu()).profile()


def test_a_tuned_network_gives_the_same() -> None:
    """One small layer, since a driver in software compiles each way to compute it for a long time."""
    weight = numpy_helper.from_array(random(3, 2, 1, 1), "w")
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, c, 8, 8]) for name, c in (("x", 2), ("y", 3))]
    graph = helper.make_graph([helper.make_node("Conv", ["x", "w"], ["y"])], "one", ends[:1], ends[1:], [weight])
    opset = helper.make_opsetid("", 17)
    model = bytes(helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString())
    feed = {"x": random(1, 2, 8, 8)}
    table = sepconv.tune(model)
    assert "weight 3x2x1x1" in table, table
    expected = sepconv.Session(model).run(None, feed)
    actual = sepconv.Session(model, tuning=table).run(None, feed)
    assert numpy.allclose(actual[0], expected[0], atol=1e-4)
    with pytest.raises(ValueError, match="^shapes has 'z'"):
        sepconv.tune(model, shapes={"z": (1, 2, 8, 8)})


def test_what_is_nearly_separable_becomes_so() -> None:
    feed = {"x": random(1, 16, 64, 64)}
    made = sepconv.separate(two_layers(), [feed], max_error=0.001)
    assert made is not None and made.layers["first"] == 1 and made.error <= 0.001
    (expected,) = sepconv.Session(two_layers()).run(None, feed)
    (actual,) = sepconv.Session(made.model).run(None, feed)
    assert not numpy.array_equal(actual, expected) and numpy.allclose(actual, expected, rtol=0.01, atol=0.05)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (dict(max_error=2.0), "max_error is 2.0"),
        (dict(max_error=0.1, speed_up=2.0), "max_error and speed_up"),
        (dict(speed_up=0.5), "speed_up is 0.5"),
        (dict(calibrate=[]), "calibrate must have"),
        (dict(calibrate=[{}]), "input 'x' is missing from calibrate"),
    ],
)
def test_a_bad_wish_is_named(options: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match="^" + words):
        sepconv.separate(two_layers(), **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="^the model has no layer to change"):
        sepconv.separate(relu(n=1, c=1, h=4, w=4))
