#!/usr/bin/env python3
"""Makes NanoBox' default image, `busybox`, from Debian's busybox-static: one layer, an OCI layout, always the same bytes.

usage: make_default_image.py BUSYBOX FOLDER
"""
import pathlib
import shutil
import struct
import subprocess
import sys

from oci_layout import LayerTar, OciLayout

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CONFIG = {"Env": [f"PATH={PATH}"], "Cmd": ["sh"], "WorkingDir": "/"}
FOLDERS = ["bin", "dev", "etc", "home", "proc", "run", "sbin", "sys", "usr", "usr/bin", "usr/sbin", "var", "var/log"]


def is_static(program: bytes) -> bool:
    """Whether the ELF file names no program interpreter (PT_INTERP, 3)."""
    if program[:5] != b"\x7fELF\x02":
        return False
    offset, = struct.unpack_from("<Q", program, 32)
    size, count = struct.unpack_from("<HH", program, 54)
    return all(struct.unpack_from("<I", program, offset + i * size)[0] != 3 for i in range(count))


def busybox_layer(busybox: str, also_in_bin=False) -> bytes:
    """The layer: the program, a symlink for each applet where it belongs (and in /bin too), and what a small system needs."""
    program = pathlib.Path(busybox).read_bytes()
    if not is_static(program):
        sys.exit(f"default image: {busybox} is not a static x86-64 program; run deploy/install-packages build")
    applets = subprocess.run([busybox, "--list-full"], capture_output=True, check=True, text=True).stdout.split()
    links = set(applets) - {"bin/busybox"}
    if also_in_bin:
        links |= {"bin/" + applet.rpartition("/")[2] for applet in applets} - {"bin/busybox"}
    layer = LayerTar()
    for folder in FOLDERS:
        layer.folder(folder)
    layer.folder("root", mode=0o700)
    layer.folder("tmp", mode=0o1777)
    layer.folder("var/tmp", mode=0o1777)
    layer.file("bin/busybox", program, mode=0o755)
    for link in sorted(links):
        layer.symlink(link, "/bin/busybox")
    layer.file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n")
    layer.file("etc/group", "root:x:0:\nnogroup:x:65534:\n")
    return layer.end()


def main(busybox: str, folder: str):
    # Beside the final place, then renamed: a build that is cut off leaves no half layout.
    target, half = pathlib.Path(folder), pathlib.Path(folder + ".tmp")
    shutil.rmtree(half, ignore_errors=True)
    layout = OciLayout(half)
    layout.add_image("latest", [layout.add_layer(busybox_layer(busybox))], CONFIG)
    layout.finish()
    shutil.rmtree(target, ignore_errors=True)
    half.rename(target)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
