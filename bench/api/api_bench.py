#!/usr/bin/env python3
"""GET /sandboxes/{id} under wrk against the edge's constant answer GET /healthz, alternating in one run.

Needs NANOBOX_BUILD and NANOBOX_KERNEL as tests/e2e/run_e2e.py does, and wrk.
"""
import argparse
import pathlib
import re
import statistics
import subprocess
import sys

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent)]

from bare_vm import daemon_with  # noqa: E402

UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


def wrk(url: str, connections: int, seconds: int):
    """Requests a second, and p99 in ms."""
    out = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", url], check=True,
                         capture_output=True, text=True).stdout
    if "Non-2xx" in out or "Socket errors" in out:
        raise RuntimeError(out)
    latency, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", out).groups()
    return float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1]), float(latency) * UNITS[unit]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=64)
    options = parser.parse_args()
    paths, figures = {}, {}
    with daemon_with("busybox", "library/busybox:latest") as daemon:
        sandbox = daemon.client.create("busybox", timeout_sec=3600)["id"]
        paths = {"constant": "/healthz", "sandbox": f"/api/v1/sandboxes/{sandbox}"}
        for _ in range(options.rounds):
            for name, path in paths.items():
                figures.setdefault(name, []).append(
                    wrk(f"http://{daemon.client.address}{path}", options.connections, options.seconds))
    print(f"{'':12} {'requests/s':>11} {'p99 ms':>8}   (medians of {options.rounds} rounds, {options.connections} connections)")
    for name, values in figures.items():
        print(f"{name:12} {statistics.median(rate for rate, _ in values):11.0f} {statistics.median(p99 for _, p99 in values):8.2f}")
    ratios = [ours[0] / constant[0] for ours, constant in zip(figures["sandbox"], figures["constant"])]
    print(f"sandbox / constant: {100 * statistics.median(ratios):.0f} % ({100 * min(ratios):.0f}-{100 * max(ratios):.0f} %)")


if __name__ == "__main__":
    main()
