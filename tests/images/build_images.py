#!/usr/bin/env python3
"""Builds the test images as OCI layouts, each once: kept under a hash of what it is made from.

usage: build_images.py FOLDER [NAME…]
"""
import hashlib
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent.parent / "tools" / "default_image")]

import busybox_image  # noqa: E402
import debian_image  # noqa: E402
import nasty_image  # noqa: E402
import node_image  # noqa: E402
from oci_layout import OciLayout  # noqa: E402

# The usual name in a registry: what makes it.
IMAGES = {
    "library/busybox:latest": busybox_image.make,
    "library/busybox-zstd:latest": lambda layout: busybox_image.make(layout, "zstd"),
    "library/busybox-plain:latest": lambda layout: busybox_image.make(layout, "none"),
    "library/debian:bookworm-slim": debian_image.make,
    "library/node:22-alpine": node_image.make,
    "library/nasty:latest": nasty_image.make,
}


def version_key() -> str:
    """A hash of our scripts and of the packages whose files go into images."""
    sources = sorted(HERE.glob("*_image.py")) + [HERE.parent.parent / "tools/default_image" / name
                                                 for name in ("oci_layout.py", "make_default_image.py")]
    packages = subprocess.run(["dpkg-query", "-W", "busybox-static", "libc6", "libstdc++6"], capture_output=True).stdout
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources) + packages).hexdigest()[:16]


def build(name: str, folder) -> pathlib.Path:
    """The OCI layout of the image `name`, built if it is not there."""
    repository, tag = name.removeprefix("library/").split(":")
    target = pathlib.Path(folder) / version_key() / repository
    if not (target / "index.json").exists():
        half = target.with_suffix(".tmp")
        shutil.rmtree(half, ignore_errors=True)
        layout = OciLayout(half)
        IMAGES[name](layout)
        layout.finish()
        half.rename(target)
    return target


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    for wanted in sys.argv[2:] or IMAGES:
        print(f"{wanted}: {build(wanted, sys.argv[1])}", flush=True)
