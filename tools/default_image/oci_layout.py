"""Writes image layers (tar) and OCI image layouts, byte for byte the same for the same input. No package needed."""
import gzip
import hashlib
import io
import json
import os
import pathlib
import subprocess
import tarfile

SOURCE_DATE = 1_700_000_000
LAYER_TYPES = {
    "gzip": "application/vnd.oci.image.layer.v1.tar+gzip",
    "zstd": "application/vnd.oci.image.layer.v1.tar+zstd",
    "none": "application/vnd.oci.image.layer.v1.tar",
}
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"


def pax_record(key: bytes, value: bytes) -> bytes:
    """One PAX record: its own decimal length, a blank, `key=value`, a newline."""
    rest = b" " + key + b"=" + value + b"\n"
    size = len(rest)
    while size != len(rest) + len(str(size)):
        size = len(rest) + len(str(size))
    return str(size).encode() + rest


class LayerTar:
    """A tar in memory or in `out`, written entry by entry. Names, link targets and xattr values are bytes and written as they are."""

    def __init__(self, out=None):
        self.out = out if out is not None else io.BytesIO()

    def entry(self, path, kind, data=b"", mode=0o644, uid=0, gid=0, mtime=SOURCE_DATE, link=b"", device=(0, 0),
              xattrs=None, pax=None):
        """One entry of tar type `kind`. What an old header cannot hold goes to a PAX header before it."""
        path, link = as_bytes(path), as_bytes(link)
        records = dict(pax or {})
        for name, value in sorted((xattrs or {}).items()):
            records[b"SCHILY.xattr." + as_bytes(name)] = value
        if len(path) > 100:
            records[b"path"] = path
        if len(link) > 100:
            records[b"linkpath"] = link
        for key, number in ((b"uid", uid), (b"gid", gid)):
            if number > 0o7777777:
                records[key] = str(number).encode()
        if mtime != int(mtime) or mtime < 0:
            records[b"mtime"] = repr(mtime).encode()
        if records:
            body = b"".join(pax_record(key, value) for key, value in records.items())
            self._block(b"PaxHeader", tarfile.XHDTYPE, body, 0o644, 0, 0, 0, b"", (0, 0))
        self._block(path[:100], kind, data, mode, min(uid, 0o7777777), min(gid, 0o7777777), max(int(mtime), 0),
                    link[:100], device)

    def _block(self, path, kind, data, mode, uid, gid, mtime, link, device):
        header = bytearray(512)

        def put(offset, value):
            header[offset:offset + len(value)] = value

        put(0, path)
        put(100, b"%07o\0%07o\0%07o\0%011o\0%011o\0" % (mode, uid, gid, len(data), mtime))
        put(148, b" " * 8)
        put(156, kind)
        put(157, link)
        put(257, b"ustar\0" + b"00")
        put(329, b"%07o\0%07o\0" % device)
        put(148, b"%06o\0 " % sum(header))
        self.out.write(header)
        self.out.write(data)
        self.out.write(bytes(-len(data) % 512))

    def file(self, path, data=b"", **more):
        self.entry(path, tarfile.REGTYPE, as_bytes(data), **more)

    def folder(self, path, mode=0o755, **more):
        self.entry(path, tarfile.DIRTYPE, mode=mode, **more)

    def symlink(self, path, target, **more):
        self.entry(path, tarfile.SYMTYPE, link=target, mode=0o777, **more)

    def hard_link(self, path, target):
        self.entry(path, tarfile.LNKTYPE, link=target)

    def character_device(self, path, major, minor, **more):
        self.entry(path, tarfile.CHRTYPE, device=(major, minor), **more)

    def block_device(self, path, major, minor, **more):
        self.entry(path, tarfile.BLKTYPE, device=(major, minor), **more)

    def fifo(self, path, **more):
        self.entry(path, tarfile.FIFOTYPE, **more)

    def whiteout(self, path):
        folder, _, name = as_bytes(path).rpartition(b"/")
        self.file((folder + b"/" if folder else b"") + b".wh." + name)

    def opaque(self, folder):
        self.file(as_bytes(folder).rstrip(b"/") + b"/.wh..wh..opq")

    def end(self):
        """The two zero blocks; the finished tar where it was written in memory."""
        self.out.write(bytes(1024))
        return self.out.getvalue() if isinstance(self.out, io.BytesIO) else None


def as_bytes(text) -> bytes:
    return text if isinstance(text, bytes) else os.fsencode(text)


class OciLayout:
    """An OCI image layout folder being written; `finish` writes its index.json last, so an index means a whole layout."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.blobs = self.folder / "blobs" / "sha256"
        self.blobs.mkdir(parents=True, exist_ok=True)
        self.manifests = []

    def add_blob(self, data: bytes, media_type: str) -> dict:
        digest = hashlib.sha256(data).hexdigest()
        (self.blobs / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    def add_layer(self, tar, compression="gzip", level=6) -> dict:
        """Compresses `tar` (bytes or a path); the answer has `descriptor` and `diff_id`."""
        data = tar if isinstance(tar, bytes) else pathlib.Path(tar).read_bytes()
        packed = {"gzip": lambda: gzip.compress(data, level, mtime=0),
                  "zstd": lambda: subprocess.run(["zstd", "-q", "-c", "-3"], input=data, capture_output=True,
                                                 check=True).stdout,
                  "none": lambda: data}[compression]()
        return {"descriptor": self.add_blob(packed, LAYER_TYPES[compression]),
                "diff_id": "sha256:" + hashlib.sha256(data).hexdigest()}

    def add_image(self, tag: str, layers: list, config: dict, architecture="amd64") -> dict:
        """One image of `layers` (bottom first) with the runtime settings `config` (Env, Cmd, …); its manifest's descriptor."""
        image = {"architecture": architecture, "os": "linux", "created": "2023-11-14T22:13:20Z", "config": config,
                 "rootfs": {"type": "layers", "diff_ids": [layer["diff_id"] for layer in layers]},
                 "history": [{"created": "2023-11-14T22:13:20Z", "created_by": "nanobox"} for _ in layers]}
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": self.add_blob(as_json(image), CONFIG_TYPE),
                    "layers": [layer["descriptor"] for layer in layers]}
        descriptor = self.add_blob(as_json(manifest), MANIFEST_TYPE)
        named = {**descriptor, "platform": {"architecture": architecture, "os": "linux"},
                 "annotations": {"org.opencontainers.image.ref.name": tag}}
        self.manifests.append(named)
        return descriptor

    def finish(self):
        (self.folder / "oci-layout").write_bytes(as_json({"imageLayoutVersion": "1.0.0"}))
        index = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": self.manifests}
        (self.folder / "index.json").write_bytes(as_json(index))


def as_json(value) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True).encode()
