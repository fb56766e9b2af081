"""A network over the batches of a Ray data set.

>>> pictures.map_batches(
...     sepconv.ray.Model,
...     fn_constructor_args=("model.onnx",),
...     compute=ray.data.ActorPoolStrategy(size=2),
... )

Nothing here needs Ray: a `Model` takes a dict of arrays and returns one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeAlias, Union

import numpy

from ._devices import DeviceLike
from ._sepconv import Device, devices
from ._session import Session

Row: TypeAlias = "dict[str, Any]"
"""A row's values by the names of the columns."""
Array: TypeAlias = "numpy.typing.NDArray[Any]"
Columns: TypeAlias = "dict[str, Array]"

IN_FLIGHT = 2
"""How many runs are under way at once: one uploads while the device computes for the other."""


class Model:
    """A network that `ray.data.Dataset.map_batches` runs: loaded and compiled in the actor, once.

    A call takes a batch of rows as a dict of arrays and returns its columns with those of the network's outputs, or of what
    ``postprocess`` makes of them. Pictures go to the device as they are prepared. A row whose preparation fails stays: what
    the network would have made is NaN, or -1 in a column of whole numbers, and the column ``error`` says why. It is ``""``
    in all other rows.

    Args:
        path: The ONNX file. In a cluster it must be where every node can read it.
        device: As in `sepconv.Session`, or ``"auto"``: the GPU that Ray gave this worker, or else the best device.
        preprocess: Makes of a row, a dict of its values, the network's only input for it, or a dict of all of them by name;
            each without the batch axis. Default: the columns that have the inputs' names.
        postprocess: Makes the new columns, a dict of arrays with a row each, of the network's outputs, a dict of arrays whose
            first axis is the batch. Default: the outputs.
        keep: Which columns of the batch are returned. Default: all.
        batch: How many rows the network takes at once. Default: what the file declares, or 1 where it leaves that open.
        shapes: An input's shape without the batch axis, by the input's name, where the file leaves it open.
        session: What makes the session of the path: another engine of the same shape, such as
            ``onnxruntime.InferenceSession``, which then has its own device.

    Raises:
        ValueError: For a shape that neither the file nor ``shapes`` gives, and as `sepconv.Session` raises.
    """

    def __init__(
        self,
        path: Union[str, os.PathLike[str]],
        device: DeviceLike = "auto",
        preprocess: Callable[[Row], Union[Array, dict[str, Array]]] | None = None,
        postprocess: Callable[[Columns], Mapping[str, Array]] | None = None,
        *,
        keep: Sequence[str] | None = None,
        batch: int | None = None,
        shapes: Mapping[str, Sequence[int]] | None = None,
        session: Callable[[str], Any] = Session,
    ) -> None:
        self._session: Any
        if session is Session:
            self._session = Session(path, own_device() if device == "auto" else device)
        else:
            self._session = session(os.fspath(path))
        self._preprocess = preprocess
        self._postprocess = postprocess
        self._keep = keep
        inputs = self._session.get_inputs()
        declared = inputs[0].shape[0]
        self._batch = batch or (declared if isinstance(declared, int) else 1)
        self._shapes: dict[str, tuple[int, ...]] = {}
        for input in inputs:
            shape = tuple((shapes or {}).get(input.name, input.shape[1:]))
            if not all(isinstance(size, int) for size in shape):
                raise ValueError(f"shapes has nothing for input {input.name!r}, of which the file says {input.shape}")
            self._shapes[input.name] = shape
        self._outputs = [output.name for output in self._session.get_outputs()]
        self._pool = ThreadPoolExecutor(IN_FLIGHT, "sepconv")
        # Compiled before the first batch comes.
        self._session.run(None, self._zeros())

    def __call__(self, batch: Mapping[str, Array]) -> Columns:
        """Runs the network on every row of a batch, a dict of arrays with a row each."""
        rows = len(next(iter(batch.values())))
        errors = [""] * rows
        made = list(self._made(batch, rows, errors))
        kept = {name: batch[name] for name in (batch if self._keep is None else self._keep)}
        failed = numpy.array([error != "" for error in errors], dtype=bool)
        new = {name: _marked(numpy.concatenate([part[name] for part in made])[:rows], failed) for name in made[0]}
        return {**kept, **new, "error": numpy.array(errors, dtype=object)}

    def _made(self, batch: Mapping[str, Array], rows: int, errors: list[str]) -> Iterator[Mapping[str, Array]]:
        """What comes of one run after another. Rows are prepared while earlier ones are computed."""
        under_way: list[Future[Mapping[str, Array]]] = []
        # A batch without rows has columns as well.
        for first in range(0, max(rows, 1), self._batch):
            # Always as many rows, so that the network is planned once.
            feed = self._zeros()
            for row in range(first, min(first + self._batch, rows)):
                try:
                    for name, array in self._prepared({name: column[row] for name, column in batch.items()}).items():
                        feed[name][row - first] = array
                except Exception as error:  # Whatever is wrong with one picture, the others are computed.
                    errors[row] = f"{type(error).__name__}: {error}"
            if len(under_way) == IN_FLIGHT:
                yield under_way.pop(0).result()
            under_way.append(self._pool.submit(self._run, feed))
        for run in under_way:
            yield run.result()

    def _zeros(self) -> Columns:
        """The network's inputs, to be filled."""
        return {name: numpy.zeros((self._batch, *shape), numpy.float32) for name, shape in self._shapes.items()}

    def _prepared(self, row: Row) -> dict[str, Array]:
        made = row if self._preprocess is None else self._preprocess(row)
        if not isinstance(made, dict):
            (only,) = self._shapes
            made = {only: made}
        arrays = {name: numpy.asarray(made[name]) for name in self._shapes}
        for name, shape in self._shapes.items():
            if arrays[name].shape != shape:
                raise ValueError(f"input {name!r} has shape {arrays[name].shape}; it must have {shape}")
        return arrays

    def _run(self, feed: Columns) -> Mapping[str, Array]:
        outputs = dict(zip(self._outputs, self._session.run(None, feed)))
        return outputs if self._postprocess is None else self._postprocess(outputs)


def _marked(column: Array, failed: Array) -> Array:
    """A column with NaN, or -1, in the rows that failed."""
    if numpy.issubdtype(column.dtype, numpy.floating):
        column[failed] = numpy.nan
    elif numpy.issubdtype(column.dtype, numpy.integer):
        column = column.astype(numpy.int64)
        column[failed] = -1
    return column


def own_device() -> DeviceLike:
    """The device that Ray gave this worker: None, for the best, where it gave none."""
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return None
    given = ray.get_runtime_context().get_accelerator_ids().get("GPU", [])
    return device_of(given[0], devices()) if given else None


def device_of(gpu: str, found: Sequence[Device]) -> int:
    """The place of the GPU that Ray calls by this number. It counts them in the order of their PCI addresses."""
    gpus: dict[str, int] = {}
    for device in found:
        if device.kind in ("discrete", "integrated", "virtual"):
            # A GPU with two drivers is one GPU.
            gpus.setdefault(device.pci_address or f"place {device.index}", device.index)
    if not gpu.isdecimal() or int(gpu) >= len(gpus):
        known = ", ".join(sorted(gpus)) or "none"
        raise ValueError(f"Ray gave GPU {gpu!r} to this worker; of {known} it is none: say which `device` it is")
    return gpus[sorted(gpus)[int(gpu)]]
