"""Which device computes, opened once in a process."""

from __future__ import annotations

import os
import threading
from typing import TypeAlias, Union

from . import _sepconv
from ._sepconv import Device, devices

DeviceLike: TypeAlias = Union[int, str, None]
"""A place in `devices`, part of a name, a PCI address, or None for the best device that opens."""

_lock = threading.Lock()
_open: dict[int | None, _sepconv.Context] = {}


def _forget() -> None:
    """In a fork's child no lock is free for sure, and no device can be used."""
    global _lock
    _lock = threading.Lock()
    _open.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def context(device: DeviceLike) -> _sepconv.Context:
    """The device, opened if it is not open or was lost."""
    index = None if device is None else find(device, devices())
    with _lock:
        opened = _open.get(index)
        if opened is None or opened.lost is not None:
            opened = _open[index] = _sepconv.Context(index)
        return opened


def find(device: int | str, found: list[Device]) -> int:
    """The place of a device among those that there are."""
    known = ", ".join(f"{other.index}: {other.name} {other.pci_address}".rstrip() for other in found) or "none"
    refused = ValueError(f"device is {device!r}; it must be a place, part of a name or a PCI address of {known}")
    if isinstance(device, bool) or not isinstance(device, (int, str)):
        raise TypeError(f"device is a {type(device).__name__}; it must be an int, a str or None")
    if isinstance(device, int):
        if not 0 <= device < len(found):
            raise refused
        return device
    word = device.strip().lower()
    for other in found:
        # An address may leave out a domain of zeros.
        address = other.pci_address.lower()
        if word and word in (address, address.removeprefix("0000:")):
            return other.index
    for other in found:
        if word and word in other.name.lower():
            return other.index
    raise refused
