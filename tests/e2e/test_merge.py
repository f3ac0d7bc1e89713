"""What warmup builds is the image: every path, type, mode, owner, size, content, link and xattr, against two merges of others."""
import hashlib
import os
import pathlib
import stat
import subprocess
import tempfile
import unittest

from ext4_reader import Ext4
from harness import Case, build_images, image_layout
from reference_merge import merge

# What warmup adds to the image (api.md), and what mkfs owns.
ADDED = {b"lost+found", b"sbin/nanobox-init", b"usr/sbin/nanobox-init", b"etc/nanobox"}
MOUNT_POINTS = {b"proc", b"sys", b"dev", b"run", b"tmp"}


def comparable(node) -> dict:
    kind = stat.S_IFMT(node["mode"])
    out = {"kind": oct(kind), "uid": node["uid"], "gid": node["gid"], "xattrs": node["xattrs"]}
    if kind != stat.S_IFLNK:
        out["mode"] = oct(node["mode"] & 0o7777)
    if kind == stat.S_IFREG:
        out["size"], out["sha256"] = len(node["content"]), hashlib.sha256(node["content"]).hexdigest()
    if "mtime" in node and not node.get("implied"):
        out["mtime"] = node["mtime"]
    return {**out, **{key: node[key] for key in ("target", "device") if key in node}}


def link_groups(tree) -> set:
    """The names that share one inode, as sets."""
    groups = {}
    for path, node in tree.items():
        groups.setdefault(node.get("inode", id(node)), set()).add(path)
    return {frozenset(group) for group in groups.values() if len(group) > 1}


def differences(built, expected):
    for path in sorted(set(built) | set(expected)):
        if not path or path in ADDED or any(path.startswith(added + b"/") for added in ADDED):
            continue
        if path not in expected:
            if path not in MOUNT_POINTS and path not in (b"etc", b"sbin"):
                yield f"{path!r} is in the built root only"
        elif path not in built:
            yield f"{path!r} is missing in the built root"
        else:
            ours, theirs = comparable(built[path]), comparable(expected[path])
            if expected[path].get("implied"):
                ours.pop("mtime", None)
            if ours != theirs:
                yield f"{path!r}: built {ours}, expected {theirs}"


def walk(root: pathlib.Path) -> dict:
    """A tree on the host in the reader's form, by lstat and listxattr."""
    tree = {}
    for folder, names, files in os.walk(os.fsencode(root)):
        for name in names + files:
            path = os.path.join(folder, name)
            status = os.lstat(path)
            node = {"inode": status.st_ino, "mode": status.st_mode, "uid": status.st_uid, "gid": status.st_gid,
                    "mtime": int(status.st_mtime // 1),
                    "xattrs": {os.fsencode(key): os.getxattr(path, key, follow_symlinks=False)
                               for key in os.listxattr(path, follow_symlinks=False)}}
            if stat.S_ISREG(status.st_mode):
                node["content"] = pathlib.Path(os.fsdecode(path)).read_bytes()
            elif stat.S_ISLNK(status.st_mode):
                node["target"] = os.readlink(path)
            elif stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
                node["device"] = (os.major(status.st_rdev), os.minor(status.st_rdev))
            tree[os.path.relpath(path, os.fsencode(root))] = node
    return tree


class BuiltRoots(Case):
    images = ()

    def built(self, name):
        """The root that warmup makes of a test image, and that image's layout."""
        layout = image_layout(name)
        short = name.rpartition("/")[2].replace(":", "-")
        self.client.ready(short, f"oci:{layout}:{name.rpartition(':')[2]}")
        path = self.daemon.data / "oci-cache/rootfs" / f"{short}.ext4"
        check = subprocess.run(["e2fsck", "-fn", path], capture_output=True, text=True)
        self.assertEqual(check.returncode, 0, check.stdout)
        return Ext4(path).tree(), layout

    def test_every_image_equals_our_reference_merge(self):
        for name in build_images.IMAGES:
            with self.subTest(name):
                built, layout = self.built(name)
                expected = merge(layout)
                self.assertEqual(list(differences(built, expected)), [])
                self.assertEqual({group for group in link_groups(built)}, link_groups(expected))

    def test_images_equal_what_umoci_unpacks(self):
        if os.geteuid() != 0:
            self.skipTest("umoci keeps owners and devices as root only")
        for name in ("library/busybox:latest", "library/debian:bookworm-slim", "library/node:22-alpine"):
            with self.subTest(name), tempfile.TemporaryDirectory() as folder:
                built, layout = self.built(name)
                subprocess.run(["umoci", "unpack", "--image", f"{layout}:{name.rpartition(':')[2]}", f"{folder}/bundle"],
                               check=True, capture_output=True)
                unpacked = walk(pathlib.Path(folder) / "bundle/rootfs")
                for path, node in merge(layout).items():
                    if path and node.get("implied"):  # no layer names it: umoci gives it the time of day
                        unpacked[path]["implied"] = True
                self.assertEqual(list(differences(built, unpacked)), [])


if __name__ == "__main__":
    unittest.main()
