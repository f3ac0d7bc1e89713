#!/usr/bin/env python3
"""Runs the end-to-end tests and closes with 'N passed, N failed'. Arguments are names as for python3 -m unittest.

Needs NANOBOX_BUILD (build/ without it) and NANOBOX_KERNEL. NANOBOX_E2E_KEEP=FOLDER keeps the daemons' logs there.
NANOBOX_E2E_AGAIN=1 runs what failed once more; the second run counts, and both are shown.
Root gives the run a network of its own; without root it has the machine's.
"""
import os
import pathlib
import re
import sys
import time
import unittest

import contract
import harness
import own_network


class Result(unittest.TextTestResult):
    def startTest(self, test):
        self.began = time.monotonic()
        super().startTest(test)

    def stopTest(self, test):
        self.stream.writeln(f"    {time.monotonic() - self.began:.1f} s")
        super().stopTest(test)


def failed_in(outcome):
    """The names of what failed: of a subtest its test, of a class that could not be set up or torn down the class."""
    names = set()
    for test, _ in outcome.failures + outcome.errors:
        name = getattr(test, "test_case", test).id()
        whole_class = re.fullmatch(r"(?:setUp|tearDown)(?:Class|Module) \((.+)\)", name)
        names.add(whole_class.group(1) if whole_class else name)
    return sorted(names)


def lost_in(outcome):
    """How many failed; one at least where an answer was not as it is described, though no test saw it (in a thread)."""
    lost = len(outcome.failures) + len(outcome.errors) + len(outcome.unexpectedSuccesses)
    if contract.found:
        outcome.stream.writeln("\n  ".join(["not as docs/openapi.json describes it:", *contract.found[:50]]))
    return max(lost, 1) if contract.found else lost


def main() -> int:
    if not harness.KERNEL:
        sys.exit("run_e2e: NANOBOX_KERNEL names no guest kernel; tests/run e2e sets it")
    own_network.enter()
    contract.is_on = True
    loader = unittest.TestLoader()
    here = str(pathlib.Path(__file__).parent)
    suite = loader.loadTestsFromNames(sys.argv[1:]) if len(sys.argv) > 1 else loader.discover(here, "test_*.py")
    runner = unittest.TextTestRunner(stream=sys.stdout, verbosity=2, resultclass=Result)
    outcome = runner.run(suite)
    failures, tests = failed_in(outcome), outcome.testsRun
    if failures and os.environ.get("NANOBOX_E2E_AGAIN") == "1":
        print(f"{len(failures)} failed and run once more: {' '.join(failures)}", flush=True)
        outcome = runner.run(loader.loadTestsFromNames(failures))
    failed = lost_in(outcome)
    skipped = f", {len(outcome.skipped)} skipped" if outcome.skipped else ""
    print(f"{max(0, tests - failed - len(outcome.skipped))} passed, {failed} failed{skipped}")
    return 1 if failed or not tests else 0


if __name__ == "__main__":
    sys.exit(main())
