"""Layers in the words of ``torch.nn.functional``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias, Union

from . import _sepconv
from ._arrays import ArrayLike, Floats, floats
from ._devices import DeviceLike, context

Sizes: TypeAlias = Union[int, Sequence[int]]
"""One number, or ``(height, width)``."""
Padding: TypeAlias = Union[int, Sequence[int], str]
"""One number, ``(height, width)``, ``(top, left, bottom, right)``, ``"same"``, ``"same-lower"`` or ``"valid"``."""


def conv2d(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    activation: str = "none",
    residual: ArrayLike | None = None,
    residual_after_activation: bool = False,
    input_scale: ArrayLike | None = None,
    rounding: str = "fast",
    kernel: str | None = None,
    device: DeviceLike = None,
) -> Floats:
    """A normal, grouped or depthwise convolution, as ``torch.nn.functional.conv2d`` computes it.

    Args:
        input: ``(batch, in_channels, height, width)``
        weight: ``(out_channels, in_channels / groups, kernel height, kernel width)``
        bias: ``(out_channels,)``
        stride: How far the window moves: one number or ``(height, width)``.
        padding: What is added around the input: one number, ``(height, width)``, ``(top, left, bottom, right)``,
            ``"same"``, ``"same-lower"`` or ``"valid"``.
        dilation: The distance between taps: one number or ``(height, width)``.
        groups: How many groups of channels are convolved apart from each other.
        padding_mode: ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``.
        activation: Applied last: ``"relu"``, ``"relu6"``, ``"leaky-relu=0.1"``, ``"clamp=0,1"``, ``"silu"`` and others.
        residual: ``(batch, out_channels, output height, output width)``, added before the activation unless
            ``residual_after_activation``.
        residual_after_activation: Whether it is added behind the activation instead. That must then be none, ``relu``,
            ``relu6``, a clamp around 0, ``leaky-relu``, ``silu``, ``hardswish``, ``gelu`` or ``mish``.
        input_scale: ``(batch, in_channels, 1, 1)``: what each channel of the input is multiplied by first.
        rounding: ``"fast"``, or ``"exact"`` to do without kernels whose rounding errors may pass the bound of a sum.
        kernel: The name of a kernel to use, or None for the one that seems best.
        device: As in `Session`.

    Returns:
        ``(batch, out_channels, output height, output width)``

    Raises:
        ValueError: For a tensor or an argument that is none of what it may be. It names it.
        MemoryError: If the device has no room.
        sepconv.DeviceError: If there is no device, or it was lost.
    """
    return _sepconv.conv2d(
        context(device),
        floats("input", input),
        floats("weight", weight),
        None if bias is None else floats("bias", bias),
        None if residual is None else floats("residual", residual),
        residual_after_activation,
        None if input_scale is None else floats("input_scale", input_scale),
        groups,
        rounding,
        dict(stride=stride, padding=padding, dilation=dilation, padding_mode=padding_mode, activation=activation),
        kernel,
    )


def separable_conv2d(
    input: ArrayLike,
    depthwise_weight: ArrayLike,
    pointwise_weight: ArrayLike,
    depthwise_bias: ArrayLike | None = None,
    pointwise_bias: ArrayLike | None = None,
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    *,
    padding_mode: str = "zeros",
    depthwise_activation: str = "none",
    activation: str = "none",
    residual: ArrayLike | None = None,
    residual_after_activation: bool = False,
    kernel: str | None = None,
    device: DeviceLike = None,
) -> Floats:
    """A depthwise convolution and a pointwise one behind it, in one dispatch or two as is faster.

    Args:
        input: ``(batch, in_channels, height, width)``
        depthwise_weight: ``(in_channels * multiplier, 1, kernel height, kernel width)``
        pointwise_weight: ``(out_channels, in_channels * multiplier, 1, 1)``
        depthwise_bias: ``(in_channels * multiplier,)``
        pointwise_bias: ``(out_channels,)``
        stride, padding, dilation, padding_mode: Of the depthwise convolution, as in `conv2d`.
        depthwise_activation: Applied between the two.
        activation: Applied last.
        residual: ``(batch, out_channels, output height, output width)``, added before the last activation unless
            ``residual_after_activation``.
        residual_after_activation: Whether it is added behind that instead, as for `conv2d`.
        kernel: The name of a kernel to use, or None for the one that seems best.
        device: As in `Session`.

    Returns:
        ``(batch, out_channels, output height, output width)``

    Raises:
        ValueError: For a tensor or an argument that is none of what it may be. It names it.
        MemoryError: If the device has no room.
        sepconv.DeviceError: If there is no device, or it was lost.
    """
    return _sepconv.separable_conv2d(
        context(device),
        floats("input", input),
        floats("depthwise_weight", depthwise_weight),
        floats("pointwise_weight", pointwise_weight),
        None if depthwise_bias is None else floats("depthwise_bias", depthwise_bias),
        None if pointwise_bias is None else floats("pointwise_bias", pointwise_bias),
        None if residual is None else floats("residual", residual),
        residual_after_activation,
        depthwise_activation,
        dict(stride=stride, padding=padding, dilation=dilation, padding_mode=padding_mode, activation=activation),
        kernel,
    )
