"""What tests of pause, fork and snapshot share: sandboxes with a witness inside, and what it saw."""
import collections
import contextlib
import glob
import pathlib
import subprocess
import threading
import time

from events import Events, bytes_of, gather
from harness import HERE, Answer, until

Line = collections.namedtuple("Line", "number host random wall_ns monotonic_ns")
SMALL = {"vcpu": 1, "memory_mb": 128, "disk_mb": 256}
#: How the guest's clock may differ from the host's.
CLOCK_NS = 50_000_000


def build_witness(folder: pathlib.Path) -> bytes:
    program = folder / "witness"
    if not program.exists():
        subprocess.run(["gcc", "-O1", "-static", "-Wall", "-o", program, HERE / "witness.c"], check=True)
    return program.read_bytes()


def read_lines(text: str):
    """The whole lines of a witness; the last may be half written."""
    return [Line(int(number), host, random, int(wall), int(monotonic)) for number, host, random, wall, monotonic in
            (line.split() for line in text.splitlines(keepends=True) if line.endswith("\n"))]


class Copies:
    """Mixed into a Case or an OwnDaemon with `client` and `folder`."""

    def sh(self, sandbox, script, **more):
        return self.client.exec(sandbox, "sh", "-c", script, **more)["stdout"]

    def start(self, sandbox, script, **more):
        """A detached command's process id."""
        body = {"command": "sh", "args": ["-c", script], "detached": True, **more}
        return self.client.want(202, "POST", f"/sandboxes/{sandbox}/exec", body)["process_id"]

    def process(self, sandbox, process):
        return self.client.want(200, "GET", f"/sandboxes/{sandbox}/processes/{process}")

    def output(self, sandbox, process):
        with Events(self.client, "GET", f"/sandboxes/{sandbox}/processes/{process}/output") as events:
            return gather(events)["stdout"].decode()

    def seen(self, sandbox):
        return self.client.want(200, "GET", f"/sandboxes/{sandbox}")

    def pause(self, sandbox):
        return self.client.want(200, "POST", f"/sandboxes/{sandbox}/pause", {})

    def resume(self, sandbox):
        return self.client.want(200, "POST", f"/sandboxes/{sandbox}/resume", {})

    def fork(self, sandbox, count=1):
        """The children's ids."""
        return [child["id"] for child in self.client.want(201, "POST", f"/sandboxes/{sandbox}/fork", {"count": count})["items"]]

    def give_witness(self, sandbox):
        answer = self.client.call("PUT", f"/sandboxes/{sandbox}/files?path=/root/witness&mode=0755", build_witness(self.folder),
                                  {"Content-Type": "application/octet-stream"})
        self.assertEqual(answer.status, 204, answer)

    def with_witness(self, template, **more):
        """A sandbox in which one witness writes to a tmpfs and another to the disk."""
        sandbox = self.client.create(template, **more)["id"]
        self.give_witness(sandbox)
        self.sh(sandbox, "mkdir -p /mem && mount -t tmpfs tmpfs /mem")
        for file in "/mem/lines", "/root/lines":
            self.start(sandbox, f"exec /root/witness {file}")
            self.more_lines(sandbox, 0, file)
        return sandbox

    def lines(self, sandbox, file="/mem/lines"):
        return read_lines(self.sh(sandbox, f"cat {file}"))

    def more_lines(self, sandbox, than: int, file="/mem/lines"):
        """What the witness has written once it is more than that many lines."""
        def look():
            lines = self.lines(sandbox, file)
            return lines if len(lines) > than else None
        return until("the witness goes on", look)

    def check_goes_on(self, lines):
        """No line is missing, none comes twice, and the monotonic clock never goes back."""
        self.assertEqual([line.number for line in lines], list(range(len(lines))))
        for before, after in zip(lines, lines[1:]):
            self.assertLessEqual(before.monotonic_ns, after.monotonic_ns)

    def check_clock(self, sandbox):
        """The wall clock inside is the host's, once a message with it came through at once."""
        def look():
            before = time.time_ns()
            inside = read_lines(self.sh(sandbox, "/root/witness"))[0].wall_ns
            self.assertLessEqual(inside, time.time_ns() + CLOCK_NS)
            return inside >= before - CLOCK_NS or None
        until("the clock inside is the host's", look)

    def with_small(self, folder, megabytes, config=""):
        """A daemon for whom that folder of its data is a file system of its own, so small, with a template "cold"."""
        path = self.folder / "data" / folder
        path.mkdir(parents=True)
        mount = f"mount -t tmpfs -o size={megabytes}m,mode=755 tmpfs {path} && exec \"$@\""
        daemon = self.daemon(f"[agent]\nmin_free_mb = 0\n{config}", prefix=["unshare", "-m", "sh", "-c", mount, "sh"])
        self.client = daemon.client
        self.client.ready("cold", self.busybox, resources=SMALL)
        return daemon

    def half_saved(self):
        """The files of a saved state that is being written."""
        return glob.glob(f"{self.daemon.seen_data()}/snapshots/.tmp/*/*")

    @contextlib.contextmanager
    def meanwhile(self, *args, **more):
        """Makes a call in a thread of its own; `answer()` of what is yielded waits for it."""
        call = Call(self.client, *args, **more)
        try:
            yield call
        finally:
            call.join()


class Call(threading.Thread):
    def __init__(self, client, *args, **more):
        super().__init__()
        self.client, self.args, self.more = client, args, more
        self.outcome = None
        self.start()

    def run(self):
        try:
            self.outcome = self.client.call(*self.args, **self.more)
        except Exception as error:  # a server that is gone, above all
            self.outcome = error

    def answer(self) -> Answer:
        self.join()
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome
