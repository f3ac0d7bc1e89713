#!/usr/bin/env python3
"""A sandbox from the pool beside one from the snapshot, alternating: POST to answer, and the first command."""
import argparse
import pathlib
import sys
import time

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent)]

from bare_vm import HEADER, row  # noqa: E402
from snapshot_daemon import daemon_with_snapshot, timed  # noqa: E402

POOL = '[pool]\nreplenish_interval_sec = 1\n[[pool.templates]]\nname = "busybox"\nmin_ready = 3\nmax_ready = 3\n'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=40)
    options = parser.parse_args()
    times = {way: ([], []) for way in ("pool", "snapshot")}
    with daemon_with_snapshot(POOL) as daemon:
        def full():
            return any(pool["ready"] == 3 for pool in daemon.client.want(200, "GET", "/stats")["pools"])
        for _ in range(options.runs):
            for way, (answer, first) in times.items():
                while not full():
                    time.sleep(0.05)
                time.sleep(0.3)  # and the stock
                sandbox, waited = timed(lambda: daemon.client.create("busybox", boot=way))
                _, exec_first = timed(lambda: daemon.client.exec(sandbox["id"], "true"))
                daemon.client.call("DELETE", f"/sandboxes/{sandbox['id']}")
                answer.append(waited)
                first.append(exec_first)
    print(HEADER)
    for way, (answer, first) in times.items():
        print(row(f"POST to 201, {way}", answer))
        print(row(f"the first exec, {way}", first))


if __name__ == "__main__":
    main()
