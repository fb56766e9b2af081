"""`sepconv.ray.Model` by itself, and in Ray, which runs on this machine for real."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy
import pandas
import pytest
import sepconv
import sepconv.ray
from conftest import NETWORKS, PROJECT, SELFIE, random, relu
from PIL import Image

EXAMPLE = PROJECT / "python" / "examples" / "classify_pictures.py"
# A cluster of this test's own: Ray otherwise joins the last one that ran here, or waits for it where it is gone.
ENVIRONMENT = {**os.environ, "RAY_AUTH_MODE": "disabled", "RAY_ADDRESS": "local"}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A network that makes what is below zero zero, of 1 x 3 x 4 x 5."""
    path = tmp_path / "relu.onnx"
    path.write_bytes(relu(n=1, c=3, h=4, w=5))
    return path


def test_a_batch(model: Path) -> None:
    batch = {"id": numpy.arange(7), "x": random(7, 3, 4, 5) - 0.5}
    made = sepconv.ray.Model(model, keep=["id"], batch=3)(batch)
    assert list(made) == ["id", "y", "error"]
    assert numpy.array_equal(made["y"], numpy.maximum(batch["x"], 0))
    assert list(made["error"]) == [""] * 7


def test_a_batch_without_rows_has_its_columns(model: Path) -> None:
    made = sepconv.ray.Model(model)({"id": numpy.arange(0), "x": random(0, 3, 4, 5)})
    assert {name: column.shape for name, column in made.items() if name != "x"} == {
        "id": (0,), "y": (0, 3, 4, 5), "error": (0,),
    }  # fmt: skip


def test_a_row_that_fails_is_reported(model: Path) -> None:
    def prepare(row: dict[str, Any]) -> Any:
        if row["id"] == 1:
            raise OSError("it is cut off")
        return numpy.full((3, 4, 5) if row["id"] != 2 else (3, 4), row["id"])

    def best(outputs: dict[str, Any]) -> dict[str, Any]:
        return {"largest": outputs["y"].max((1, 2, 3)), "place": outputs["y"].reshape(-1, 60).argmax(1)}

    made = sepconv.ray.Model(model, preprocess=prepare, postprocess=best)({"id": numpy.arange(5)})
    assert [bool(error) for error in made["error"]] == [False, True, True, False, False]
    assert made["error"][1] == "OSError: it is cut off" and "input 'x' has shape (3, 4)" in made["error"][2]
    assert numpy.array_equal(made["largest"], [0, numpy.nan, numpy.nan, 3, 4], equal_nan=True)
    assert list(made["place"]) == [0, -1, -1, 0, 0]


def test_open_sizes_must_be_given(tmp_path: Path) -> None:
    path = tmp_path / "relu.onnx"
    path.write_bytes(relu())
    with pytest.raises(ValueError, match="^shapes has nothing for input 'x'"):
        sepconv.ray.Model(path)
    made = sepconv.ray.Model(path, shapes={"x": (1, 2, 2)})({"x": random(3, 1, 2, 2)})
    assert made["y"].shape == (3, 1, 2, 2)


class Found:
    """A device as the package sees it."""

    def __init__(self, index: int, kind: str, pci_address: str, name: str = "GPU") -> None:
        self.index, self.kind, self.pci_address, self.name = index, kind, pci_address, name


FOUND: list[Any] = [
    Found(0, "discrete", "0000:af:00.0", "NVIDIA H100"),
    Found(1, "discrete", "0000:3b:00.0", "NVIDIA H100"),
    Found(2, "discrete", "0000:3b:00.0", "NVIDIA H100"),
    Found(3, "integrated", "0000:00:02.0", "Intel"),
    Found(4, "cpu", "", "llvmpipe"),
]


def test_each_worker_takes_its_own_gpu() -> None:
    assert [sepconv.ray.device_of(gpu, FOUND) for gpu in "012"] == [3, 1, 0]
    for gpu in ("3", "GPU-8f2a"):
        with pytest.raises(ValueError, match=f"^Ray gave GPU '{gpu}'"):
            sepconv.ray.device_of(gpu, FOUND)


def test_a_device_is_found() -> None:
    from sepconv._devices import find

    devices: dict[Any, int] = {0: 0, 4: 4, "0000:3B:00.0": 1, "af:00.0": 0, "h100": 0, " llvm ": 4}
    assert {device: find(device, FOUND) for device in devices} == devices
    for device in (5, -1, "", "3b:00.1", "Radeon"):
        with pytest.raises(ValueError, match="^device is .*0: NVIDIA H100 0000:af:00.0, 1: "):
            find(device, FOUND)


