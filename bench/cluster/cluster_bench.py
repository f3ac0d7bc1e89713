#!/usr/bin/env python3
"""A cluster of `--role all` and three nodes, each in a network namespace of its own on this machine: what a sandbox on another
node costs beside one on the control plane's own, and how soon the cluster knows that a node is lost. What is compared
alternates in one run. Needs root, and NANOBOX_BUILD and NANOBOX_KERNEL as tests/e2e/run_e2e.py does.
"""
import argparse
import collections
import concurrent.futures
import contextlib
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import statistics
import sys
import tempfile
import time

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent)]

from bare_vm import HEADER, percentile, row  # noqa: E402
from snapshot_daemon import medians, stages_of, timed  # noqa: E402

from cluster import BACK, SMALL, ClusterCase, Control  # noqa: E402
from harness import until  # noqa: E402
from random_image import random_image  # noqa: E402

OWN = "own"
PARTS = ("create", "exec", "stream", "template", "lost", "many")
BLOCK = 1 << 20


def used(pid: int) -> float:
    """Seconds of processor that a process has taken."""
    user, system = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


class All(Control):
    """With a node of its own."""
    role = "all"

    def __init__(self, *args, **more):
        super().__init__(*args, **more)
        self.flags.append(f"--agent.node_id={OWN}")


