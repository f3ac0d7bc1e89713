#!/usr/bin/env python3
"""Sees whether the documents say what is so, and runs every command in them; closes with 'N passed, M failed'.
Arguments are names as for python3 -m unittest (`test_text`, `test_commands.Commands.test_readme`).

Needs NANOBOX_BUILD (build/ without it) with nanoboxd, nanobox and the default image, and NANOBOX_KERNEL. Root gives the run
a network of its own; without root it has the machine's.
"""
import os
import pathlib
import sys
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e")]

import own_network  # noqa: E402


def main() -> int:
    if not os.environ.get("NANOBOX_KERNEL"):
        sys.exit("run_docs: NANOBOX_KERNEL names no guest kernel; tests/run docs sets it")
    own_network.enter()
    loader = unittest.TestLoader()
    suite = loader.loadTestsFromNames(sys.argv[1:]) if len(sys.argv) > 1 else loader.discover(str(HERE), "test_*.py")
    outcome = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(suite)
    failed = len(outcome.failures) + len(outcome.errors)
    skipped = f", {len(outcome.skipped)} skipped" if outcome.skipped else ""
    print(f"{max(0, outcome.testsRun - failed - len(outcome.skipped))} passed, {failed} failed{skipped}")
    return 1 if failed or not outcome.testsRun else 0


if __name__ == "__main__":
    sys.exit(main())
