#!/usr/bin/env python3
"""Whether pull and conversion overlap: a whole warmup from a registry on loopback against each of its halves alone,
alternating in one run, all of it on tmpfs. Each warmup has a fresh daemon and data folder.

pull: the blobs fetched side by side by curl, to files. convert: the same image from a layout on the host, which still is
read, hashed and copied into the cache.
usage: overlap.py LAYOUT:TAG… [--runs N]        Needs NANOBOX_BUILD and NANOBOX_KERNEL as tests/e2e/run_e2e.py does.
"""
import argparse
import contextlib
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent.parent / "tests" / "e2e")]

from harness import Daemon, Registry, push_image  # noqa: E402
from compare import layers_of  # noqa: E402


@contextlib.contextmanager
def scratch():
    with tempfile.TemporaryDirectory(prefix="nb-bench-", dir="/dev/shm") as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        yield folder


def warmup(image: str, local_root: pathlib.Path) -> float:
    """Seconds of the whole run, as the daemon records it."""
    with scratch() as folder:
        daemon = Daemon(folder, local_roots=[local_root])
        try:
            status = daemon.client.ready("image", image)
            return daemon.client.want(200, "GET", f"/pipelines/runs/{status['operation_id']}")["duration_ms"] / 1000
        finally:
            daemon.end()


def pull(registry: Registry, repository: str, digests) -> float:
    with scratch() as folder:
        arguments = []
        for digest in digests:
            arguments += ["-o", folder / digest.replace(":", "-"), f"http://{registry.address}/v2/{repository}/blobs/{digest}"]
        begin = time.monotonic()
        subprocess.run(["curl", "-sfL", "--parallel", "--parallel-immediate", *map(str, arguments)], check=True, stderr=subprocess.DEVNULL)
        return time.monotonic() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="+", metavar="LAYOUT:TAG")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    print(f"{'image':20} {'MB':>6} {'pull s':>8} {'convert s':>10} {'warmup s':>9} {'of the slower':>14} {'of the sum':>11}")
    for image in options.images:
        source, tag = image.rsplit(":", 1)
        layout = pathlib.Path(source).resolve()
        blobs = [pathlib.Path(path) for path in layers_of(layout, tag)]
        digests = [f"sha256:{path.name}" for path in blobs]
        pulls, conversions, warmups = [], [], []
        with scratch() as folder:
            registry = Registry(folder)
            try:
                push_image.push(layout, registry.address, f"bench/image:{tag}")
                for _ in range(options.runs):
                    pulls.append(pull(registry, "bench/image", digests))
                    conversions.append(warmup(f"oci:{layout}:{tag}", layout))
                    warmups.append(warmup(f"{registry.address}/bench/image:{tag}", layout))
            finally:
                registry.end()
        slower = [max(each) for each in zip(pulls, conversions)]
        total = [sum(each) for each in zip(pulls, conversions)]
        print(f"{layout.name + ':' + tag:20} {sum(path.stat().st_size for path in blobs) / 1e6:6.0f} {statistics.median(pulls):8.2f} "
              f"{statistics.median(conversions):10.2f} {statistics.median(warmups):9.2f} "
              f"{statistics.median(ours / limit for ours, limit in zip(warmups, slower)):13.2f}x "
              f"{statistics.median(ours / limit for ours, limit in zip(warmups, total)):10.2f}x", flush=True)


if __name__ == "__main__":
    main()
