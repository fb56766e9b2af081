"""`Session`: a network from an ONNX file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Union

from . import _sepconv
from ._arrays import ArrayLike, Floats
from ._devices import DeviceLike, context
from ._network import LayerTime, NetworkTime, feed_of, made_up, model_bytes, shapes_of


@dataclass(frozen=True)
class NodeArg:
    """An input or an output of a network."""

    name: str
    shape: Sequence[int | None] | None
    """Its sizes. None in the place of a size that the caller chooses."""
    type: str = "tensor(float)"


class Session:
    """A network on a device, in the shape of ``onnxruntime.InferenceSession``.

    >>> session = sepconv.Session("model.onnx")
    >>> scores, = session.run(None, {"input": picture})

    The network is planned and compiled when it is first run on arrays of new shapes, and the plans for the latest shapes
    are kept. Threads may share a session: one uploads while the device computes for another. After a fork, a session of
    the parent raises ``RuntimeError`` in the child, which must make its own.

    Args:
        model: The path of an ONNX file, or its bytes.
        device: A place in `devices()`, part of a device's name, its PCI address, or None for the best that opens.
        dtype: What tensors hold on the device: ``"f32"``, or ``"f16"`` for half the memory and less precision. Sums are
            f32 in any case, and so are the arrays that `run` takes and returns.
        rounding: ``"fast"``, or ``"exact"`` to do without kernels whose rounding errors may pass the bound of a sum.
        tuning: What `tune` returned for this device, if layers are to be planned by it.
        plans: For how many sets of shapes plans are kept. Each has the network's weights, and what lies between layers.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is no ONNX file, is damaged, an argument is none of what it may be, or the device has no f16.
        NotImplementedError: If the network needs what is missing, all of which it names.
        sepconv.DeviceError: If there is no device, or it does not open.
    """

    def __init__(
        self,
        model: Union[str, os.PathLike[str], bytes],
        device: DeviceLike = None,
        dtype: str = "f32",
        *,
        rounding: str = "fast",
        tuning: str | None = None,
        plans: int = 4,
    ) -> None:
        if dtype not in ("f32", "f16"):
            raise ValueError(f'dtype is {dtype!r}; it must be "f32" or "f16"')
        if plans < 1:
            raise ValueError(f"plans is {plans}; it must be at least 1")
        data = model_bytes(model)
        opened = context(device)
        if tuning is not None:
            opened = opened.with_tuning(tuning)
        if dtype == "f16":
            opened = opened.with_f16()
        self._session = _sepconv.Session(opened, data, rounding, plans)
        self._names = [name for name, _ in self._session.inputs()]
        self._inputs = [NodeArg(name, shape) for name, shape in self._session.inputs()]
        self._outputs = [NodeArg(name, shape) for name, shape in self._session.outputs()]

    def get_inputs(self) -> list[NodeArg]:
        """The network's inputs, with the sizes that the file declares. The sizes of what is given win over those."""
        return list(self._inputs)

    def get_outputs(self) -> list[NodeArg]:
        """The network's outputs. A shape is None where it follows from sizes that the caller chooses."""
        return list(self._outputs)

    def run(self, output_names: Sequence[str] | None, input_feed: Mapping[str, ArrayLike]) -> list[Floats]:
        """Runs the network.

        Args:
            output_names: Which outputs, or None for all in the file's order.
            input_feed: An array of float32 for each input, by name: numpy's, or anything with ``__dlpack__`` on the CPU.
                One that is contiguous is read where it lies. Other threads run meanwhile.

        Returns:
            An array for each output, which is the caller's own.

        Raises:
            ValueError: If a name is none of the network's, or an array is missing, is not float32 or has a shape that the
                network cannot have. It names the array or the node.
            MemoryError: If the device has no room.
            sepconv.DeviceError: If the device was lost.
            RuntimeError: In a fork of the process that made the session.
        """
        feed = feed_of(self._names, input_feed, "input_feed")
        outputs, _ = self._session.run([array for _, array in feed], self._places(output_names))
        return outputs

    def profile(self, input_feed: Mapping[str, ArrayLike] | None = None) -> NetworkTime:
        """Times the network and each of its layers, on the values that get there. It takes seconds to minutes.

        Args:
            input_feed: As for `run`. Default: random values of the sizes that the file declares.

        Returns:
            What ``sepconv bench`` prints. As text it is a table. Every layer was compared with the reference.

        Raises:
            ValueError: Also without ``input_feed``, where the file leaves sizes open.
            MemoryError, RuntimeError, sepconv.DeviceError: As `run` raises them.
        """
        if input_feed is None:
            feed = made_up(shapes_of(self._session.inputs(), None))
        else:
            feed = feed_of(self._names, input_feed, "input_feed")
        layers, run, program, first, steps, weights, between = self._session.profile(feed)
        return NetworkTime([LayerTime(*layer) for layer in layers], run, program, first, steps, weights, between)

    def _places(self, names: Sequence[str] | None) -> list[int]:
        known = [output.name for output in self._outputs]
        if names is None:
            return list(range(len(known)))
        for name in names:
            if name not in known:
                raise ValueError(f"output_names has {name!r}; the network's outputs are {', '.join(known)}")
        return [known.index(name) for name in names]
