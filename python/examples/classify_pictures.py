"""Classifies the pictures of a folder: a Parquet file of each one's class and score.

    pip install './python[ray]'
    python python/examples/classify_pictures.py FOLDER --model efficientnet_lite0.onnx --out classes

On one machine it starts Ray by itself. In a cluster, run it on the head node or submit it with `ray job submit`: the folder,
the model and the place for the results must be where every node can reach them, such as a shared disk or s3://.
"""

import argparse
import io
from typing import Any

import numpy
import ray
import sepconv.ray
from PIL import Image
from sepconv import Session  # Or, for onnxruntime's CPU provider: from onnxruntime import InferenceSession as Session


def prepare(row: dict[str, Any]) -> Any:
    """A file's bytes as EfficientNet-Lite0 takes them: 224 x 224, red, green and blue from -1 to 1."""
    picture = Image.open(io.BytesIO(row["bytes"])).convert("RGB").resize((224, 224), Image.Resampling.BILINEAR)
    return (numpy.asarray(picture, numpy.float32).transpose(2, 0, 1) - 127) / 128


def best(outputs: dict[str, Any]) -> dict[str, Any]:
    """The likeliest class of each picture and its share of the probability."""
    (scores,) = outputs.values()
    shares = numpy.exp(scores - scores.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    return {"class": shares.argmax(1), "score": shares.max(1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="the pictures, in folders of any depth")
    parser.add_argument("--model", required=True, help="an ONNX file of EfficientNet-Lite0")
    parser.add_argument("--out", required=True, help="the folder for the Parquet files, which must not be there")
    parser.add_argument("--workers", type=int, default=1, help="how many sessions there are, in all of the cluster")
    parser.add_argument("--gpus", type=float, default=0, help="how many GPUs a session takes, as Ray counts them")
    arguments = parser.parse_args()

    ray.data.DataContext.get_current().enable_progress_bars = False
    classified = ray.data.read_binary_files(arguments.folder, include_paths=True).map_batches(
        sepconv.ray.Model,
        fn_constructor_args=(arguments.model,),
        fn_constructor_kwargs=dict(preprocess=prepare, postprocess=best, keep=["path"], session=Session),
        compute=ray.data.ActorPoolStrategy(size=arguments.workers),
        num_cpus=0,  # Or the sessions would take the processors that files are to be read with.
        num_gpus=arguments.gpus,
        batch_size=32,
    )
    classified.write_parquet(arguments.out, mode=ray.data.SaveMode.ERROR)


if __name__ == "__main__":
    main()
