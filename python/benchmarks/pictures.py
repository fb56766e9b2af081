"""Pictures per second: a plain loop over one session, two processes by hand, and Ray with two actors.

    python python/benchmarks/pictures.py FOLDER --model efficientnet_lite0.onnx

All three read the same files, prepare them in the same way and classify them. The time of a process by hand is from its first
picture to its last; that of Ray from the first picture that an actor prepares to the last file that is written. So none of
them counts how long it takes to start and to compile; the line of Ray's whole job does.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy
import sepconv
import sepconv.ray

sys.path.append(str(Path(__file__).resolve().parents[1] / "examples"))
import classify_pictures as steps

WORKER = "--worker"


def loop(model: str, paths: list[str]) -> None:
    """Classifies pictures one after the other, once it is told to on standard input, and prints when it began and ended."""
    session = sepconv.Session(model)
    (input,) = session.get_inputs()

    def classify(path: str) -> Any:
        array = steps.prepare({"bytes": Path(path).read_bytes()})[None].astype(numpy.float32)
        return steps.best({"scores": session.run(None, {input.name: array})[0]})

    classify(paths[0])
    print("ready", flush=True)
    sys.stdin.readline()
    begin = time.time()
    for path in paths:
        classify(path)
    print(begin, time.time(), flush=True)


def by_hand(model: str, paths: list[str], processes: int) -> float:
    """Pictures per second of so many processes, each with its share."""
    command = [sys.executable, __file__, WORKER, model]
    shares = [paths[first::processes] for first in range(processes)]
    pipe = subprocess.PIPE
    running = [subprocess.Popen([*command, *share], stdin=pipe, stdout=pipe, text=True) for share in shares]
    for process in running:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    times = []
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in running:
        printed, _ = process.communicate()
        times.append([float(word) for word in printed.split()])
    return len(paths) / (max(end for _, end in times) - min(begin for begin, _ in times))


def by_ray(model: str, folder: str, count: int) -> tuple[float, float]:
    """Pictures per second of two actors, without and with their start."""
    import ray

    with tempfile.TemporaryDirectory() as log:

        def prepare(row: dict[str, Any]) -> Any:
            first = Path(log) / "first"
            if not first.exists():
                first.touch()
            return steps.prepare(row)

        ray.init(log_to_driver=False, include_dashboard=False, object_store_memory=200_000_000)
        ray.cloudpickle.register_pickle_by_value(steps)  # type: ignore[no-untyped-call]
        ray.data.DataContext.get_current().enable_progress_bars = False
        start = time.time()
        classified = ray.data.read_binary_files(folder, include_paths=True).map_batches(
            sepconv.ray.Model,
            fn_constructor_args=(model,),
            fn_constructor_kwargs=dict(preprocess=prepare, postprocess=steps.best, keep=["path"]),
            compute=ray.data.ActorPoolStrategy(size=2),
            num_cpus=0,
            batch_size=32,
        )
        classified.write_parquet(str(Path(log) / "classes"))
        end = time.time()
        first = (Path(log) / "first").stat().st_mtime
        ray.shutdown()
    return count / (end - first), count / (end - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--model", required=True)
    arguments = parser.parse_args()
    paths = sorted(str(path) for path in Path(arguments.folder).iterdir())
    print(f"{len(paths)} pictures")
    one = by_hand(arguments.model, paths, 1)
    print(f"a loop over one session   {one:.2f} pictures per second")
    two = by_hand(arguments.model, paths, 2)
    print(f"two processes by hand     {two:.2f}")
    own, whole = by_ray(arguments.model, str(Path(arguments.folder).resolve()), len(paths))
    print(f"Ray, two actors           {own:.2f}, {own / two:.2f} of two processes by hand")
    print(f"Ray's whole job           {whole:.2f}, with starting two actors and compiling in each")


if __name__ == "__main__":
    if sys.argv[1:2] == [WORKER]:
        loop(sys.argv[2], sys.argv[3:])
    else:
        main()
