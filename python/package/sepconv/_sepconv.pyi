"""The compiled module. What it has is documented where the package uses it."""

from typing import Any, final

from ._arrays import Floats

class DeviceError(RuntimeError):
    """There is no device, it does not open, it was lost, or it refused something."""

@final
class Device:
    """An adapter that can run the library's shaders."""

    @property
    def index(self) -> int:
        """Its place in `devices()`, where the best is first."""
    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str:
        """``discrete``, ``integrated``, ``virtual``, ``cpu`` or ``other``."""
    @property
    def backend(self) -> str:
        """``Vulkan``, ``Metal`` or ``Dx12``."""
    @property
    def driver(self) -> str: ...
    @property
    def pci_address(self) -> str:
        """Such as ``0000:3b:00.0``; empty where the driver does not say it."""

def devices() -> list[Device]:
    """Every adapter that can run the library's shaders, best first."""

@final
class Context:
    def __new__(cls, index: int | None = None) -> Context: ...
    @property
    def lost(self) -> str | None: ...
    def with_tuning(self, table: str) -> Context: ...
    def with_f16(self) -> Context: ...

@final
class Session:
    def __new__(cls, context: Context, model: bytes, rounding: str, plans: int) -> Session: ...
    def inputs(self) -> list[tuple[str, list[int | None]]]: ...
    def outputs(self) -> list[tuple[str, list[int] | None]]: ...
    def run(self, arrays: list[Floats], wanted: list[int]) -> tuple[list[Floats], float]: ...
    def profile(
        self, feed: list[tuple[str, Floats]]
    ) -> tuple[list[tuple[str, str, str, float, float, float]], float, float, float, int, int, int]: ...

def conv2d(
    context: Context,
    input: Floats,
    weight: Floats,
    bias: Floats | None,
    residual: Floats | None,
    residual_after_activation: bool,
    input_scale: Floats | None,
    groups: object,
    rounding: object,
    options: dict[str, Any],
    kernel: str | None,
) -> Floats: ...
def separable_conv2d(
    context: Context,
    input: Floats,
    depthwise_weight: Floats,
    pointwise_weight: Floats,
    depthwise_bias: Floats | None,
    pointwise_bias: Floats | None,
    residual: Floats | None,
    residual_after_activation: bool,
    depthwise_activation: object,
    options: dict[str, Any],
    kernel: str | None,
) -> Floats: ...
def tune(context: Context, model: bytes, shapes: list[tuple[str, list[int]]]) -> str: ...
def separate(
    context: Context,
    model: bytes,
    samples: list[list[tuple[str, Floats]]],
    is_calibrated: bool,
    max_error: float | None,
    speed_up: float | None,
) -> tuple[bytes, list[tuple[str, int]], float, float, float] | None: ...
