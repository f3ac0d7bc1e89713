"""The daemon's own QEMU command line, started by hand: what a VM costs without NanoBox around it."""
import contextlib
import json
import os
import pathlib
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / "e2e")]

from harness import IMAGES, Daemon, build_images  # noqa: E402
from leaks import processes_of  # noqa: E402


@contextlib.contextmanager
def daemon_with(template: str, image: str):
    """A daemon of its own in which `template` is ready."""
    with tempfile.TemporaryDirectory(prefix="nb-bench-", dir="/tmp") as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        daemon = Daemon(folder)
        try:
            daemon.client.ready(template, f"oci:{build_images.build(image, IMAGES)}:{image.rpartition(':')[2]}")
            yield daemon
        finally:
            daemon.end()


def vmm_of(daemon, sandbox: str):
    """The arguments and the environment of a sandbox's QEMU."""
    for pid in processes_of(f"guest={sandbox}"):
        arguments = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")[:-1]
        if arguments[0].endswith("ld.so"):
            return arguments, dict(entry.split("=", 1) for entry in
                                   pathlib.Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0") if entry)
    raise RuntimeError(f"no QEMU runs for {sandbox}")


class BareVm:
    """One QEMU with the flags of `sandbox` and fresh files beside its own, from exec to the ready mark."""

    def __init__(self, daemon, sandbox: dict, folder: pathlib.Path):
        arguments, environment = vmm_of(daemon, sandbox["id"])
        vmm = next((daemon.data / "vmm").glob("*/ld.so")).parent
        root = (daemon.data / "oci-cache/rootfs" / f"{sandbox['template']}.ext4").resolve()
        kernel = next(line for line in daemon.config.read_text().splitlines() if line.startswith("kernel")).split('"')[1]
        self.disk, self.memory, self.channel = folder / "disk.qcow2", folder / "mem", folder / "channel"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", root, "-F", "raw", self.disk,
                        f"{sandbox['resources']['disk_mb']}M"], check=True)
        with open(self.memory, "wb") as memory:
            memory.truncate(sandbox["resources"]["memory_mb"] << 20)
        # The names QEMU sees in its own root, and what they are here.
        places = {"/vmm": vmm, "/kernel": kernel, "/disk": self.disk, "/base": root, "/mem": self.memory}

        def here(text):
            for name, place in places.items():
                if text == name or text.startswith(name + "/"):
                    return str(place) + text[len(name):]
            return text

        def argument(text):
            if text.startswith("{"):
                return json.dumps({key: here(value) if isinstance(value, str) else value
                                   for key, value in json.loads(text).items()})
            for chardev, instead in (("socket,id=qmp,", "null,id=qmp"), ("socket,id=con,", "stdio,id=con,signal=off"),
                                     ("socket,id=ch,", f"socket,id=ch,path={self.channel},server=on,wait=off")):
                if text.startswith(chardev):
                    return instead
            return here(text)

        self.arguments = [argument(text) for text in arguments]
        self.environment = {key: here(value) for key, value in environment.items()}

    def start(self) -> float:
        """Milliseconds from exec to the ready mark."""
        begin = time.monotonic()
        self.process = subprocess.Popen(self.arguments, env=self.environment, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        said = b""
        while b"NANOBOX_READY" not in said:
            more = os.read(self.process.stdout.fileno(), 4096)
            if not more:
                raise RuntimeError(f"the bare QEMU ended: {said.decode(errors='replace')}\n{' '.join(self.arguments)}")
            said += more
        return 1000 * (time.monotonic() - begin)

    def end(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def crc32c(data: bytes, table=[]) -> int:
    if not table:
        for value in range(256):
            for _ in range(8):
                value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
            table.append(value)
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 255]
    return crc ^ 0xFFFFFFFF


def tlv(tag: int, value: bytes) -> bytes:
    return struct.pack("<HI", tag, len(value)) + value


class Channel:
    """The guest channel (guest/protocol.h) spoken directly, as far as running a command needs it."""
    HELLO, HELLO_ACK, CONFIGURE, OPEN, DATA, EXIT, ERROR = 1, 2, 3, 16, 18, 22, 23

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))
        self.received, self.stream = b"", 0
        self.send(self.HELLO, 0, tlv(1, struct.pack("<I", 2)) + tlv(2, os.urandom(16)))
        self.wait_for(self.HELLO_ACK)
        self.send(self.CONFIGURE, 0, tlv(4, b"bare") + tlv(8, struct.pack("<Q", time.time_ns())) + tlv(9, os.urandom(64)) +
                  tlv(10, struct.pack("<Q", 0)) + tlv(5, b"bare") + tlv(7, b"PATH=/bin:/usr/bin") + tlv(18, b"/") + tlv(19, b"root"))
        self.wait_for(self.CONFIGURE)

    def send(self, kind, stream, payload, flags=0):
        header = struct.pack("<BBHII", kind, flags, 0, stream, len(payload))
        self.socket.sendall(header + struct.pack("<I", crc32c(header + payload) ^ 0xFFFFFFFF) + payload)

    def frame(self):
        while True:
            if len(self.received) >= 16:
                kind, _, _, stream, length = struct.unpack_from("<BBHII", self.received)
                if len(self.received) >= 16 + length:
                    payload, self.received = self.received[16:16 + length], self.received[16 + length:]
                    return kind, stream, payload
            more = self.socket.recv(65536)
            if not more:
                raise RuntimeError("the guest's channel closed")
            self.received += more

    def wait_for(self, wanted):
        while True:
            kind, _, payload = self.frame()
            if kind == self.ERROR:
                raise RuntimeError(f"the guest refuses: {payload!r}")
            if kind == wanted:
                return

    def exec(self, *command) -> float:
        """Milliseconds from the request to the command's end."""
        self.stream += 1
        payload = tlv(16, struct.pack("<I", 1)) + b"".join(tlv(17, part.encode()) for part in command)
        begin = time.monotonic()
        self.send(self.OPEN, self.stream, payload)
        self.send(self.DATA, self.stream, b"", flags=1)
        self.wait_for(self.EXIT)
        return 1000 * (time.monotonic() - begin)


def percentile(values, percent: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * percent / 100))]


def row(name: str, values, unit="ms") -> str:
    return (f"{name:38} {statistics.median(values):8.1f} {percentile(values, 99):8.1f} "
            f"{min(values):8.1f} {max(values):8.1f} {unit}")


HEADER = f"{'':38} {'median':>8} {'p99':>8} {'least':>8} {'most':>8}"
