"""What is measured of a network: its profile, a table of the fastest kernels, and its separable form."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Union

import numpy

from . import _sepconv
from ._arrays import ArrayLike, Floats, floats
from ._devices import DeviceLike, context


@dataclass(frozen=True)
class LayerTime:
    """A layer of a network, timed by itself on the values that get there."""

    name: str
    kind: str
    kernel: str
    milliseconds: float
    floor_milliseconds: float
    """The least that the device's measured bandwidth and arithmetic allow."""
    error: float
    """The largest error, as a multiple of what rounding allows: at most 1 if the layer is right."""


@dataclass(frozen=True)
class NetworkTime:
    """What ``sepconv bench MODEL.onnx`` prints. As text it is a table."""

    layers: list[LayerTime]
    milliseconds: float
    """A run as a caller pays for it: upload, one submission, read-back."""
    program_milliseconds: float
    """The program by itself."""
    first_milliseconds: float
    """The first run, with planning and compiling."""
    steps: int
    weight_bytes: int
    workspace_bytes: int
    """What lies between layers."""

    def __str__(self) -> str:
        together = sum(layer.milliseconds for layer in self.layers)
        rows: list[tuple[str, ...]] = [("layer", "kind", "kernel", "ms", "share %", "floor ms", "error / bound")]
        for layer in self.layers:
            numbers = (layer.milliseconds, 100 * layer.milliseconds / together, layer.floor_milliseconds, layer.error)
            texts = (text.format(number) for text, number in zip(("{:.3f}", "{:.1f}", "{:.3f}", "{:.3f}"), numbers))
            rows.append((layer.name, layer.kind, layer.kernel, *texts))
        widths = [max(len(row[column]) for row in rows) for column in range(7)]
        lines = []
        for row in rows:
            cells = [cell.ljust(width) for cell, width in zip(row[:3], widths)]
            lines.append("  ".join(cells + [cell.rjust(width) for cell, width in zip(row[3:], widths[3:])]))
        lines += [
            "",
            f"A run, as a caller pays      {self.milliseconds:.2f} ms: upload, one submission, read-back",
            f"The program by itself        {self.program_milliseconds:.2f} ms",
            f"The first run                {self.first_milliseconds:.0f} ms, with planning and compiling",
            f"Steps                        {self.steps}",
            f"Memory                       {self.weight_bytes / 1e6:.2f} MB of weights, "
            f"{self.workspace_bytes / 1e6:.2f} MB between layers",
        ]
        return "\n".join(lines)


def model_bytes(model: Union[str, os.PathLike[str], bytes]) -> bytes:
    """The bytes of a model, read if it is a path."""
    if isinstance(model, bytes):
        return model
    with open(model, "rb") as file:
        return file.read()


def shapes_of(
    inputs: Sequence[tuple[str, Sequence[int | None]]], shapes: Mapping[str, Sequence[int]] | None
) -> list[tuple[str, list[int]]]:
    """The shape of every input: the caller's, or else the one that the file declares."""
    given = dict(shapes or {})
    result = []
    for name, declared in inputs:
        sizes = [size for size in given.pop(name, declared) if size is not None]
        if len(sizes) < len(declared):
            raise ValueError(f"shapes has nothing for input {name!r}, of which the file says {list(declared)}")
        result.append((name, sizes))
    if given:
        raise ValueError(f"shapes has {', '.join(map(repr, given))}; the inputs are {', '.join(n for n, _ in inputs)}")
    return result


def made_up(shapes: Sequence[tuple[str, Sequence[int]]]) -> list[tuple[str, Floats]]:
    """Numbers without a pattern, from 0 to 1, for each input."""
    random = numpy.random.default_rng(1)
    return [(name, random.random(tuple(shape), dtype=numpy.float32)) for name, shape in shapes]


