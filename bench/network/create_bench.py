#!/usr/bin/env python3
"""What a network adds to a create from a snapshot: mode `internet` with a rate and lists beside `isolated`, alternating."""
import argparse
import pathlib
import sys
import time

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent)]

from bare_vm import HEADER, row  # noqa: E402
from snapshot_daemon import daemon_with_snapshot, timed  # noqa: E402

NETWORKS = {
    "isolated": {"mode": "isolated"},
    "internet": {"mode": "internet", "rate_limit_mbps": 100, "allow_cidrs": ["203.0.113.0/24"], "allow_domains": ["*.example.com"]},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=30)
    options = parser.parse_args()
    times = {name: [] for name in NETWORKS}
    with daemon_with_snapshot() as daemon:
        for _ in range(options.runs):
            for name, network in NETWORKS.items():
                time.sleep(0.5)  # the stock
                sandbox, waited = timed(lambda: daemon.client.create("busybox", boot="snapshot", network=network))
                daemon.client.call("DELETE", f"/sandboxes/{sandbox['id']}")
                times[name].append(waited)
    print(HEADER)
    for name, waited in times.items():
        print(row(f"POST to 201, {name}", waited))


if __name__ == "__main__":
    main()
