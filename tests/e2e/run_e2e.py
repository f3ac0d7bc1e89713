#!/usr/bin/env python3
"""Runs the end-to-end tests and closes with 'N passed, N failed'. Arguments are names as for python3 -m unittest.

Needs NANOBOX_BUILD (build/ without it) and NANOBOX_KERNEL. NANOBOX_E2E_KEEP=FOLDER keeps the daemons' logs there.
NANOBOX_E2E_AGAIN=1 runs what failed once more; the second run counts, and both are shown.
NANOBOX_E2E_JOBS=N runs N classes at a time, each in a process and a network of its own.
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
import side_by_side


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


def run_tests(suite, stream):
    """(tests run, names of what failed, failures, skipped)"""
    outcome = unittest.TextTestRunner(stream=stream, verbosity=2, resultclass=Result).run(suite)
    failures = failed_in(outcome)
    lost = len(outcome.failures) + len(outcome.errors) + len(outcome.unexpectedSuccesses)
    if contract.found and not lost:
        # An answer that was not as it is described, where no test saw it: in a thread.
        lost, failures = 1, list(side_by_side.classes_of(suite))
    if contract.found:
        stream.write("\n  ".join(["not as docs/openapi.json describes it:", *contract.found[:50]]) + "\n")
        contract.found.clear()
    return outcome.testsRun, failures, lost, len(outcome.skipped)


def show(text):
    print(text, end="", flush=True)


def main() -> int:
    if not harness.KERNEL:
        sys.exit("run_e2e: NANOBOX_KERNEL names no guest kernel; tests/run e2e sets it")
    contract.is_on = True
    loader = unittest.TestLoader()
    here = str(pathlib.Path(__file__).parent)
    suite = loader.loadTestsFromNames(sys.argv[1:]) if len(sys.argv) > 1 else loader.discover(here, "test_*.py")
    names = list(side_by_side.classes_of(suite))
    jobs = min(side_by_side.default_jobs(), len(names))
    # A name that is no class is a test, or what could not be loaded: unittest says so.
    if jobs > 1 and len(sys.argv) == 1:
        harness.vmm()  # found once, before the processes
        for image in harness.build_images.IMAGES:
            harness.image_layout(image)
        told = side_by_side.run(names, jobs, lambda name, stream: run_tests(loader.loadTestsFromName(name), stream), show)
        own_network.enter()
        ran = [outcome or (1, [name], 1, 0) for name, outcome in told.items()]
        tests, failures = sum(one[0] for one in ran), [name for one in ran for name in one[1]]
        failed, skipped = sum(one[2] for one in ran), sum(one[3] for one in ran)
    else:
        own_network.enter()
        tests, failures, failed, skipped = run_tests(suite, sys.stdout)
    if failures and os.environ.get("NANOBOX_E2E_AGAIN") == "1":
        print(f"{len(failures)} failed and run once more: {' '.join(failures)}", flush=True)
        _, _, failed, skipped_again = run_tests(loader.loadTestsFromNames(failures), sys.stdout)
        skipped += skipped_again
    print(f"{max(0, tests - failed - skipped)} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed or not tests else 0


if __name__ == "__main__":
    sys.exit(main())
