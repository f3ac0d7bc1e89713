"""The nasty test image: what the image specification allows and few images do (ext4.md, corner cases). Each layer's function
says what it tries; the right outcome is worked out by tests/e2e/reference_merge.py, not here."""
import io
import struct
import tarfile

from make_default_image import CONFIG, busybox_layer
from oci_layout import LayerTar

# cap_net_raw=ep in the kernel's form: revision 2 with the effective bit, then permitted and inheritable of both words.
CAPABILITY = struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0)


def lower_layer() -> bytes:
    """Things for the upper layers to hide, replace and link to; and names, ids and xattrs as odd as they come."""
    layer = LayerTar()
    for folder in ("keep", "hidden", "opaque", "opaque/deep", "replaced", "types", "links", "odd", "xattrs", "dev2"):
        layer.folder(folder)
    for path in ("keep/a", "keep/b", "hidden/x", "hidden/y", "opaque/old", "opaque/deep/old", "replaced/child"):
        layer.file(path, f"lower {path}\n")
    for path in ("types/file_to_folder", "types/file_to_link", "types/file_to_fifo"):
        layer.file(path, "a file\n")
    layer.folder("types/folder_to_file")
    layer.file("types/folder_to_file/child", "gone\n")
    layer.symlink("types/link_to_folder", "/keep")
    layer.file("links/original", "linked\n", uid=1000, gid=1001, mode=0o640)
    layer.hard_link("links/same_layer", "links/original")
    layer.symlink("links/dangling", "/nowhere/at/all")
    layer.symlink("links/long", "x" * 1000)
    layer.symlink("links/loop", "loop")
    layer.symlink("moved", "/keep")
    layer.file(b"odd/latin-\xe9\xff.txt", "not UTF-8\n")
    layer.file("odd/" + "n" * 255, "a name of 255 bytes\n")
    layer.file("odd/new\nline and blank", "odd\n")
    layer.file("odd/back\\slash", "odd\n")
    layer.file("odd/" + "/".join(["deep"] * 60) + "/leaf", "parents were never written\n")
    layer.file("odd/big_ids", "odd\n", uid=4_000_000_000, gid=3_000_000_000)
    layer.file("odd/before_1970", "odd\n", mtime=-86400)
    layer.file("odd/fraction", "odd\n", mtime=1_600_000_000.25)
    layer.file("odd/setuid", "odd\n", mode=0o6755, uid=7)
    layer.file("odd/empty")
    layer.file("./odd/dotted", "odd\n")
    layer.file("/odd/absolute", "odd\n")
    layer.file("odd//doubled", "odd\n")
    layer.file("odd/twice", "the first\n")
    layer.file("odd/twice", "the last wins\n", mode=0o600)
    layer.file("xattrs/capable", "program\n", mode=0o755, xattrs={"security.capability": CAPABILITY})
    layer.file("xattrs/user", "x\n", xattrs={"user.text": b"value", "user.bytes": b"\0\xff\x01=\n", "user.empty": b""})
    layer.file("xattrs/block", "x\n", xattrs={"user.large": bytes(range(256)) * 8, "trusted.small": b"1"})
    layer.folder("xattrs/folder", xattrs={"user.folder": b"yes"})
    layer.character_device("dev2/null", 1, 3, mode=0o666)
    layer.block_device("dev2/disk", 259, 70_000)
    layer.character_device("dev2/zero_zero", 0, 0)
    layer.fifo("dev2/pipe", mode=0o600)
    return layer.end()


