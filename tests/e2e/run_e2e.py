#!/usr/bin/env python3
"""Runs the end-to-end tests and closes with 'N passed, N failed'. Arguments are names as for python3 -m unittest.

Needs NANOBOX_BUILD (build/ without it) and NANOBOX_KERNEL. NANOBOX_E2E_KEEP=FOLDER keeps the daemons' logs there.
"""
import pathlib
import sys
import time
import unittest

import harness


class Result(unittest.TextTestResult):
    def startTest(self, test):
        self.began = time.monotonic()
        super().startTest(test)

    def stopTest(self, test):
        self.stream.writeln(f"    {time.monotonic() - self.began:.1f} s")
        super().stopTest(test)


def main() -> int:
    if not harness.KERNEL:
        sys.exit("run_e2e: NANOBOX_KERNEL names no guest kernel; tests/run e2e sets it")
    loader = unittest.TestLoader()
    here = str(pathlib.Path(__file__).parent)
    suite = loader.loadTestsFromNames(sys.argv[1:]) if len(sys.argv) > 1 else loader.discover(here, "test_*.py")
    outcome = unittest.TextTestRunner(stream=sys.stdout, verbosity=2, resultclass=Result).run(suite)
    failed = len(outcome.failures) + len(outcome.errors) + len(outcome.unexpectedSuccesses)
    skipped = f", {len(outcome.skipped)} skipped" if outcome.skipped else ""
    print(f"{max(0, outcome.testsRun - failed - len(outcome.skipped))} passed, {failed} failed{skipped}")
    return 1 if failed or not outcome.testsRun else 0


if __name__ == "__main__":
    sys.exit(main())
