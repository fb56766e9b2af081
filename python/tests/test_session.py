"""`Session` against onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy
import pytest
import sepconv
from conftest import NETWORKS, SELFIE, astronaut, networks, onnxruntime_session, random, relu, tensors


def ratio(actual: Any, expected: Any) -> float:
    """The largest difference as a part of the largest value."""
    assert actual.shape == expected.shape and actual.dtype == numpy.float32
    return float(numpy.abs(actual - expected).max() / numpy.abs(expected).max())


def test_one_line_of_a_program_changes() -> None:
    picture = astronaut()
    made = []
    for session in (onnxruntime_session(SELFIE), sepconv.Session(SELFIE)):
        (input,), (output,) = session.get_inputs(), session.get_outputs()
        made.append(session.run([output.name], {input.name: picture}))
    (expected,), (actual,) = made
    assert ratio(actual, expected) <= 20 * 6.2e-05  # What shared/networks says of this network.


@pytest.mark.parametrize("case", networks())
def test_networks(case: Any) -> None:
    golden = tensors(NETWORKS / case["golden"])
    feed = {name.removeprefix("input:"): values for name, values in golden.items() if name.startswith("input:")}
    session = sepconv.Session(NETWORKS / case["model"])
    assert [input.name for input in session.get_inputs()] == list(case["input"])
    names = [output.name for output in session.get_outputs()]
    made = session.run(None, feed)
    other = onnxruntime_session(NETWORKS / case["model"])
    if case["model"] != "models/centerface.onnx":  # The other engine minds that its declared sizes are wrong.
        for name, actual, expected in zip(names, made, other.run(None, feed)):
            assert ratio(actual, expected) <= max(1e-4, 20 * case["order_of_sums"]), name
    for name, actual in zip(names, made):
        assert ratio(actual, golden[f"output:{name}"]) <= max(1e-4, 20 * case["order_of_sums"]), name


def test_what_it_says_of_itself() -> None:
    session, other = sepconv.Session(SELFIE), onnxruntime_session(SELFIE)
    for own, others in ((session.get_inputs(), other.get_inputs()), (session.get_outputs(), other.get_outputs())):
        assert [(arg.name, arg.shape, arg.type) for arg in own] == [(arg.name, arg.shape, arg.type) for arg in others]


def test_sizes_may_change() -> None:
    """More shapes than plans are kept, each of them twice."""
    session = sepconv.Session(relu(), plans=2)
    assert session.get_inputs()[0].shape == [None] * 4 and session.get_outputs()[0].shape is None
    for _ in range(2):
        for size in (1, 2, 3, 4):
            x = random(size, 3, size, 5) - 0.5
            (y,) = session.run(["y"], {"x": x})
            assert numpy.array_equal(y, numpy.maximum(x, 0))


def test_tensors_of_f16() -> None:
    """A mask of the person, in half the memory: near the other one, and not the same."""
    feed = {"input": astronaut()}
    (whole,), (half,) = (sepconv.Session(SELFIE, dtype=dtype).run(None, feed) for dtype in ("f32", "f16"))
    assert half.dtype == numpy.float32 and half.shape == whole.shape
    difference = numpy.abs(half - whole)
    assert 0 < difference.max() < 0.1 and difference.mean() < 0.001


@pytest.mark.parametrize(
    ("names", "feed", "words"),
    [
        (None, {}, "input 'x' is missing"),
        (None, {"x": random(1, 1, 2, 2), "z": random(1)}, "input_feed has 'z'"),
        (["z"], {"x": random(1, 1, 2, 2)}, "output_names has 'z'"),
        (None, {"x": numpy.zeros((1, 1, 2, 2))}, "input 'x' has dtype float64"),
        (None, {"x": random(1, 0, 2, 2)}, '"x": its shape is'),
    ],
)
def test_a_bad_call_is_named(names: Any, feed: Any, words: str) -> None:
    with pytest.raises(ValueError, match="^" + words):
        sepconv.Session(relu()).run(names, feed)


def test_a_bad_model_is_refused() -> None:
    with pytest.raises(FileNotFoundError):
        sepconv.Session("no such file.onnx")
    with pytest.raises(ValueError, match="^the model cannot be read"):
        sepconv.Session(b"no model")
    unknown = relu().replace(b"Relu", b"Rulu")
    with pytest.raises(NotImplementedError, match="Rulu"):
        sepconv.Session(unknown)
    for options, words in (
        (dict(dtype="half"), "dtype is 'half'; it must be \"f32\" or \"f16\""),
        (dict(plans=0), "plans is 0"),
        (dict(rounding="some"), 'rounding is "some"'),
        (dict(device=9), "device is 9"),
        (dict(tuning="no table"), "line 1"),
    ):
        with pytest.raises(ValueError, match="^" + words):
            sepconv.Session(relu(), **options)
    with pytest.raises(TypeError, match="^device is a float"):
        sepconv.Session(relu(), device=1.0)  # type: ignore[arg-type]