def upper_layer() -> bytes:
    """Whiteouts before and after entries of their own folder, an opaque folder, type changes, hard links to the layer below."""
    layer = LayerTar()
    layer.whiteout("hidden/x")
    layer.file("hidden/z", "upper\n")
    layer.whiteout("keep/missing")
    layer.file("opaque/new_before", "upper\n")
    layer.opaque("opaque")
    layer.file("opaque/new_after", "upper\n")
    layer.whiteout("replaced")
    layer.folder("replaced", mode=0o750)
    layer.file("replaced/fresh", "upper\n")
    layer.folder("types/file_to_folder", mode=0o711)
    layer.file("types/file_to_folder/child", "upper\n")
    layer.symlink("types/file_to_link", "/keep/a")
    layer.fifo("types/file_to_fifo")
    layer.file("types/folder_to_file", "a file now\n")
    layer.folder("types/link_to_folder")
    layer.file("types/link_to_folder/own", "upper\n")
    layer.hard_link("links/across_layers", "links/original")
    layer.folder("xattrs/folder", mode=0o700)
    layer.file("keep/b", "upper b\n", uid=5)
    layer.whiteout("does/not/exist")
    return layer.end()


def last_layer() -> bytes:
    """One name of a link group is replaced, the others stay; a whiteout of a name made in the layer before."""
    layer = LayerTar()
    layer.file("links/same_layer", "alone now\n")
    layer.whiteout("hidden/z")
    layer.file("moved/through_a_link", "lands in /keep\n")
    return layer.end()


def sparse_layer() -> bytes:
    """Sparse files in the old GNU form and in PAX form 1.0, written by hand: Python's tarfile only reads them."""
    layer = LayerTar()
    layer.folder("sparse")
    # PAX 1.0: the map stands before the data as decimal lines, padded to a block.
    size, parts = 1 << 20, [(0, b"head" * 128), (524288, b"mid." * 1024), (1 << 20, b"")]
    lines = f"{len(parts)}\n" + "".join(f"{offset}\n{len(data)}\n" for offset, data in parts)
    body = lines.encode().ljust(512, b"\0") + b"".join(data for _, data in parts)
    layer.entry("GNUSparseFile.0/pax", tarfile.REGTYPE, body,
                pax={b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0", b"GNU.sparse.name": b"sparse/pax",
                     b"GNU.sparse.realsize": str(size).encode()})
    layer.out.write(old_gnu_sparse("sparse/old", 1 << 21, [(4096, b"S" * 4096), (1 << 20, b"T" * 512), (1 << 21, b"")]))
    layer.file("sparse/zeros", bytes(1 << 20))
    return layer.end()


def old_gnu_sparse(path, size, parts) -> bytes:
    """One entry of type 'S': the map (at most four parts) and the real size stand in the header."""
    data = b"".join(data for _, data in parts)
    member = tarfile.TarInfo(path)
    member.type, member.size, member.mtime = tarfile.GNUTYPE_SPARSE, len(data), 1_700_000_000
    header = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    for index, (offset, part) in enumerate(parts):
        header[386 + 24 * index:386 + 24 * (index + 1)] = b"%011o\0%011o\0" % (offset, len(part))
    header[483:495] = b"%011o\0" % size
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + data + bytes(-len(data) % 512)


def gnu_layer() -> bytes:
    """Long names and base-256 numbers in GNU's form."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for path, uid in (("gnu/" + "l" * 200, 0), ("gnu/base256", 3_000_000_000), ("gnu/" + "d/" * 80 + "leaf", 1)):
            member = tarfile.TarInfo(path)
            member.uid, member.size, member.mtime = uid, 4, 1_700_000_000
            tar.addfile(member, io.BytesIO(b"gnu\n"))
        link = tarfile.TarInfo("gnu/link")
        link.type, link.linkname, link.mtime = tarfile.SYMTYPE, "t" * 300, 1_700_000_000
        tar.addfile(link)
    return out.getvalue()


def make(layout):
    empty = LayerTar().end()
    layers = [busybox_layer("/bin/busybox"), lower_layer(), empty, upper_layer(), sparse_layer(), gnu_layer(), empty,
              last_layer()]
    kinds = ["gzip", "gzip", "gzip", "zstd", "none", "gzip", "gzip", "zstd"]
    layout.add_image("latest", [layout.add_layer(layer, kind) for layer, kind in zip(layers, kinds)],
                     {**CONFIG, "Env": CONFIG["Env"] + ["ODD=a 'quoted' \"value\" $HOME"], "WorkingDir": "/keep"})
