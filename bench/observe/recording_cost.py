#!/usr/bin/env python3
"""What recording costs: create and exec with everything on against everything off, each pair alternating in one run.

Two daemons side by side, equal but for metrics, audit and log. Each turn asks both for the same, the other one first each
time; what the machine does meanwhile meets both. Told are the medians, and the median of the pairs' differences.
Goal: less than 1 % on top. Needs NANOBOX_BUILD and NANOBOX_KERNEL as tests/e2e/run_e2e.py does.
"""
import argparse
import contextlib
import pathlib
import statistics
import sys
import tempfile
import time

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent), str(pathlib.Path(__file__).resolve().parent.parent / "exec")]

from bare_vm import HEADER, IMAGES, Daemon, build_images, row  # noqa: E402
from exec_bench import Rest  # noqa: E402
from snapshot_daemon import BUSYBOX, timed  # noqa: E402
import own_network  # noqa: E402

ON = "--metrics.enabled=true", "--audit.enabled=true", "--log.level=info"
OFF = "--metrics.enabled=false", "--audit.enabled=false", "--log.level=off"


@contextlib.contextmanager
def daemon(flags, subnet, bridge):
    """With a template that has a snapshot, in a data folder of its own."""
    with tempfile.TemporaryDirectory(prefix="nb-bench-", dir="/tmp") as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        server = Daemon(folder, flags=(*flags, f"--network.subnet={subnet}", f"--network.bridge_name={bridge}"))
        try:
            server.client.ready("busybox", f"oci:{build_images.build(BUSYBOX, IMAGES)}:latest", snapshot=True,
                                resources={"memory_mb": 128})
            yield server
        finally:
            server.end()


def paired(turns, skipped, on, off):
    """The milliseconds of both, turn by turn."""
    times = {True: [], False: []}
    for turn in range(turns + skipped):
        for recording in ((True, False) if turn % 2 else (False, True)):
            took = (on if recording else off)()
            if turn >= skipped:
                times[recording].append(took)
    return times[True], times[False]


def tell(what, on, off):
    print(row(f"{what}, recording", on))
    print(row(f"{what}, not", off))
    difference = statistics.median(a - b for a, b in zip(on, off))
    print(f"  on top: {difference:+.3f} ms in the median of pairs, {100 * difference / statistics.median(off):+.2f} %; medians "
          f"{100 * (statistics.median(on) / statistics.median(off) - 1):+.2f} %")


def create_and_delete(server):
    time.sleep(0.3)  # a VMM is in stock again
    sandbox, took = timed(lambda: server.client.create("busybox", boot="snapshot"))
    server.client.call("DELETE", f"/sandboxes/{sandbox['id']}")
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--creates", type=int, default=60)
    parser.add_argument("--execs", type=int, default=1500)
    options = parser.parse_args()
    own_network.enter()
    with daemon(ON, "10.101.0.0/16", "nb-on") as on, daemon(OFF, "10.102.0.0/16", "nb-off") as off:
        creates = paired(options.creates, 3, lambda: create_and_delete(on), lambda: create_and_delete(off))
        clients = [Rest(server.client.address, server.client.create("busybox", timeout_sec=3600)["id"]) for server in (on, off)]
        execs = paired(options.execs, 50, lambda: clients[0].exec("/bin/true"), lambda: clients[1].exec("/bin/true"))
    print(HEADER)
    tell("POST to 201 from a snapshot", *creates)
    tell("exec true by REST", *execs)


if __name__ == "__main__":
    main()
