#!/usr/bin/env python3
"""Live fork of a running sandbox: how long it stood still, where that went, and when all children were ready."""
import argparse
import pathlib
import re
import statistics
import sys
import time

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent)]

from bare_vm import HEADER, row  # noqa: E402
from snapshot_daemon import daemon_with_snapshot, dirty, timed  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--children", type=int, default=10)
    parser.add_argument("--dirty-mb", type=int, default=20)
    options = parser.parse_args()
    pause, frozen, whole, parts = [], [], [], {}
    with daemon_with_snapshot() as daemon:
        for number in range(options.runs + 1):
            parent = daemon.client.create("busybox")["id"]
            dirty(daemon, parent, options.dirty_mb)
            time.sleep(1.5)  # the stock refills
            forked, waited = timed(
                lambda: daemon.client.want(201, "POST", f"/sandboxes/{parent}/fork", {"count": options.children}))
            run = [run for run in daemon.client.want(200, "GET", "/pipelines/runs?kind=fork&limit=1000")["items"]
                   if run["subject"] == parent][-1]
            daemon.remove_everything()
            if number == 0:  # the stock learns how many are taken at once
                time.sleep(3)
                continue
            pause.append(forked["pause_ms"])
            frozen.append(forked["frozen_ms"])
            whole.append(waited)
            for part, us in re.findall(r"(stop|state|disk|cont|scan|copy|write) (\d+)", run["stages"][0]["detail"]):
                parts.setdefault(part, []).append(int(us) / 1000)
    print(HEADER)
    print(row("no vCPU ran", pause))
    print(row("no process of the guest ran", frozen))
    print(row(f"POST to {options.children} children", whole))
    print("parts, medians in ms: " + ", ".join(f"{name} {statistics.median(times):.1f}" for name, times in parts.items()))


if __name__ == "__main__":
    main()
