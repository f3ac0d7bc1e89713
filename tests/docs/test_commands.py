"""Every command of the pages is run, as it is written: in order, a shell a page, in a copy of the checkout, with the
build's programs in PATH. A page that starts no daemon has one, at 127.0.0.1:8080, with all others."""
import contextlib
import fnmatch
import os
import pathlib
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import programs
from page import ROOT, change_of, pages

sys.path.insert(0, str(ROOT / "tests/e2e"))
from leaks import cgroups_of, processes_of  # noqa: E402

BLOCK_SEC = 300
ADDRESS = "127.0.0.1:8080"
STARTS_DAEMON = re.compile(r"^[^#\n]*\bnanoboxd\b[^#\n]*&\s*(#.*)?$", re.MULTILINE)


class Shell:
    """bash that keeps variables and jobs from one block to the next."""

    def __init__(self, folder: pathlib.Path, environment):
        self.folder = folder
        # Without -e: a block sets it, so that one that fails ends the shell with its line.
        self.process = subprocess.Popen(["bash"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder,
                                        stderr=subprocess.STDOUT, env=environment, start_new_session=True)
        self.ended = os.pidfd_open(self.process.pid)
        self.count = 0

    def run(self, text: str, strictly: bool):
        """(whether it succeeded, what it printed)."""
        self.count += 1
        file = self.folder.parent / f"block-{self.count}.sh"
        file.write_text(text)
        mark = f"--- end of block {self.count} ---"
        strict = "set -eE -o pipefail; trap 'echo \"failed: $BASH_COMMAND\"' ERR" if strictly else "set +eE; trap - ERR"
        # Background jobs must not keep our pipe once the shell is gone, nor read our blocks.
        lenient = "set +eE; trap - ERR"
        self.process.stdin.write(f"{strict}\n. '{file}' </dev/null\n{lenient}; echo; echo '{mark}'\n".encode())
        self.process.stdin.flush()
        return self.read_until(f"\n{mark}\n".encode())

    def read_until(self, mark: bytes):
        seen, end = b"", time.monotonic() + BLOCK_SEC
        while not seen.endswith(mark):
            # What runs in the background holds the pipe open, also when the shell is gone.
            readable = select.select([self.process.stdout, self.ended], [], [], max(0, end - time.monotonic()))[0]
            if self.process.stdout in readable:
                seen += os.read(self.process.stdout.fileno(), 65536)
            elif readable:
                return False, seen.decode(errors="replace")
            else:
                return False, seen.decode(errors="replace") + f"\n(not over after {BLOCK_SEC} s)"
        return True, seen[:-len(mark)].decode(errors="replace")

    def end(self):
        """Ends itself and what it left running in the background, which is of its process group."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
            if self.is_gone():
                break
        self.process.stdin.close()
        self.process.stdout.close()
        os.close(self.ended)

    def is_gone(self, patience=30.0):
        """Whether nothing of the group is left, after a while."""
        end = time.monotonic() + patience
        while time.monotonic() < end:
            self.process.poll()
            try:
                os.killpg(self.process.pid, 0)
            except ProcessLookupError:
                return True
            time.sleep(0.05)
        return False


class Commands(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="nbd-", dir="/tmp"))
        cls.folder.chmod(0o755)
        cls.addClassCleanup(cls.remove)
        cls.daemon = None
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
        cls.checkout = cls.folder / "nanobox"
        for name in filter(None, os.fsdecode(listed).split("\0")):
            if (ROOT / name).is_file():
                (cls.checkout / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, cls.checkout / name)
        (cls.checkout / "build").symlink_to(programs.BUILD)
        (cls.folder / "home").mkdir()
        cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "nanobox"
        cls.environment = {
            "PATH": f"{programs.BIN}:{os.environ['PATH']}", "HOME": str(cls.folder / "home"), "TERM": "dumb",
            "LANG": "C.UTF-8", "NANOBOX_DATA": str(cls.folder / "data"),
            "NANOBOX_CACHE": os.environ.get("NANOBOX_CACHE", str(cache)),
            "NANOBOX_FIRECRACKER_KERNEL": os.environ["NANOBOX_KERNEL"], "NANOBOX_LOG_LEVEL": "debug"}

    @classmethod
    def remove(cls):
        cls.stop_daemon()
        for pid in processes_of(str(cls.folder), but={os.getpid()}):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        left = [group for data in ("data", "data/client") for group in cgroups_of(cls.folder / data)]
        shutil.rmtree(cls.folder, ignore_errors=True)
        if left:
            raise AssertionError(f"left behind: {left}")

    @classmethod
    def start_daemon(cls):
        if cls.daemon is not None:
            return
        log = cls.folder / "nanoboxd.log"
        with open(log, "ab") as out:
            cls.daemon = subprocess.Popen([programs.BIN / "nanoboxd", f"--api.listen_addr={ADDRESS}"], stdout=out, stderr=out,
                                          stdin=subprocess.DEVNULL, env=cls.environment, start_new_session=True)
        ready = ["curl", "-sf", "--retry", "60", "--retry-delay", "1", "--retry-all-errors", f"http://{ADDRESS}/readyz"]
        if subprocess.run(ready, capture_output=True).returncode != 0:
            raise AssertionError(f"the daemon is not ready:\n{log.read_text()[-3000:]}")

    @classmethod
    def stop_daemon(cls):
        if cls.daemon is not None:
            cls.remove_sandboxes()
            cls.daemon.terminate()
            cls.daemon.wait(60)
            cls.daemon = None

    @classmethod
    def remove_sandboxes(cls):
        subprocess.run([programs.BIN / "nanobox", "rm", "--all"], env=cls.environment, capture_output=True, timeout=120)

    def run_page(self, page):
        blocks = page.commands
        for fence in blocks:
            if change := change_of(fence):
                self.fail(f"{fence.place}: is not run, for '{change}' changes the machine: ```sh elsewhere=SUITE")
        if any(STARTS_DAEMON.search(fence.text) for fence in blocks):
            self.stop_daemon()
        elif blocks:
            self.start_daemon()
        shell = Shell(self.checkout, self.environment)
        try:
            for fence in blocks:
                run = run_console if fence.language == "console" else run_script
                if reason := run(shell, fence.text):
                    self.fail(f"\n{fence.place}: {reason}\n(if it cannot run in a test: ```sh elsewhere=TEST)")
        finally:
            self.remove_sandboxes()
            shell.end()


def run_script(shell, text):
    """Why the block failed; None: it did not."""
    fine, out = shell.run(text, strictly=True)
    return None if fine else f"the block failed:\n{out[-3000:]}"


def run_console(shell, text):
    """Why what a command printed is not what the page shows: `…` is anything, on a line of its own any lines."""
    for command, shown in console_calls(text):
        fine, out = shell.run(command, strictly=False)
        if not fine:
            return f"'{command}' ended the shell:\n{out[-3000:]}"
        if not fnmatch.fnmatchcase(tidy(out), pattern(shown)):
            return f"'{command}' printed\n{tidy(out)}\nand the page shows\n{tidy(shown)}"
    return None


def console_calls(text):
    """[(command, the output that is shown)]; lines that begin with `> ` go on with the command."""
    calls = []
    for line in text.splitlines():
        if line.startswith("$ "):
            calls.append([line[2:], ""])
        elif line.startswith("> ") and calls and not calls[-1][1]:
            calls[-1][0] += "\n" + line[2:]
        else:
            calls[-1][1] += line + "\n"
    return calls


def tidy(text):
    """Columns are as wide as they happen to be."""
    return "\n".join(re.sub(" +", " ", line.rstrip()) for line in text.strip("\n").replace("\r", "").splitlines())


def pattern(shown):
    quoted = re.sub(r"([*?\[])", r"[\1]", tidy(shown))
    return re.sub(r"\n?^…$\n?", "*", quoted, flags=re.MULTILINE).replace("…", "*")


def test_of(page):
    def test(self):
        self.run_page(page)
    test.__doc__ = page.name
    return test


for found in pages():
    if found.commands:
        setattr(Commands, "test_" + re.sub(r"\W", "_", found.name.removesuffix(".md").lower()), test_of(found))
