"""Runs test classes in several processes, each with a network and mounts of its own; what each class printed comes out whole."""
import io
import multiprocessing
import os
import queue
import unittest

import own_network

# What takes longest begins first, so that no process is left with it at the end.
LONG_FIRST = ("test_cluster_random", "test_cluster_trials", "test_cluster_moving", "test_cluster_faults", "test_cluster",
              "test_crashes", "test_fork")


def classes_of(suite):
    """The names of the classes of a suite's tests, each once."""
    names = {}
    for test in suite:
        names.update(classes_of(test) if isinstance(test, unittest.TestSuite)
                     else {f"{type(test).__module__}.{type(test).__qualname__}": None})
    return names


def order(names):
    def rank(name):
        module = name.split(".")[0]
        return LONG_FIRST.index(module) if module in LONG_FIRST else len(LONG_FIRST)
    return sorted(names, key=rank)


def _work(names, taken, outcomes, run):
    own_network.enter_another()
    # A daemon that has mounts of its own begins with those there are: another class's disk would look like its own.
    own_network.leave_mounts()
    while True:
        with taken.get_lock():
            at = taken.value
            taken.value += 1
        if at >= len(names):
            break
        name = names[at]
        text = io.StringIO()
        try:
            outcomes.put((name, run(name, text), text.getvalue()))
        except BaseException as wrong:  # an import error is the class's failure, and the run goes on
            outcomes.put((name, None, f"{text.getvalue()}\n{name}: {wrong!r}\n"))


def run(names, jobs, run_class, show):
    """Calls `run_class(name, stream)` for each class in one of `jobs` processes, `show(text)` with what it wrote, and
    returns the outcomes by name; None for one whose process could not run it, or ended."""
    context = multiprocessing.get_context("fork")
    taken, outcomes, told = context.Value("i", 0), context.Queue(), {}
    workers = [context.Process(target=_work, args=(order(names), taken, outcomes, run_class)) for _ in range(jobs)]
    for worker in workers:
        worker.start()
    while len(told) < len(names):
        try:
            name, outcome, text = outcomes.get(timeout=5)
        except queue.Empty:
            if any(worker.is_alive() for worker in workers):
                continue
            break
        told[name] = outcome
        show(text)
    for worker in workers:
        worker.join()
    for name in names:
        if name not in told:
            show(f"{name}: its process ended before it did\n")
            told[name] = None
    return told


def default_jobs() -> int:
    return int(os.environ.get("NANOBOX_E2E_JOBS", "1"))
