#!/usr/bin/env python3
"""TCP from a guest to a server beside the host, through all rules, beside the same guest to its own TAP without any rule."""
import argparse
import concurrent.futures
import os
import pathlib
import sys
import tempfile

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent)]

from bare_vm import HEADER, row  # noqa: E402
from snapshot_daemon import daemon_with_snapshot  # noqa: E402
import nft  # noqa: E402
import own_network  # noqa: E402
from uplink import SINK, WEB, Servers, Uplink  # noqa: E402

TAP = "169.254.100.1"


def upload(daemon, sandbox, servers, address, megabytes) -> float:
    """MiB a second, by the server's clock."""
    done = len(servers.connections)
    daemon.client.exec(sandbox, "sh", "-c", f"dd if=/dev/zero bs=65536 count={16 * megabytes} 2>/dev/null | nc {address} {SINK}",
                       timeout_ms=60000)
    connection = servers.connections[done]
    while connection.ended is None:
        servers.threads[-1].join(0.1)
    return connection.received / connection.seconds / 2**20


def without_rules(vmm: int) -> Servers:
    """A server in the VMM's network, whose rules are removed."""
    network = os.open(f"/proc/{vmm}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    own_network.join(network)
    os.close(network)
    for table in nft.tables():
        nft.nft(f"delete {table}")
    return Servers()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--megabytes", type=int, default=64)
    options = parser.parse_args()
    own_network.enter()
    rates = {"through the rules": [], "to the bare TAP": []}
    with tempfile.TemporaryDirectory() as folder, daemon_with_snapshot() as daemon:
        uplink = Uplink(pathlib.Path(folder))
        try:
            ruled, bare = (daemon.client.create("busybox", network={"mode": "internet"})["id"] for _ in range(2))
            with concurrent.futures.ThreadPoolExecutor(1) as there:
                servers = there.submit(without_rules, daemon.vmm(bare)).result()
            with servers:
                for _ in range(options.runs):
                    rates["through the rules"].append(upload(daemon, ruled, uplink.servers, WEB, options.megabytes))
                    rates["to the bare TAP"].append(upload(daemon, bare, servers, TAP, options.megabytes))
        finally:
            uplink.close()
    print(HEADER)
    for name, seen in rates.items():
        print(row(name, seen).replace(" ms", " MiB/s"))


if __name__ == "__main__":
    main()
