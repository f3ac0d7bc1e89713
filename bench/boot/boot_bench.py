#!/usr/bin/env python3
"""A cold boot by REST against a bare start of the same QEMU, alternating in one run.

By REST: `boot_time_ms` (from the server's receipt of the POST to the ready mark) and the client's own wait. Bare: the same
binary, flags, kernel and root, from exec to the ready mark on the console.
Needs NANOBOX_BUILD and NANOBOX_KERNEL as tests/e2e/run_e2e.py does.
"""
import argparse
import pathlib
import statistics
import sys
import tempfile
import time

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent)]

from bare_vm import HEADER, BareVm, daemon_with, row  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--vcpu", type=int, default=1)
    parser.add_argument("--memory-mb", type=int, default=512)
    options = parser.parse_args()
    boot, wall, bare, stages = [], [], [], {}
    with daemon_with("busybox", "library/busybox:latest") as daemon, tempfile.TemporaryDirectory() as folder:
        size = {"vcpu": options.vcpu, "memory_mb": options.memory_mb}
        for number in range(options.runs + 1):
            begin = time.monotonic()
            sandbox = daemon.client.create("busybox", resources=size, boot="cold")
            waited = 1000 * (time.monotonic() - begin)
            vm = BareVm(daemon, sandbox, pathlib.Path(folder))
            run = daemon.client.want(200, "GET", "/pipelines/runs?kind=boot&limit=1000")["items"]
            daemon.client.call("DELETE", f"/sandboxes/{sandbox['id']}")
            alone = vm.start()
            vm.end()
            if number == 0:  # files come into the page cache
                continue
            boot.append(sandbox["boot_time_ms"])
            wall.append(waited)
            bare.append(alone)
            for stage in next(each for each in run if each["subject"] == sandbox["id"])["stages"]:
                stages.setdefault(stage["name"], []).append(stage["duration_ms"])
    print(HEADER)
    print(row("boot_time_ms", boot))
    print(row("POST to answer, at the client", wall))
    print(row("bare QEMU to the ready mark", bare))
    print(row("boot_time_ms - bare, run by run", [ours - theirs for ours, theirs in zip(boot, bare)]))
    print("stages, medians: " + ", ".join(f"{name} {statistics.median(times):.0f}" for name, times in stages.items()) + " ms")


if __name__ == "__main__":
    main()
