#!/usr/bin/env python3
"""Many idle sandboxes of one template: memory of the host and of each, processor, and whether all of them answer."""
import argparse
import os
import pathlib
import statistics
import sys
import time

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent)]

from snapshot_daemon import daemon_with_snapshot  # noqa: E402
from leaks import machines  # noqa: E402

TICK = os.sysconf("SC_CLK_TCK")


def pss_mb(pid: int) -> float:
    lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("Pss:")).split()[1]) / 1024


def cpu_seconds(pid: int) -> float:
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def available_mb() -> float:
    lines = pathlib.Path("/proc/meminfo").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sandboxes", type=int, default=200)
    parser.add_argument("--memory-mb", type=int, default=64)
    parser.add_argument("--place", default="/tmp", help="where the data is: /dev/shm for template memory on tmpfs")
    parser.add_argument("--cold", action="store_true", help="the host's page cache is emptied before (needs root)")
    parser.add_argument("--watch-sec", type=int, default=20, help="how long the idle ones' processor time is watched")
    options = parser.parse_args()
    with daemon_with_snapshot(memory_mb=options.memory_mb, place=options.place) as daemon:
        if options.cold:
            os.sync()
            pathlib.Path("/proc/sys/vm/drop_caches").write_text("3")
        before, own_before = available_mb(), daemon.memory()
        begin = time.monotonic()
        ids = [daemon.client.create("busybox", timeout_sec=3600)["id"] for _ in range(options.sandboxes)]
        print(f"{len(ids)} sandboxes in {time.monotonic() - begin:.1f} s")
        time.sleep(5)
        known = machines(daemon.data)
        pids = [pid for id in ids for pid in (known[id]["pid"], known[id]["parent_pid"])]
        pss = [pss_mb(known[id]["pid"]) + pss_mb(known[id]["parent_pid"]) for id in ids]
        print(f"PSS of an idle one with its VMM: median {statistics.median(pss):.1f} MiB, most {max(pss):.1f}")
        print(f"the host's available memory: {(before - available_mb()) / len(ids):.1f} MiB less for each")
        print(f"the daemon: {(daemon.memory() - own_before) / len(ids) / 1000:.0f} kB for each")
        used = sum(map(cpu_seconds, pids))
        time.sleep(options.watch_sec)
        print(f"processor of all idle ones: {(sum(map(cpu_seconds, pids)) - used) / options.watch_sec:.2f} cores")
        begin = time.monotonic()
        codes = [daemon.client.exec(id, "true")["exit_code"] for id in ids]
        print(f"{codes.count(0)} of {len(ids)} answer an exec, {1000 * (time.monotonic() - begin) / len(ids):.0f} ms each")


if __name__ == "__main__":
    main()
