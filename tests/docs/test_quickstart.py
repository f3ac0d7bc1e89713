"""The first command of the README, in the checkout itself and its build."""
import os
import pathlib
import subprocess
import tempfile
import unittest

import programs
from page import ROOT


class Quickstart(unittest.TestCase):
    def test_it_ends_with_the_output_of_a_command_in_a_microvm(self):
        with tempfile.TemporaryDirectory(prefix="nbd-", dir="/tmp") as folder:
            os.chmod(folder, 0o755)
            cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "nanobox"
            environment = {"NANOBOX_CACHE": str(cache), **os.environ, "NANOBOX_BUILD": str(programs.BUILD),
                           "NANOBOX_DATA": f"{folder}/data"}
            ran = subprocess.run([ROOT / "deploy/quickstart"], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL,
                                 capture_output=True, text=True)
        self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)
        self.assertRegex(ran.stdout.splitlines()[-1], r"^Linux \S+ 6\.1\S* .*x86_64")
