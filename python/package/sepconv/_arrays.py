"""What a caller gives, as arrays that the compiled module reads without a copy."""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias, Union, runtime_checkable

import numpy
import numpy.typing

Floats: TypeAlias = "numpy.typing.NDArray[numpy.float32]"
"""An array of float32."""


@runtime_checkable
class SupportsDLPack(Protocol):
    """A tensor of another library, such as ``torch.Tensor``."""

    def __dlpack__(self, *, stream: Any = ...) -> Any: ...

    def __dlpack_device__(self) -> tuple[Any, int]: ...


ArrayLike: TypeAlias = Union["numpy.typing.NDArray[numpy.float32]", SupportsDLPack]
"""What is taken as an array of float32: numpy's, or anything with ``__dlpack__`` on the CPU."""


def floats(argument: str, value: ArrayLike) -> Floats:
    """The value as a contiguous array of float32: itself, or a view of its memory, or a copy where that has gaps.

    ``argument`` is what an error calls it.
    """
    if isinstance(value, numpy.ndarray):
        array = value
    elif hasattr(value, "__dlpack__"):
        try:
            array = numpy.from_dlpack(value)
        except (BufferError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(f"{argument} cannot be read: {error}") from error
    else:
        raise TypeError(f"{argument} is a {type(value).__name__}; it must be a numpy array, or have __dlpack__")
    if array.dtype != numpy.float32:
        raise ValueError(f"{argument} has dtype {array.dtype}; it must be float32")
    if array.flags.carray or (array.flags.c_contiguous and array.flags.aligned):
        return array
    return numpy.require(array, requirements=["C_CONTIGUOUS", "ALIGNED"])
