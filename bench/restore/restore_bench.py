#!/usr/bin/env python3
"""A sandbox from its template's snapshot: POST to answer, the parts of it, and the first command; pause and resume.

What the VMM itself takes (disk plugged and state loaded, then `cont`) is of the same boots: the stage `vm` tells it.
A VMM is in stock each time: the next create waits until one is.
"""
import argparse
import pathlib
import sys
import time

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent)]

from bare_vm import HEADER, row  # noqa: E402
from snapshot_daemon import daemon_with_snapshot, dirty, medians, stages_of, timed  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--dirty-mb", type=int, default=20, help="written by the guest before each pause")
    options = parser.parse_args()
    answer, restore, first, second, stages, pauses, resumes = [], [], [], [], [], [], []
    with daemon_with_snapshot() as daemon:
        for number in range(options.runs + 3):
            time.sleep(0.3)
            sandbox, waited = timed(lambda: daemon.client.create("busybox", boot="snapshot"))
            _, exec_first = timed(lambda: daemon.client.exec(sandbox["id"], "true"))
            _, exec_second = timed(lambda: daemon.client.exec(sandbox["id"], "true"))
            times = stages_of(daemon, sandbox["id"])
            if number < options.runs // 4:
                dirty(daemon, sandbox["id"], options.dirty_mb)
                _, pause = timed(lambda: daemon.client.want(200, "POST", f"/sandboxes/{sandbox['id']}/pause"))
                time.sleep(0.3)
                _, resume = timed(lambda: daemon.client.want(200, "POST", f"/sandboxes/{sandbox['id']}/resume"))
                pauses.append(pause)
                resumes.append(resume)
            daemon.client.call("DELETE", f"/sandboxes/{sandbox['id']}")
            if number < 3:  # the stock fills, files come into the page cache
                continue
            answer.append(waited)
            restore.append(times["vm.layer"] + times["vm.state"] + times["vm.cont"])
            first.append(exec_first)
            second.append(exec_second)
            stages.append(times)
    print(HEADER)
    print(row("POST to 201", answer))
    print(row("restore: disk, state, cont", restore))
    print(row("the first exec", first))
    print(row("the second exec", second))
    print(row(f"pause, {options.dirty_mb} MiB written", pauses))
    print(row("resume", resumes))
    print(f"medians in ms: {medians(stages)}")


if __name__ == "__main__":
    main()