def picture(number: int) -> bytes:
    """A small picture, a PNG file, that no other number has."""
    pixels = numpy.full((8, 8, 3), 100, numpy.uint8)
    pixels[0, 0] = number % 256, number // 256, 0
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_lost_actor_loses_no_picture(tmp_path: Path) -> None:
    """Two actors, 2,000 pictures; one actor is killed once a quarter of them is done. It takes about a minute on two cores."""
    os.environ.update(ENVIRONMENT)
    import ray

    pictures, out, log = (tmp_path / name for name in ("pictures", "out", "log"))
    pictures.mkdir()
    log.mkdir()
    count = 2000
    for number in range(count):
        (pictures / f"{number:04}.png").write_bytes(picture(number))
    (pictures / "0007.png").write_bytes(b"no picture")

    def prepare(row: dict[str, Any]) -> Any:
        # A byte for each picture in a file of this process.
        with open(log / str(os.getpid()), "ab") as file:
            file.write(b".")
        opened = Image.open(io.BytesIO(row["bytes"])).convert("RGB")
        return numpy.asarray(opened.resize((64, 64)), numpy.float32).transpose(2, 0, 1) / 255

    def mean(outputs: dict[str, Any]) -> dict[str, Any]:
        (mask,) = outputs.values()
        return {"mean": mask.mean((1, 2, 3))}

    def prepared() -> dict[int, int]:
        return {int(file.name): file.stat().st_size for file in log.iterdir()}

    killed: list[int] = []

    def kill() -> None:
        while len(prepared()) < 2 or sum(prepared().values()) < count / 4:
            time.sleep(0.05)
        killed.append(min(prepared()))
        os.kill(killed[0], signal.SIGKILL)

    ray.init(num_cpus=2, object_store_memory=100_000_000, include_dashboard=False, log_to_driver=False)
    try:
        ray.data.DataContext.get_current().enable_progress_bars = False
        threading.Thread(target=kill, daemon=True).start()
        ray.data.read_binary_files(str(pictures), include_paths=True, override_num_blocks=40).map_batches(
            sepconv.ray.Model,
            fn_constructor_args=(str(SELFIE),),
            fn_constructor_kwargs=dict(preprocess=prepare, postprocess=mean, keep=["path"], shapes={"input": (3, 64, 64)}),
            compute=ray.data.ActorPoolStrategy(size=2),
            num_cpus=0,
            batch_size=16,
        ).write_parquet(str(out))
    finally:
        ray.shutdown()

    assert killed and len(prepared()) >= 3, "an actor was killed, and another one came for it"
    assert sum(prepared().values()) > count, "what the lost actor had begun was begun again"
    made = pandas.read_parquet(out)
    assert sorted(Path(path).name for path in made["path"]) == [f"{number:04}.png" for number in range(count)]
    failed = made[made["error"] != ""]
    assert [Path(path).name for path in failed["path"]] == ["0007.png"] and failed["mean"].isna().all()
    assert made["mean"].isna().sum() == 1


def test_the_example_and_the_same_with_another_engine(tmp_path: Path) -> None:
    """As a user runs it; then with onnxruntime in place of Session, by the line that the example says."""
    network = NETWORKS / "models" / "efficientnet_lite0.onnx"
    if not network.exists():
        pytest.skip("shared/networks is not beside the project")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    with Image.open(PROJECT / "assets" / "astronaut.jpg") as whole:
        for left in range(0, 300, 30):
            whole.crop((left, 0, left + 200, 200)).save(pictures / f"{left}.png")
    (pictures / "broken.jpg").write_bytes(b"no picture")
    source = EXAMPLE.read_text()
    line, other = "from sepconv import Session", "from onnxruntime import InferenceSession as Session"
    assert source.count(f"\n{line}  # Or, for onnxruntime's CPU provider: {other}\n") == 1
    changed = tmp_path / "changed.py"
    changed.write_text(source.replace(f"\n{line} ", f"\n{other} "))
    results = []
    for script in (EXAMPLE, changed):
        out = tmp_path / f"classes_{script.stem}"
        command: list[Any] = [sys.executable, script, pictures, "--model", network, "--out", out]
        ran = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
        assert ran.returncode == 0, ran.stderr
        results.append(pandas.read_parquet(out).sort_values("path").reset_index(drop=True))
    own, others = results
    assert list(own.columns) == ["path", "class", "score", "error"] and len(own) == 11
    for column in ("path", "class"):
        assert list(own[column]) == list(others[column])
    assert list(own["error"].str.split(":").str[0]) == [""] * 10 + ["UnidentifiedImageError"]
    assert numpy.allclose(own["score"], others["score"], rtol=1e-4, equal_nan=True)
    assert own["score"].isna().sum() == 1 and own["class"].min() == -1
