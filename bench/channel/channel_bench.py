#!/usr/bin/env python3
"""The guest channel: files both ways against its port without a protocol, side by side; many commands; a terminal's echo.

The port's own speed is taken in a second VM of the same QEMU, flags and kernel, started by hand, whose init only moves
bytes. Runs alternate. Then 64 commands write at once (fairness), and a keystroke's echo is timed over the WebSocket,
idle and while a file is downloaded. Needs NANOBOX_BUILD and NANOBOX_KERNEL as tests/e2e/run_e2e.py does, and gcc.
"""
import argparse
import http.client
import pathlib
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent)]

from bare_vm import HEADER, IMAGES, BareVm, build_images, daemon_with, percentile, row  # noqa: E402
from events import Events, bytes_of  # noqa: E402
from websocket import BINARY, WebSocket  # noqa: E402

MIB = 1 << 20


class BarePort:
    """The channel of a VM whose init is pump.c."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))

    def read(self, size: int) -> float:
        begin = time.monotonic()
        self.socket.sendall(b"r" + struct.pack("<Q", size))
        got, buffer = 0, bytearray(256 << 10)
        while got < size:
            got += self.socket.recv_into(buffer)
        return size / MIB / (time.monotonic() - begin)

    def write(self, size: int) -> float:
        begin = time.monotonic()
        self.socket.sendall(b"w" + struct.pack("<Q", size))
        piece = bytes(256 << 10)
        for _ in range(size // len(piece)):
            self.socket.sendall(piece)
        self.socket.recv(1)
        return size / MIB / (time.monotonic() - begin)


class Files:
    """A file in the guest's memory, over REST."""

    def __init__(self, address: str, sandbox: str, path="/run/bench"):
        self.connection, self.path = http.client.HTTPConnection(address), f"/api/v1/sandboxes/{sandbox}/files?path={path}"

    def read(self, size: int) -> float:
        begin = time.monotonic()
        self.connection.request("GET", self.path)
        response, got, buffer = self.connection.getresponse(), 0, bytearray(256 << 10)
        while count := response.readinto(buffer):
            got += count
        if (response.status, got) != (200, size):
            raise RuntimeError(f"read: {response.status}, {got} bytes")
        return size / MIB / (time.monotonic() - begin)

    def write(self, size: int) -> float:
        begin = time.monotonic()
        piece = bytes(256 << 10)
        self.connection.putrequest("PUT", self.path)
        self.connection.putheader("Content-Length", str(size))
        self.connection.endheaders()
        for _ in range(size // len(piece)):
            self.connection.send(piece)
        response = self.connection.getresponse()
        if response.status != 204:
            raise RuntimeError(f"write: {response.status} {response.read()}")
        response.read()
        return size / MIB / (time.monotonic() - begin)


class Peak:
    """The daemon's highest memory above what it had when this began."""

    def __init__(self, daemon):
        self.daemon, self.before, self.most, self.over = daemon, daemon.memory(), 0, threading.Event()
        self.thread = threading.Thread(target=self.watch)

    def watch(self):
        while not self.over.wait(0.02):
            self.most = max(self.most, self.daemon.memory() - self.before)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


def many_commands(daemon, sandbox: str, commands: int, size: int) -> None:
    """Each command writes `size` bytes: how even are they served?"""
    rates = []
    all_there = threading.Barrier(commands)

    def one():
        with Events(daemon.client, "POST", f"/sandboxes/{sandbox}/exec",
                    {"command": "sh", "args": ["-c", f"read go; head -c {size} /dev/zero"]}) as events:
            process = next(events)[1]["process_id"]
            all_there.wait()
            begin = time.monotonic()
            daemon.client.call("POST", f"/sandboxes/{sandbox}/processes/{process}/stdin?eof=1", b"\n")
            got = sum(len(bytes_of(data)) for name, data, _ in events if name == "stdout")
            if got != size:
                raise RuntimeError(f"a command's output has {got} bytes")
            rates.append(size / MIB / (time.monotonic() - begin))

    threads = [threading.Thread(target=one) for _ in range(commands)]
    with Peak(daemon) as peak:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if len(rates) != commands:
        raise RuntimeError("a command failed")
    print(f"{commands} commands of {size / MIB:.1f} MiB: slowest {min(rates):.2f}, mean {statistics.mean(rates):.2f} MiB/s "
          f"({min(rates) / statistics.mean(rates):.2f} of it), daemon {peak.most / MIB:.1f} MiB above")


def echoes(terminal, count: int) -> list:
    times = []
    for _ in range(count):
        begin = time.monotonic()
        terminal.send(BINARY, b"x")
        terminal.read_until(b"x")
        times.append(1000 * (time.monotonic() - begin))
        time.sleep(0.005)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--size", type=int, default=64, help="MiB a transfer (64)")
    parser.add_argument("--echoes", type=int, default=500)
    options = parser.parse_args()
    size = options.size * MIB
    image = "library/busybox:latest"
    with daemon_with("busybox", image) as daemon, tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        pump = folder / "pump"
        subprocess.run(["gcc", "-O2", "-static", "-o", pump, HERE / "pump.c"], check=True)
        daemon.end()
        daemon.flags.append(f"--oci.init_binary={pump}")
        daemon.start()
        daemon.client.ready("pump", f"oci:{build_images.build(image, IMAGES)}:latest")
        sandbox = daemon.client.create("busybox", timeout_sec=3600, resources={"memory_mb": 512})
        vm = BareVm(daemon, {**sandbox, "template": "pump"}, folder)
        vm.start()
        try:
            port, files = BarePort(vm.channel), Files(daemon.client.address, sandbox["id"])
            rates = {"port, out": [], "file read": [], "port, in": [], "file written": []}
            with Peak(daemon) as peak:
                for number in range(options.runs + 1):
                    found = files.write(size), files.read(size), port.read(size), port.write(size)
                    if number > 0:  # TCG has translated by then
                        for key, value in zip(("file written", "file read", "port, out", "port, in"), found):
                            rates[key].append(value)
        finally:
            vm.end()
        print(HEADER)
        for key, values in rates.items():
            print(row(key, values, "MiB/s"))
        for ours, bare in (("file read", "port, out"), ("file written", "port, in")):
            ratios = [a / b for a, b in zip(rates[ours], rates[bare])]
            print(f"{ours}: {100 * statistics.median(ratios):.0f} % of the port")
        print(f"the daemon's memory: {peak.most / MIB:.1f} MiB above idle")

        many_commands(daemon, sandbox["id"], 64, MIB)
        terminal = WebSocket(daemon.client.address, f"/api/v1/sandboxes/{sandbox['id']}/terminal?command=/bin/cat")
        echoes(terminal, 20)
        idle = echoes(terminal, options.echoes)
        # A process of its own, for two of Python's threads would wait for each other; one for all downloads.
        address = f"http://{daemon.client.address}{files.path}#[1-10000]"
        download = subprocess.Popen(["curl", "-sf", "-o", "/dev/null", address])
        try:
            busy = echoes(terminal, options.echoes)
            if download.poll() is not None:
                raise RuntimeError(f"the download ended before the echoes: {download.returncode}")
        finally:
            download.kill()
            download.wait()
        print(row("echo, idle", idle))
        print(row("echo beside a download", busy))
        print(f"p99 beside a download: {percentile(busy, 99) / percentile(idle, 99):.1f} of the idle one")


if __name__ == "__main__":
    main()