class Bench(ClusterCase):
    nodes_wanted = 3
    control_kind = All

    @property
    def names(self):
        return [OWN, *(node.name for node in self.nodes)]

    @contextlib.contextmanager
    def at(self, *places):
        """New sandboxes go there alone."""
        others = [name for name in self.names if name not in places]
        for name in others:
            self.client.want(200, "POST", f"/nodes/{name}/cordon", {})
        try:
            yield
        finally:
            for name in others:
                self.client.want(200, "POST", f"/nodes/{name}/uncordon", {})

    def warm(self, *places, **more):
        """Each of these nodes has the template with its snapshot, and VMMs in stock."""
        with self.at(OWN):
            self.ready(snapshot=True, **more)
        for place in places:
            with self.at(place):
                for _ in range(3):
                    self.client.call("DELETE", f"/sandboxes/{self.client.create('busybox')['id']}")
                until("it has the snapshot", lambda: self.one()[0]["boot_path"] == "snapshot", 60, 1)

    def one(self, **more):
        """A sandbox that was made and deleted, and how long the making took."""
        sandbox, waited = timed(lambda: self.client.create("busybox", **more))
        self.client.call("DELETE", f"/sandboxes/{sandbox['id']}")
        return sandbox, waited

    # --- What is measured

    def create(self, options):
        times, stages, places = collections.defaultdict(list), collections.defaultdict(list), (OWN, "n1")
        self.warm(*places)
        for _ in range(options.creates):
            for place in places:
                with self.at(place):
                    time.sleep(0.4)  # a VMM is in stock
                    sandbox, waited = self.one(boot="snapshot")
                    times[place].append(waited)
                    stages[place].append(stages_of(self.control, sandbox["id"]))
        for place in places:
            print(f"    {place}, medians in ms: {medians(stages[place])}")
        return self.beside("POST to 201", times)

    def exec(self, options):
        times, sandboxes = collections.defaultdict(list), self.pair()
        connection = http.client.HTTPConnection(self.client.address)
        for number in range(options.execs + 20):
            for place, sandbox in sandboxes.items():
                _, waited = timed(lambda: self.run_on(connection, sandbox, {"command": "/bin/true"}))
                if number >= 20:  # TCG has translated by then
                    times[place].append(waited)
        self.remove(sandboxes)
        return self.beside("exec true", times)

    def stream(self, options):
        """Text that a command writes, as events."""
        rates, sandboxes = collections.defaultdict(list), self.pair(memory_mb=256)
        size = options.stream_mb << 20
        for sandbox in sandboxes.values():
            self.client.exec(sandbox, "sh", "-c", f"yes 0123456789abcdefghijklmnopqrstuvwxyz | head -c {size} > /dev/shm/text || "
                             f"yes 0123456789abcdefghijklmnopqrstuvwxyz | head -c {size} > /tmp/text; mv /dev/shm/text /tmp/text",
                             timeout_ms=120000)
        connection = http.client.HTTPConnection(self.client.address)
        for _ in range(options.streams):
            for place, sandbox in sandboxes.items():
                _, waited = timed(lambda: self.run_on(connection, sandbox, {"command": "cat", "args": ["/tmp/text"]},
                                                      {"Accept": "text/event-stream"}))
                rates[place].append(options.stream_mb / waited * 1000)
        self.remove(sandboxes)
        return self.beside("a command's output as events", rates, "MiB/s")

    def run_on(self, connection, sandbox, body, headers=None):
        connection.request("POST", f"/api/v1/sandboxes/{sandbox}/exec", json.dumps(body),
                           {"Content-Type": "application/json", **(headers or {})})
        response = connection.getresponse()
        answer = response.read()
        if response.status != 200 or b'"exit_code":0' not in answer[-4000:]:
            raise RuntimeError(f"exec: {response.status} {answer[-300:]}")

    def pair(self, **resources):
        sandboxes = {}
        self.warm(OWN, "n1")
        for place in (OWN, "n1"):
            with self.at(place):
                sandboxes[place] = self.client.create("busybox", timeout_sec=3600, resources={**SMALL, **resources})["id"]
        return sandboxes

    def remove(self, sandboxes):
        for sandbox in sandboxes.values():
            self.client.call("DELETE", f"/sandboxes/{sandbox}")

    def beside(self, what, values, unit="ms"):
        here, there = values[OWN], values["n1"]
        print(row(f"{what}, own node", here, unit))
        print(row(f"{what}, another node", there, unit))
        difference = statistics.median(there) - statistics.median(here)
        ratio = statistics.median(there) / statistics.median(here)
        pairs = statistics.median(other - own for own, other in zip(here, there))
        tenth = percentile(there, 10) - percentile(here, 10)
        print(f"    the other's: {difference:+.2f} {unit} at the median (of pairs {pairs:+.2f}), ratio {ratio:.3f}, {tenth:+.2f} at p10, "
              f"{percentile(there, 99) - percentile(here, 99):+.2f} at p99")
        return {name: {"p50": statistics.median(of), "p99": percentile(of, 99)} for name, of in (("own", here), ("other", there))} | {
            "difference": difference, "of pairs": pairs, "at p10": tenth, "ratio": ratio, "unit": unit, "runs": len(here)}

    def template(self, options):
        """A root of random bytes from one node to another, beside the same file by plain TCP on the same way, sent by sendfile
        and written to a file, synced or not; and what processor both ends take for it."""
        rates, processor = collections.defaultdict(list), collections.defaultdict(list)
        with tempfile.TemporaryDirectory(dir=self.control.folder) as scratch:
            for number in range(options.templates):
                name = f"large{number}"
                image = random_image(pathlib.Path(scratch) / name, options.template_mb)
                with self.at(OWN):
                    self.client.ready(name, image, resources={**SMALL, "disk_mb": 4 * options.template_mb})
                root = (self.control.data / "oci-cache/rootfs" / f"{name}.ext4").resolve()
                for node in self.nodes:
                    for way, synced in ("plain TCP, synced", True), ("plain TCP", False):
                        began = used(os.getpid())
                        rates[way].append(self.plain(root, node, synced))
                        processor[way].append(used(os.getpid()) - began)
                    ends = [member.child.process.pid for member in (self.control, *self.nodes)]  # any may be its source
                    with self.at(node.name):
                        began = sum(map(used, ends))
                        sandbox = self.client.create(name)
                        processor["template"].append(sum(map(used, ends)) - began)
                    run = next(run for run in self.client.want(200, "GET", "/pipelines/runs?kind=boot&limit=1000")["items"][::-1]
                               if run["subject"] == sandbox["id"])
                    size, ms = map(int, re.search(r": (\d+) bytes in (\d+) ms", run["stages"][0]["detail"]).groups())
                    rates["template"].append(size / ms * 1000 / 2**20)
                    self.client.call("DELETE", f"/sandboxes/{sandbox['id']}")
                self.client.call("DELETE", f"/templates/{name}?force=1")
        for name, seen in rates.items():
            print(row(name, seen, "MiB/s"))
        for name, seen in processor.items():
            print(row(f"{name}, processor", [1000 * seconds for seconds in seen]))
        best = {name: statistics.median(seen) for name, seen in rates.items()}
        for name in ("plain TCP", "plain TCP, synced"):
            print(f"    the template against {name}: {best['template'] / best[name]:.2f}")
        return best | {"processor": {name: statistics.median(seen) for name, seen in processor.items()}}

    def plain(self, root, node, synced):
        """MiB a second of the file's data."""
        data = 512 * root.stat().st_blocks
        listener = node.network.run(lambda: socket.create_server((node.address, 0)))
        target = node.folder / "received"

        def receive():
            with listener, listener.accept()[0] as connection, open(target, "wb", buffering=0) as file:
                buffer = memoryview(bytearray(BLOCK))
                while count := connection.recv_into(buffer):
                    file.write(buffer[:count])
                if synced:
                    os.fsync(file.fileno())

        def send():
            with socket.create_connection(listener.getsockname()) as connection, open(root, "rb") as file:
                offset, end = 0, os.fstat(file.fileno()).st_size
                with contextlib.suppress(OSError):  # ENXIO: no data behind
                    while offset < end:
                        offset = os.lseek(file.fileno(), offset, os.SEEK_DATA)
                        hole = os.lseek(file.fileno(), offset, os.SEEK_HOLE)
                        while offset < hole:
                            offset += os.sendfile(connection.fileno(), file.fileno(), offset, hole - offset)

        with concurrent.futures.ThreadPoolExecutor(1) as there:
            begin = time.monotonic()
            received = there.submit(receive)
            self.control.network.run(send)
            received.result()
        rate = data / (time.monotonic() - begin) / 2**20
        target.unlink()
        return rate

    def lost(self, options):
        """From the fault to the moment at which the API says that the node is lost."""
        node, found = self.nodes[2], {}
        ways = {"kill -9": lambda: self.killed(node), "SIGSTOP": lambda: self.stopped(node), "cable cut": node.unplugged,
                "nothing reaches it": node.deaf, "nothing of it is heard": node.mute}
        times = collections.defaultdict(list)
        for _ in range(options.losses):
            for way, fault in ways.items():
                with fault():
                    _, waited = timed(lambda: until("it is lost", lambda: node.status == "lost", 30, 0.005))
                    times[way].append(waited)
                until("it is back", lambda: node.status == "ready", BACK)
        for way, seen in times.items():
            print(row(f"lost after {way}", seen))
            found[way] = {"p50": statistics.median(seen), "most": max(seen)}
        return found

    @contextlib.contextmanager
    def killed(self, node):
        node.child.process.kill()
        try:
            yield
        finally:
            node.child.process.wait()
            node.start()

    @contextlib.contextmanager
    def stopped(self, node):
        node.child.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            node.child.process.send_signal(signal.SIGCONT)

    def many(self, options):
        """Many creates at once over the three nodes: each is made once."""
        count, wanted = options.many, {"template": "busybox", "timeout_sec": 3600}
        self.warm("n1", "n2", "n3", resources={**SMALL, "memory_mb": 64})
        with self.at("n1", "n2", "n3"), concurrent.futures.ThreadPoolExecutor(count) as pool:
            calls = lambda _: timed(lambda: self.client.call("POST", "/sandboxes", wanted, timeout=900))  # noqa: E731
            answers, waited = timed(lambda: list(pool.map(calls, range(count))))
        made = [answer.json for answer, _ in answers if answer.status == 201]
        ids = {sandbox["id"] for sandbox in made}
        listed = [item["id"] for item in self.client.want(200, "GET", "/sandboxes?limit=1000")["items"] if item["status"] == "running"]
        there = [id for node in self.nodes for id in node.sandboxes()]
        print(row(f"POST to 201, {count} at once", [ms for _, ms in answers]))
        result = {"asked": count, "made": len(made), "lost": len(ids - set(listed)) + len(ids - set(there)),
                  "doubled": len(made) - len(ids) + len(listed) - len(set(listed)) + len(there) - len(set(there)),
                  "left over": len(set(there) - ids), "seconds": waited / 1000,
                  "by node": collections.Counter(sandbox["node_id"] for sandbox in made)}
        print("    " + ", ".join(f"{what}: {value}" for what, value in result.items()))
        self.control.remove_everything()
        return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=PARTS, metavar="PART", help=f"of {', '.join(PARTS)} (all)")
    parser.add_argument("--creates", type=int, default=40)
    parser.add_argument("--execs", type=int, default=500)
    parser.add_argument("--streams", type=int, default=7)
    parser.add_argument("--stream-mb", type=int, default=32)
    parser.add_argument("--templates", type=int, default=2, help="each goes to three nodes")
    parser.add_argument("--template-mb", type=int, default=256)
    parser.add_argument("--losses", type=int, default=3)
    parser.add_argument("--many", type=int, default=200)
    parser.add_argument("--json", type=pathlib.Path, help="the figures for programs, into this file")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    figures = {"load": os.getloadavg()}
    bench = Bench()
    try:
        Bench.setUpClass()
        print(HEADER)
        for part in options.parts:
            figures[part] = getattr(bench, part)(options)
    finally:
        Bench.doClassCleanups()
    for error in Bench.tearDown_exceptions:
        raise error[1]
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
