"""What is taken as an array, and that it is not copied."""

from __future__ import annotations

from typing import Any

import numpy
import pytest
import sepconv
from conftest import random
from sepconv._arrays import floats


class Tensor:
    """Another library's tensor, which numpy knows nothing of but its ``__dlpack__``."""

    def __init__(self, array: Any, device: tuple[int, int] = (1, 0)) -> None:
        self._array, self._device = array, device

    def __dlpack__(self, **options: Any) -> Any:
        if self._device[0] != 1:
            raise BufferError("it is not on the CPU")
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._device


def test_what_is_contiguous_is_not_copied() -> None:
    array = random(2, 3, 4, 5)
    assert floats("x", array) is array
    assert numpy.shares_memory(floats("x", Tensor(array)), array)
    array.flags.writeable = False
    assert floats("x", array) is array


def test_what_has_gaps_is_copied() -> None:
    for array in (random(2, 6, 4, 5)[:, ::2], random(2, 3, 4, 5).transpose(0, 3, 1, 2), random(8)[::-1]):
        made = floats("x", array)
        assert made.flags.c_contiguous and numpy.array_equal(made, array)
    unaligned = numpy.frombuffer(b"_" + random(6).tobytes(), numpy.float32, offset=1)
    assert floats("x", unaligned).flags.aligned and numpy.array_equal(floats("x", unaligned), unaligned)


def test_a_tensor_gives_what_an_array_gives() -> None:
    x, weight = random(1, 2, 6, 6), random(3, 2, 3, 3, seed=2)
    expected = sepconv.conv2d(x, weight)
    assert numpy.array_equal(sepconv.conv2d(Tensor(x), Tensor(weight)), expected)
    assert numpy.array_equal(sepconv.conv2d(x[:, :, ::-1], weight), sepconv.conv2d(x[:, :, ::-1].copy(), weight))


def test_results_are_the_callers_own() -> None:
    x, weight = random(1, 2, 6, 6), random(3, 2, 3, 3, seed=2)
    first = sepconv.conv2d(x, weight)
    kept = first.copy()
    first += 1
    assert first.flags.writeable and numpy.array_equal(sepconv.conv2d(x, weight), kept)


def test_what_is_no_array_is_refused() -> None:
    with pytest.raises(TypeError, match="^x is a list"):
        floats("x", [1.0])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="^x cannot be read: it is not on the CPU"):
        floats("x", Tensor(random(3), device=(2, 0)))
    for dtype in (">f4", "f2", "f8", "i4"):
        with pytest.raises(ValueError, match="^x has dtype"):
            floats("x", numpy.zeros(3, dtype))
