#!/usr/bin/env python3
"""`exec true` by REST on a kept connection against the same request on the channel of a bare VM, alternating in one run.

The bare VM has the same QEMU, flags, kernel, root and init, and this script speaks to its guest channel without NanoBox
between: that is what the guest and its VMM take themselves. The difference is the daemon's and HTTP's.
Needs NANOBOX_BUILD and NANOBOX_KERNEL as tests/e2e/run_e2e.py does.
"""
import argparse
import http.client
import json
import pathlib
import statistics
import sys
import tempfile
import time

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent)]

from bare_vm import HEADER, BareVm, Channel, daemon_with, percentile, row  # noqa: E402


class Rest:
    def __init__(self, address: str, sandbox: str):
        self.connection, self.path = http.client.HTTPConnection(address), f"/api/v1/sandboxes/{sandbox}/exec"

    def exec(self, command) -> float:
        """Milliseconds from request to the whole answer."""
        begin = time.monotonic()
        self.connection.request("POST", self.path, json.dumps({"command": command}), {"Content-Type": "application/json"})
        response = self.connection.getresponse()
        outcome = json.loads(response.read())
        if response.status != 200 or outcome["exit_code"] != 0:
            raise RuntimeError(f"exec: {response.status} {outcome}")
        return 1000 * (time.monotonic() - begin)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=500)
    options = parser.parse_args()
    rest, channel = [], []
    with daemon_with("busybox", "library/busybox:latest") as daemon, tempfile.TemporaryDirectory() as folder:
        sandbox = daemon.client.create("busybox", timeout_sec=3600)
        vm = BareVm(daemon, sandbox, pathlib.Path(folder))
        vm.start()
        try:
            ours, bare = Rest(daemon.client.address, sandbox["id"]), Channel(vm.channel)
            for number in range(options.runs + 20):
                times = ours.exec("/bin/true"), bare.exec("/bin/true")
                if number >= 20:  # TCG has translated by then
                    rest.append(times[0])
                    channel.append(times[1])
        finally:
            vm.end()
    print(HEADER)
    print(row("exec true by REST", rest))
    print(row("the same on a bare VM's channel", channel))
    print(f"on top: p50 {statistics.median(rest) - statistics.median(channel):.2f} ms, "
          f"p99 {percentile(rest, 99) - percentile(channel, 99):.2f} ms")


if __name__ == "__main__":
    main()
