"""Merges the layers of an OCI layout as the image specification says, in memory: our own reference, written for clarity.

`merge(layout)` answers {path: node} in the form of `ext4_reader.Ext4.tree`; folders that no layer names are 0755 root."""
import gzip
import io
import json
import os
import pathlib
import posixpath
import stat
import subprocess
import tarfile

KIND = {tarfile.DIRTYPE: stat.S_IFDIR, tarfile.SYMTYPE: stat.S_IFLNK, tarfile.CHRTYPE: stat.S_IFCHR,
        tarfile.BLKTYPE: stat.S_IFBLK, tarfile.FIFOTYPE: stat.S_IFIFO}
KEPT_XATTRS = (b"user.", b"trusted.", b"security.")
DROPPED_XATTRS = (b"security.selinux", b"trusted.overlay.")


def layer_tars(layout):
    """The uncompressed layers of the layout's first image, bottom first."""
    layout = pathlib.Path(layout)

    def blob(digest):
        return layout / "blobs" / digest.replace(":", "/")

    index = json.loads((layout / "index.json").read_bytes())
    manifest = json.loads(blob(index["manifests"][0]["digest"]).read_bytes())
    for layer in manifest["layers"]:
        data = blob(layer["digest"]).read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        elif data[:4] == b"\x28\xb5\x2f\xfd":
            data = subprocess.run(["zstd", "-dcq"], input=data, capture_output=True, check=True).stdout
        yield data


class Merge:
    """The merged tree; hard links share one node, and a node's identity is its inode."""

    def __init__(self):
        self.tree = {b"": new_folder()}

    def remove(self, path: bytes, itself=True):
        """Takes away what is below `path`, and the name itself."""
        if path not in self.tree:
            return
        for name in [name for name in self.tree if name.startswith(path + b"/" if path else b"") and name]:
            del self.tree[name]
        if itself:
            self.tree.pop(path, None)

    def resolve(self, path: bytes, depth=0) -> bytes:
        """`path` with every link on the way followed inside the tree; the last part too."""
        assert depth <= 40, f"too many links at {path!r}"
        place = b""
        parts = path.split(b"/") if path else []
        while parts:
            part = parts.pop(0)
            if part in (b"", b"."):
                continue
            if part == b"..":
                place = place.rpartition(b"/")[0]
                continue
            step = place + b"/" + part if place else part
            node = self.tree.get(step)
            if node and stat.S_ISLNK(node["mode"]):
                target = node["target"]
                base = b"" if target.startswith(b"/") else place + b"/"
                return self.resolve(base + target + b"/" + b"/".join(parts), depth + 1)
            place = step
        return place

    def place_of(self, path: bytes) -> bytes:
        """Where an entry goes: its folder's links followed, missing folders made, the last part as it is."""
        folder, _, name = path.rpartition(b"/")
        folder = self.resolve(folder)
        parts = folder.split(b"/") if folder else []
        for count in range(1, len(parts) + 1):
            above = b"/".join(parts[:count])
            node = self.tree.get(above)
            if node is None or not stat.S_ISDIR(node["mode"]):
                self.remove(above)
                self.tree[above] = new_folder()
        return folder + b"/" + name if folder else name

    def add_layer(self, data: bytes):
        with open_tar(data) as tar:
            members = [(normal(member.name), member) for member in tar]
            for path, member in members:
                folder, _, name = path.rpartition(b"/")
                if name == b".wh..wh..opq":
                    self.remove(self.resolve(folder), itself=False)
                elif name.startswith(b".wh.") and not name.startswith(b".wh..wh."):
                    self.remove(self.resolve(folder) + (b"/" if folder else b"") + name[4:])
            for path, member in members:
                if not path.rpartition(b"/")[2].startswith(b".wh."):
                    self.add(tar, path, member)

    def add(self, tar, path: bytes, member):
        if not path:
            if member.isdir():
                self.tree[b""].update(metadata(member))
            return
        place = self.place_of(path)
        if member.islnk():
            target = normal(member.linkname)
            node = self.tree[self.place_of(target)]
        else:
            node = {"mode": KIND.get(member.type, stat.S_IFREG), **metadata(member)}
            if member.issym():
                node["target"] = os.fsencode(member.linkname)
                node["mode"] = stat.S_IFLNK | 0o777
            elif member.isfile():
                node["content"] = tar.extractfile(member).read()
            elif member.ischr() or member.isblk():
                node["device"] = (member.devmajor, member.devminor)
        there = self.tree.get(place)
        if member.isdir() and there and stat.S_ISDIR(there["mode"]):
            there.update(node)
            return
        if there is not node:
            self.remove(place)
            self.tree[place] = node


def open_tar(data: bytes):
    return tarfile.open(fileobj=io.BytesIO(data), mode="r:", errors="surrogateescape")


def normal(name: str) -> bytes:
    path = posixpath.normpath("/" + name).lstrip("/")
    return os.fsencode(path)


def new_folder() -> dict:
    return {"mode": stat.S_IFDIR | 0o755, "uid": 0, "gid": 0, "xattrs": {}, "implied": True}


def metadata(member) -> dict:
    xattrs = {}
    for key, value in member.pax_headers.items():
        if key.startswith("SCHILY.xattr."):
            name = os.fsencode(key.removeprefix("SCHILY.xattr."))
            if name.startswith(KEPT_XATTRS) and not name.startswith(DROPPED_XATTRS):
                xattrs[name] = value.encode("utf-8", "surrogateescape")
    return {"mode": KIND.get(member.type, stat.S_IFREG) | member.mode & 0o7777, "uid": member.uid, "gid": member.gid,
            "mtime": int(member.mtime // 1), "xattrs": xattrs, "implied": False}


def merge(layout) -> dict:
    merged = Merge()
    for data in layer_tars(layout):
        merged.add_layer(data)
    return merged.tree
