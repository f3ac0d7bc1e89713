#!/usr/bin/env python3
"""Looks at the Debian package NANOBOX_DEB and lives its life on a clean Debian; closes with 'N passed, M failed'.
Needs root. Arguments are names as for python3 -m unittest."""
import os
import pathlib
import sys
import time
import unittest

DEB = pathlib.Path(os.environ.get("NANOBOX_DEB", "")).resolve()


class Result(unittest.TextTestResult):
    def startTest(self, test):
        self.began = time.monotonic()
        super().startTest(test)

    def stopTest(self, test):
        self.stream.writeln(f"    {time.monotonic() - self.began:.1f} s")
        super().stopTest(test)


def main() -> int:
    if DEB.suffix != ".deb":
        sys.exit("run_packaging: NANOBOX_DEB names no package; tests/run package sets it")
    if os.geteuid() != 0:
        sys.exit("run_packaging: needs root, to make a machine in namespaces")
    loader = unittest.TestLoader()
    here = str(pathlib.Path(__file__).parent)
    suite = loader.loadTestsFromNames(sys.argv[1:]) if len(sys.argv) > 1 else loader.discover(here, "test_*.py")
    outcome = unittest.TextTestRunner(stream=sys.stdout, verbosity=2, resultclass=Result).run(suite)
    failed = len({getattr(test, "test_case", test).id() for test, _ in outcome.failures + outcome.errors})
    print(f"{max(0, outcome.testsRun - failed)} passed, {failed} failed")
    return 1 if failed or not outcome.testsRun else 0


if __name__ == "__main__":
    sys.exit(main())
