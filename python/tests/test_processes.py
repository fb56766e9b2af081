"""Threads, forks, the end of a process, and memory."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy
import pytest
import sepconv
from conftest import SELFIE, random, relu


def run(program: str) -> str:
    """What a Python process prints that runs this program. It may take two minutes."""
    head = f"import os, sys, numpy, sepconv\nSELFIE = {str(SELFIE)!r}\n"
    ran = subprocess.run(
        [sys.executable, "-c", head + textwrap.dedent(program)], capture_output=True, text=True, timeout=120
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_threads_share_a_session() -> None:
    session = sepconv.Session(SELFIE)
    pictures = [random(1, 3, 256, 256, seed=seed) for seed in range(4)]
    expected = [session.run(None, {"input": picture})[0] for picture in pictures]

    def compute(number: int) -> bool:
        made = session.run(None, {"input": pictures[number % 4]})[0]
        return numpy.array_equal(made, expected[number % 4])

    assert not numpy.array_equal(expected[0], expected[1])
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(compute, range(32)))


def test_other_threads_run_meanwhile() -> None:
    """A thread counts while a network is planned and run, which takes much longer than Python lets one thread run."""
    printed = run(
        """
        import threading, time
        session, counted, over = sepconv.Session(SELFIE), [0], threading.Event()
        def count():
            while not over.is_set():
                counted[0] += 1
                time.sleep(0.001)
        thread = threading.Thread(target=count)
        thread.start()
        before, start = counted[0], time.monotonic()
        session.run(None, {"input": numpy.zeros((1, 3, 256, 256), numpy.float32)})
        print(counted[0] - before, time.monotonic() - start)
        over.set()
        thread.join()
        """
    )
    counted, seconds = map(float, printed.split())
    # At least a tenth of what there is time for; without freeing Python it is one or two.
    assert counted > 2 + 100 * seconds * 0.1, printed


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_is_told_so_and_ends() -> None:
    """The child drops the parent's session, collects garbage and ends as Python ends; the parent goes on."""
    printed = run(
        """
        import gc
        picture = {"input": numpy.ones((1, 3, 256, 256), numpy.float32)}
        session = sepconv.Session(SELFIE)
        expected = session.run(None, picture)
        child = os.fork()
        if child == 0:
            try:
                session.run(None, picture)
            except RuntimeError as error:
                print(error, flush=True)
            del session
            gc.collect()
            sys.exit(7)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), numpy.array_equal(session.run(None, picture)[0], expected[0]))
        """
    )
    said, end = printed.splitlines()
    assert "a Session was made in process" in said and "make one here" in said
    assert end == "7 True"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_pool_of_forks() -> None:
    """Each child makes its own session, though the parent has one. Such children end without the drivers' last words, which
    Mesa's software driver would not survive."""
    printed = run(
        """
        import multiprocessing
        def size(seed):
            return sepconv.Session(SELFIE).run(None, {"input": numpy.ones((1, 3, 256, 256), numpy.float32)})[0].shape
        kept = sepconv.Session(SELFIE)
        sepconv.conv2d(numpy.ones((1, 1, 4, 4), numpy.float32), numpy.ones((1, 1, 3, 3), numpy.float32))
        with multiprocessing.get_context("fork").Pool(2) as pool:
            print(pool.map(size, range(2)))
        """
    )
    assert printed.strip() == str([(1, 1, 256, 256)] * 2)


def test_a_process_may_end_while_a_thread_computes() -> None:
    printed = run(
        """
        import threading
        session = sepconv.Session(SELFIE)
        picture = {"input": numpy.ones((1, 3, 256, 256), numpy.float32)}
        session.run(None, picture)
        def forever():
            while True:
                session.run(None, picture)
        threading.Thread(target=forever, daemon=True).start()
        session.run(None, picture)
        print("over")
        """
    )
    assert printed == "over\n"


def resident() -> int:
    """The bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="this system does not say a process's memory so")
def test_memory_does_not_grow() -> None:
    """10,000 runs of a small network, of two shapes in turn; a leak of one output would be 160 MB."""
    session = sepconv.Session(relu())
    feeds = [{"x": random(1, 1, 64, 64)}, {"x": random(1, 2, 32, 64)}]

    def compute(times: int) -> None:
        for number in range(times):
            session.run(None, feeds[number % 2])

    compute(1000)
    before = resident()
    compute(10_000)
    assert resident() - before < 20e6
