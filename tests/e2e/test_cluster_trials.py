"""Hosts and cables that are not as they should be, without being gone: a link that flaps, clocks that differ, a full disk.
One cluster for all: n1 has a small disk, n2's clock is five minutes ahead, n3's as much behind."""
import contextlib
import datetime
import os
import pathlib
import random
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from cluster import LOST, SMALL, ClusterCase, Node
from harness import HERE, IMAGES, until
from leaks import files_below, half_made
from random_image import random_image

SKEW = datetime.timedelta(minutes=5)
SMALL_DISK_MB, MIN_FREE_MB = 400, 16


class SmallDisk(Node):
    """Its data folder is a file system of its own, and small."""

    def __init__(self, *args):
        super().__init__(*args)
        self.data.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK_MB}m,mode=755", "tmpfs", self.data], check=True)
        self.flags.append(f"--agent.min_free_mb={MIN_FREE_MB}")

    @contextlib.contextmanager
    def full(self, free_mb):
        """Something else takes all of its disk but so much."""
        ballast = self.data / "ballast"
        space = os.statvfs(self.data)
        with open(ballast, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, space.f_bavail * space.f_frsize - (free_mb << 20))
        try:
            yield
        finally:
            ballast.unlink()

    def end(self):
        return [leak for leak in super().end() if not leak.endswith(f"mount: {self.mount()}")]

    def mount(self):
        mounts = pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
        return next((line for line in mounts if line.split()[4] == str(self.data)), None)

    def close(self):
        super().close()
        subprocess.run(["umount", "-l", self.data], check=True)


class Skewed(Node):
    """Its clock is not that of the others."""
    skew = SKEW

    def environment(self):
        library = self.folder / "shifted_clock.so"
        if not library.exists():
            source = HERE / "shifted_clock.c"
            subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-o", library, source, "-ldl"], check=True)
        return {**super().environment(), "LD_PRELOAD": str(library), "SHIFT_SEC": str(int(self.skew.total_seconds()))}


class Behind(Skewed):
    skew = -SKEW


