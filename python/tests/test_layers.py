"""`conv2d` and `separable_conv2d` against PyTorch's results, and what they say of bad arguments."""

from __future__ import annotations

import json
from typing import Any

import numpy
import pytest
import sepconv
from conftest import PROJECT, random, tensors

TORCH = PROJECT / "tests" / "torch"
CASES = [case for case in json.loads((TORCH / "cases.json").read_text())["cases"]]


def check(case: Any, actual: Any, file: dict[str, Any]) -> None:
    expected = [file[name] for name in ("output", "output_ftz") if name in file]
    assert actual.dtype == numpy.float32 and actual.shape == expected[0].shape
    # WGSL lets a driver assume that there is no NaN or infinity; what is finite must be right.
    finite = numpy.isfinite(expected[0])
    with numpy.errstate(invalid="ignore"):
        errors = numpy.min([numpy.abs(actual - other) for other in expected], axis=0)
    assert numpy.all(errors[finite] <= case["tolerance"]), case["name"]


@pytest.mark.parametrize("case", CASES[::4], ids=lambda case: case["name"])
def test_torch_cases(case: Any) -> None:
    file = tensors(TORCH / case["file"])
    options = {name: case["attributes"][name] for name in ("stride", "padding", "dilation", "padding_mode")}
    if case["kind"] == "conv":
        groups = case["attributes"]["groups"]
        actual = sepconv.conv2d(file["input"], file["weight"], file.get("bias"), groups=groups, **options)
    else:
        weights, biases = (file["dw_weight"], file["pw_weight"]), (file.get("dw_bias"), file.get("pw_bias"))
        actual = sepconv.separable_conv2d(file["input"], *weights, *biases, **options)
    check(case, actual, file)


def test_every_kind_of_case_is_taken() -> None:
    kinds = {(case["kind"], case["category"]) for case in CASES}
    assert {(case["kind"], case["category"]) for case in CASES[::4]} == kinds


def test_functions_behind_a_layer() -> None:
    x, weight, residual = random(1, 2, 5, 5), random(3, 2, 3, 3, seed=2) - 0.5, random(1, 3, 5, 5, seed=3)
    plain = sepconv.conv2d(x, weight, padding="same")
    expected = numpy.maximum(plain + residual, 0)
    actual = sepconv.conv2d(x, weight, padding=1, residual=residual, activation="relu")
    assert (plain < 0).any() and numpy.allclose(actual, expected, atol=1e-6)

    def last(activation: str, residual: Any) -> Any:
        return sepconv.conv2d(
            x, weight, padding=1, activation=activation, residual=residual, residual_after_activation=True
        )

    assert numpy.allclose(last("relu", residual), numpy.maximum(plain, 0) + residual, atol=1e-6)
    with pytest.raises(ValueError, match="residual is added behind the activation Tanh"):
        last("tanh", residual)
    with pytest.raises(ValueError, match="residual_after_activation is True; it must be False without a residual"):
        last("relu", None)


def test_an_input_that_is_scaled() -> None:
    x, weight, scale = random(2, 6, 4, 5), random(3, 6, 1, 1, seed=2), random(2, 6, 1, 1, seed=3)
    actual = sepconv.conv2d(x, weight, input_scale=scale)
    assert numpy.allclose(actual, sepconv.conv2d(x * scale, weight), atol=1e-6)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (dict(input=random(4, 5, 5)), "input has shape"),
        (dict(input=random(1, 3, 5, 5)), "input has shape"),
        (dict(input=random(1, 2, 5, 5).astype(numpy.float64)), "input has dtype float64"),
        (dict(weight=random(3, 2, 3)), "weight has shape"),
        (dict(bias=random(4)), "bias has shape"),
        (dict(bias=random(3, 1)), "bias has shape"),
        (dict(stride=0), "stride"),
        (dict(stride=-1), "stride is -1"),
        (dict(stride=(1, 2, 3)), "stride is"),
        (dict(stride=True), "stride is True"),
        (dict(padding="some"), "padding is 'some'"),
        (dict(dilation=3), "kernel_size spans 7"),
        (dict(groups=2), "out_channels"),
        (dict(padding_mode="mirror"), "padding_mode is 'mirror'"),
        (dict(activation="relu9"), "activation is 'relu9'"),
        (dict(residual=random(1, 3, 5, 5)), "residual has shape"),
        (dict(input_scale=random(2, 1, 1)), "input_scale has shape"),
        (dict(rounding="exactly"), "rounding is 'exactly'"),
        (dict(kernel="magic"), "kernel is \"magic\""),
        (dict(device=7), "device is 7"),
        (dict(device="no such GPU"), "device is 'no such GPU'"),
    ],
)
def test_a_bad_argument_is_named(change: dict[str, Any], words: str) -> None:
    arguments: dict[str, Any] = dict(input=random(1, 2, 5, 5), weight=random(3, 2, 3, 3), bias=random(3))
    with pytest.raises(ValueError, match="^" + words):
        sepconv.conv2d(**{**arguments, **change})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (dict(depthwise_weight=random(3, 1, 3, 3)), "depthwise_weight has shape"),
        (dict(pointwise_weight=random(4, 3, 1, 1)), "pointwise_weight has shape"),
        (dict(pointwise_weight=random(4, 2, 3, 3)), "pointwise_weight has shape"),
        (dict(depthwise_bias=random(3)), "depthwise_bias has shape"),
        (dict(pointwise_bias=random(3)), "pointwise_bias has shape"),
        (dict(depthwise_activation="?"), "depthwise_activation is"),
    ],
)
def test_a_bad_argument_of_a_separable_layer_is_named(change: dict[str, Any], words: str) -> None:
    arguments: dict[str, Any] = dict(
        input=random(1, 2, 5, 5), depthwise_weight=random(2, 1, 3, 3), pointwise_weight=random(4, 2, 1, 1)
    )
    with pytest.raises(ValueError, match="^" + words):
        sepconv.separable_conv2d(**{**arguments, **change})
