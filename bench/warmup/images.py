#!/usr/bin/env python3
"""Makes the two images that warmup is measured on, once: `medium` (Debian and Node, 100-130 MB compressed) and `large`
(a Debian with compilers and Java, 250-450 MB, six layers, some of it deleted again by an upper one). Needs Debian's mirror.

usage: images.py FOLDER      (prints FOLDER/medium:latest and FOLDER/large:latest)
"""
import json
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "tests" / "images")]

import build_images  # noqa: E402
from debian_image import MIRROR  # noqa: E402
from make_default_image import CONFIG  # noqa: E402
from oci_layout import LayerTar, OciLayout  # noqa: E402

PACKAGES = "clang,g++,git,python3,cmake,gdb,default-jre-headless,libboost-dev"
PARTS = ("usr/lib/llvm", "usr/lib/jvm", "usr/include", "usr/lib/x86_64-linux-gnu", "")


def medium(layout, folder):
    for name in ("library/debian:bookworm-slim", "library/node:22-alpine"):
        source = build_images.build(name, folder)

        def blob(digest):
            return (source / "blobs" / digest.replace(":", "/")).read_bytes()

        manifest = json.loads(blob(json.loads((source / "index.json").read_bytes())["manifests"][0]["digest"]))
        for layer, diff_id in zip(manifest["layers"], json.loads(blob(manifest["config"]["digest"]))["rootfs"]["diff_ids"]):
            yield {"descriptor": layout.add_blob(blob(layer["digest"]), layer["mediaType"]), "diff_id": diff_id}


def large(layout, folder):
    """One tar of mmdebstrap, dealt out to layers by path; hard links stay with their target, for all of a part does."""
    with tempfile.TemporaryDirectory() as scratch:
        whole = pathlib.Path(scratch) / "whole.tar"
        subprocess.run(["mmdebstrap", "--variant=minbase", "--mode=auto", "--quiet", f"--include={PACKAGES}", "bookworm", whole,
                        MIRROR], check=True)
        parts = [pathlib.Path(scratch) / f"part{number}.tar" for number in range(len(PARTS))]
        writers = [tarfile.open(part, "w", format=tarfile.PAX_FORMAT) for part in parts]
        with tarfile.open(whole) as source:
            for member in source:
                path = (member.linkname if member.islnk() else member.name).removeprefix("./")
                writer = next(writer for part, writer in zip(PARTS, writers) if path.startswith(part))
                writer.addfile(member, source.extractfile(member) if member.isreg() else None)
        for writer, part in reversed(list(zip(writers, parts))):
            writer.close()
            yield layout.add_layer(part)
    removed = LayerTar()
    for path in ("usr/share/doc", "usr/share/locale", "usr/include/boost"):
        removed.whiteout(path)
    yield layout.add_layer(removed.end())


def build(name: str, make, folder: pathlib.Path) -> pathlib.Path:
    target = folder / name
    if not (target / "index.json").exists():
        half = folder / f"{name}.tmp"
        shutil.rmtree(half, ignore_errors=True)
        layout = OciLayout(half)
        layout.add_image("latest", list(make(layout, folder)), CONFIG)
        layout.finish()
        half.rename(target)
    return target


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for name, make in (("medium", medium), ("large", large)):
        print(f"{build(name, make, pathlib.Path(sys.argv[1]))}:latest", flush=True)