def moment(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def now():
    return datetime.datetime.now(datetime.timezone.utc)


class Trials(ClusterCase):
    nodes_wanted = 0

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.small, cls.ahead, cls.behind = (cls.add_node(f"n{number}", 10 + number, kind)
                                            for number, kind in enumerate((SmallDisk, Skewed, Behind), 1))

    def setUp(self):
        super().setUp()
        with self.only(self.ahead):
            self.ready()

    def node(self, name):
        return self.client.want(200, "GET", f"/nodes/{name}")

    # --- A link that flaps

    def test_a_link_that_flaps_leaves_all_as_it_was(self):
        moments, node = random.Random(6), self.behind
        running, paused = self.create_on(node), self.create_on(node)
        self.sh(running, "echo running > /root/mark")
        self.sh(paused, "echo paused > /root/mark")
        self.pause(paused)
        machine = node.machines()[running]["pid"]
        for _ in range(7):
            node.cut()
            time.sleep(moments.uniform(0.2, 2))
            node.mend()
            time.sleep(moments.uniform(0.2, 2))
        node.cut()
        until("it is lost at least once", lambda: node.status == "lost", LOST)
        node.mend()
        self.back(node, running)
        self.assertEqual(node.machines()[running]["pid"], machine)
        self.assertEqual(self.sh(running, "cat /root/mark"), "running\n")
        self.assertEqual(self.resume(paused)["status"], "running")
        self.assertEqual(self.sh(paused, "cat /root/mark"), "paused\n")
        listed = [item["id"] for item in self.client.want(200, "GET", "/sandboxes")["items"]]
        self.assertEqual(sorted(listed), sorted([running, paused]))
        self.assertEqual(set().union(*(each.sandboxes() for each in self.nodes)), {running, paused})
        self.check_beats_once(node)

    def check_beats_once(self, node):
        """One connection is left, and it beats once a second: not twice, as two of them would."""
        epoch, begin, beats = node.epoch, time.monotonic(), set()
        while time.monotonic() - begin < 5:
            beats.add(self.node(node.name)["last_heartbeat_at"])
            time.sleep(0.05)
        self.assertGreater(len(beats), 1)
        self.assertLessEqual(len(beats), time.monotonic() - begin + 2)
        self.assertEqual(node.epoch, epoch)

    # --- Clocks that differ

    def test_a_template_whose_nodes_are_lost_says_so(self):
        with self.only(self.behind):
            self.ready("alone", force=True)
        self.addCleanup(lambda: self.client.call("DELETE", "/templates/alone?force=1"))
        with self.behind.unplugged():
            until("its node is lost", lambda: self.behind.status == "lost", LOST)
            self.assertEqual(self.client.want(200, "GET", "/templates/alone/status")["error"]["code"], "node_lost")
            answer = self.client.call("POST", "/sandboxes", {"template": "alone"})
            self.assertEqual((answer.status, answer.json["code"]), (503, "node_lost"), answer)
        self.back(self.behind)
        self.client.create("alone")

    # --- Clocks that differ

    def test_nodes_whose_clocks_differ_beat_and_serve(self):
        for node in self.ahead, self.behind:
            before = self.node(node.name)
            until("it beats", lambda: self.node(node.name)["last_heartbeat_at"] > before["last_heartbeat_at"])
            seen = self.node(node.name)
            self.assertEqual((seen["status"], seen["epoch"]), ("ready", before["epoch"]))
            # By the control plane's clock.
            self.assertLess(abs(moment(seen["last_heartbeat_at"]) - now()), SKEW / 2)
            sandbox = self.create_on(node)  # which for one of them needs the template of the other
            inside = int(self.sh(sandbox, "date +%s"))
            self.assertLess(abs(inside - (time.time() + node.skew.total_seconds())), SKEW.total_seconds() / 2)

    def test_a_sandbox_lives_as_long_as_was_asked_whatever_its_nodes_clock_says(self):
        for node in self.ahead, self.behind:
            with self.subTest(node.name):
                with self.only(node):
                    short, kept = (self.client.create("busybox", timeout_sec=5)["id"] for _ in range(2))
                begin = time.monotonic()
                self.client.want(200, "POST", f"/sandboxes/{kept}/keepalive", {"timeout_sec": 600})
                if time.monotonic() - begin < 3:  # this machine was not asleep
                    self.assertEqual(self.sh(short, "echo well"), "well\n")
                until("its time is over", lambda: self.client.call("GET", f"/sandboxes/{short}").status == 404)
                self.assertEqual(self.sh(kept, "echo well"), "well\n")
                self.client.want(200, "POST", f"/sandboxes/{kept}/keepalive", {"timeout_sec": 1})
                until("its time is over", lambda: self.client.call("GET", f"/sandboxes/{kept}").status == 404)
                until("their VMs are gone", lambda: not node.sandboxes())

    def test_a_sandboxs_times_are_by_one_clock(self):
        for node in self.ahead, self.behind:
            with self.subTest(node.name):
                seen = self.seen(self.create_on(node, timeout_sec=1000))
                lifetime = moment(seen["expires_at"]) - moment(seen["created_at"])
                self.assertLess(abs(lifetime.total_seconds() - 1000), 100, seen)

    def test_a_sandbox_goes_on_at_a_node_whose_clock_is_another(self):
        sandbox = self.create_on(self.ahead)
        self.sh(sandbox, "echo kept > /root/mark")
        with self.only(self.ahead, self.behind):  # its copy goes to the other
            self.pause(sandbox)
            copies = self.behind.data / "snapshots/sandboxes"
            until("its saved state is copied", lambda: list(copies.glob(f"{sandbox}*")), 60)
        paused = time.monotonic()
        self.ahead.child.end(signal.SIGKILL)
        until("it is lost", lambda: self.seen(sandbox)["status"] == "lost", LOST)
        resumed = self.resume(sandbox)
        self.assertEqual((resumed["node_id"], resumed["status"]), ("n3", "running"))
        self.assertEqual(self.sh(sandbox, "cat /root/mark"), "kept\n")
        self.assertGreaterEqual(resumed["state_age_ms"], 0)
        self.assertLess(resumed["state_age_ms"], 1000 * (time.monotonic() - paused) + 60_000)
        self.ahead.start()
        self.back(self.ahead)
        self.assertEqual(self.seen(sandbox)["node_id"], "n3")

    # --- A disk that is full

    def test_a_full_disk_is_told_and_others_serve_meanwhile(self):
        here = self.create_on(self.small)
        with self.small.full(MIN_FREE_MB // 2):
            until("the node tells it", lambda: self.node("n1")["resources"]["free"]["disk_mb"] < MIN_FREE_MB)
            for _ in range(4):
                self.assertNotEqual(self.client.create("busybox")["node_id"], "n1")
            with self.only(self.small):
                problem = self.client.call("POST", "/sandboxes", {"template": "busybox"})
            self.assertEqual((problem.status, problem.json["code"]), (503, "no_capacity"), problem)
            self.assertIn("MiB are free", problem.json["detail"])
            self.assertEqual(self.sh(here, "echo well"), "well\n")
        self.create_on(self.small)

    def test_a_template_does_not_fit_on_a_full_disk(self):
        folder = pathlib.Path(tempfile.mkdtemp(dir=IMAGES))  # from which control plane and nodes alike take images
        self.addCleanup(shutil.rmtree, folder)
        with self.only(self.behind):
            self.client.ready("large", random_image(folder / "large", 24), resources=SMALL)
        self.addCleanup(lambda: self.client.call("DELETE", "/templates/large?force=1"))
        cache = self.small.data / "oci-cache"
        before = sorted(files_below(cache))
        with self.small.full(MIN_FREE_MB):
            with self.only(self.small):
                problem = self.client.call("POST", "/sandboxes", {"template": "large"})
            self.assertEqual(problem.json["code"], "disk_full", problem)
            self.assertIn("n1", problem.json["detail"])
            until("nothing half is left", lambda: not half_made(self.small.data, self.stock()) or None)
            self.assertEqual(sorted(files_below(cache)), before)
            self.assertNotEqual(self.client.create("large")["node_id"], "n1")
        self.create_on(self.small, "large")

    def stock(self):
        """The run folders of VMMs in stock."""
        machines = self.small.machines().items()
        return {pathlib.Path(machine["run_dir"]).name for id, machine in machines if not id.startswith("sb-")}


if __name__ == "__main__":
    unittest.main()
