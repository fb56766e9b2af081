"""What a call from Python adds to the library's own time.

    python python/benchmarks/call.py efficientnet_lite0.onnx

Of each call the compiled module says how long the library took: upload, one submission, read-back. The rest of the call is what
the package adds: its checks, the way into the compiled module and back, and the arrays that are returned.
"""

import argparse
import statistics
import time

import sepconv
from sepconv._network import made_up, shapes_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--runs", type=int, default=200)
    arguments = parser.parse_args()

    session = sepconv.Session(arguments.model)
    compiled = session._session
    feed = dict(made_up(shapes_of(compiled.inputs(), None)))
    library: list[float] = []

    class Noting:
        """The compiled session, which notes the library's time of each call."""

        def run(self, *given: list[int]) -> object:
            made = compiled.run(*given)  # type: ignore[arg-type]
            library.append(made[1])
            return made

    session._session = Noting()  # type: ignore[assignment]
    session.run(None, feed)
    library.clear()
    added = []
    for number in range(arguments.runs):
        start = time.perf_counter()
        session.run(None, feed)
        added.append(time.perf_counter() - start - library[number])
    own, more = statistics.median(library), statistics.median(added)
    print(f"{arguments.runs} calls, medians")
    print(f"the library's own   {1e3 * own:.3f} ms")
    print(f"added               {1e6 * more:.1f} us, {100 * more / own:.3f} %")


if __name__ == "__main__":
    main()
