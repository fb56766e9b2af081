"""Convolution on any GPU, from one layer to whole networks.

`Session` runs an ONNX file as ``onnxruntime.InferenceSession`` does. `conv2d` and `separable_conv2d` compute one layer, in
the words of ``torch.nn.functional``. `sepconv.ray.Model` runs a network over the blocks of a Ray data set.
"""

from ._arrays import ArrayLike
from ._devices import DeviceLike
from ._functional import conv2d, separable_conv2d
from ._network import LayerTime, NetworkTime, Separated, separate, tune
from ._sepconv import Device, DeviceError, devices
from ._session import NodeArg, Session

__all__ = [
    "ArrayLike",
    "Device",
    "DeviceError",
    "DeviceLike",
    "LayerTime",
    "NetworkTime",
    "NodeArg",
    "Separated",
    "Session",
    "conv2d",
    "devices",
    "separable_conv2d",
    "separate",
    "tune",
]