def tune(
    model: Union[str, os.PathLike[str], bytes],
    shapes: Mapping[str, Sequence[int]] | None = None,
    device: DeviceLike = None,
) -> str:
    """Measures which kernel computes each layer of a network the fastest. It takes minutes.

    >>> session = sepconv.Session("model.onnx", tuning=sepconv.tune("model.onnx"))

    Args:
        model: The path of an ONNX file, or its bytes.
        shapes: Inputs' shapes by name, where the file leaves sizes open or others are wanted.
        device: As in `Session`.

    Returns:
        The table, for the ``tuning`` of a `Session` on the same device, driver and version of the package; others ignore it.
        It is text, to be kept as you like.

    Raises:
        OSError, ValueError, NotImplementedError, sepconv.DeviceError: As `Session` raises them.
    """
    data, opened = model_bytes(model), context(device)
    session = _sepconv.Session(opened, data, "fast", 1)
    return _sepconv.tune(opened, data, shapes_of(session.inputs(), shapes))


@dataclass(frozen=True)
class Separated:
    """A network some of whose normal layers have become separable."""

    model: bytes
    """The ONNX file."""
    layers: dict[str, int]
    """The layers that changed, each with its number of filters for a channel."""
    error: float
    """The root of the mean square of what changed in the outputs, as a part of that of the outputs."""
    milliseconds_before: float
    milliseconds: float


def separate(
    model: Union[str, os.PathLike[str], bytes],
    calibrate: Sequence[Mapping[str, ArrayLike]] | None = None,
    *,
    max_error: float | None = None,
    speed_up: float | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    device: DeviceLike = None,
) -> Separated | None:
    """Puts separable layers in the place of a trained network's normal ones, where that saves more time than it loses.

    It is what ``sepconv separate`` does; docs/SEPARATE.md has the method. It takes minutes.

    Args:
        model: The path of an ONNX file, or its bytes.
        calibrate: Feeds like those that the network is for: dicts of arrays by the inputs' names. Layers are fitted to them,
            and the error is that of the outputs on them. Without it the error is that of the layers' weights, and the network
            is timed on random values.
        max_error: The largest error, from 0 to 1. Default 0.01, unless ``speed_up`` is given.
        speed_up: How many times as fast the network must become, with the least error. Not together with ``max_error``.
        shapes: Inputs' shapes by name, where the file leaves sizes open, without ``calibrate``.
        device: As in `Session`.

    Returns:
        The network, or None if none that is allowed is faster than the original.

    Raises:
        ValueError: Also for a network without a layer that could change.
        OSError, NotImplementedError, sepconv.DeviceError: As `Session` raises them.
    """
    if max_error is not None and speed_up is not None:
        raise ValueError("max_error and speed_up are both given; it must be one or the other")
    if max_error is not None and not 0 <= max_error <= 1:
        raise ValueError(f"max_error is {max_error}; it must be from 0 to 1")
    if speed_up is not None and not 1 <= speed_up < float("inf"):
        raise ValueError(f"speed_up is {speed_up}; it must be at least 1")
    if calibrate is not None and (shapes is not None or not calibrate):
        raise ValueError("calibrate must have a feed or more, and goes without shapes")
    data, opened = model_bytes(model), context(device)
    inputs = _sepconv.Session(opened, data, "fast", 1).inputs()
    if calibrate is None:
        samples = [made_up(shapes_of(inputs, shapes))]
    else:
        samples = [feed_of([name for name, _ in inputs], feed, "calibrate") for feed in calibrate]
    made = _sepconv.separate(opened, data, samples, calibrate is not None, max_error, speed_up)
    if made is None:
        return None
    file, layers, error, before, after = made
    return Separated(file, dict(layers), error, before, after)


def feed_of(names: Sequence[str], feed: Mapping[str, ArrayLike], argument: str) -> list[tuple[str, Floats]]:
    """The arrays of a feed in the order of the inputs. ``argument`` is what an error calls the feed."""
    for name in names:
        if name not in feed:
            raise ValueError(f"input {name!r} is missing from {argument}")
    if len(feed) > len(names):
        more = ", ".join(repr(name) for name in feed if name not in names)
        raise ValueError(f"{argument} has {more}; the network's inputs are {', '.join(names)}")
    return [(name, floats(f"input {name!r}", feed[name])) for name in names]
