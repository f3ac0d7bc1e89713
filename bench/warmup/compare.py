#!/usr/bin/env python3
"""Warmup's extract and build against `umoci unpack` + `mkfs.ext4 -d`, alternating in one run, all of it on tmpfs.

usage: compare.py WARMUP_BENCH LAYOUT:TAG… [--runs N]        (as root: umoci keeps owners then)
"""
import argparse
import json
import pathlib
import shutil
import statistics
import subprocess
import tempfile
import time


def layers_of(layout: pathlib.Path, tag: str) -> list:
    """The layers' blobs, bottom first."""
    def read(digest):
        return json.loads((layout / "blobs" / digest.replace(":", "/")).read_bytes())

    index = json.loads((layout / "index.json").read_bytes())
    named = [entry for entry in index["manifests"] if entry.get("annotations", {}).get("org.opencontainers.image.ref.name") == tag]
    manifest = read((named or index["manifests"])[0]["digest"])
    while "manifests" in manifest:
        manifest = read(manifest["manifests"][0]["digest"])
    return [str(layout / "blobs" / layer["digest"].replace(":", "/")) for layer in manifest["layers"]]


def by_umoci(layout: pathlib.Path, tag: str, folder: pathlib.Path) -> float:
    start = time.monotonic()
    subprocess.run(["umoci", "unpack", "--image", f"{layout}:{tag}", folder / "bundle"], check=True, capture_output=True)
    root = folder / "bundle/rootfs"
    used = int(subprocess.run(["du", "-sm", root], check=True, capture_output=True, text=True).stdout.split()[0])
    subprocess.run(["mkfs.ext4", "-q", "-F", "-d", root, folder / "root.ext4", f"{used + used // 4 + 64}M"], check=True, capture_output=True)
    seconds = time.monotonic() - start
    shutil.rmtree(folder / "bundle")
    (folder / "root.ext4").unlink()
    return seconds


def by_nanobox(bench: str, layers: list, folder: pathlib.Path) -> dict:
    done = subprocess.run([bench, folder / "out", *layers], check=True, capture_output=True, text=True)
    shutil.rmtree(folder / "out")
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bench")
    parser.add_argument("images", nargs="+", metavar="LAYOUT:TAG")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    print(f"{'image':24} {'MB':>6} {'umoci+mkfs s':>13} {'nanobox s':>10} {'faster':>7} {'of limit 3':>11} {'peak MB':>8}")
    for image in options.images:
        source, tag = image.rsplit(":", 1)
        with tempfile.TemporaryDirectory(dir="/dev/shm") as scratch:
            folder = pathlib.Path(scratch)
            layout = folder / "layout"
            shutil.copytree(source, layout)
            layers = layers_of(layout, tag)
            theirs, ours = [], []
            for _ in range(options.runs):
                theirs.append(by_umoci(layout, tag, folder))
                ours.append(by_nanobox(options.bench, layers, folder))
        total = statistics.median(run["total_s"] for run in ours)
        print(f"{pathlib.Path(source).name + ':' + tag:24} {ours[0]['compressed_mb']:6.0f} {statistics.median(theirs):13.2f} {total:10.2f} "
              f"{statistics.median(theirs) / total:6.1f}x {statistics.median(run['of_limit3'] for run in ours):11.2f} "
              f"{max(run['peak_mb'] for run in ours):8.1f}", flush=True)


if __name__ == "__main__":
    main()
