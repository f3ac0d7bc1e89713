"""Reads an ext4 image file without mounting it: an own reader, so that nothing of the writer's is believed."""
import mmap
import stat
import struct

XATTR_PREFIX = {1: b"user.", 2: b"system.posix_acl_access", 3: b"system.posix_acl_default", 4: b"trusted.", 6: b"security.",
                7: b"system."}
XATTR_MAGIC = 0xEA020000


class Ext4:
    """The image at `path`; `tree()` is every path with its Node."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.data = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        superblock = self.data[1024:2048]
        assert struct.unpack_from("<H", superblock, 56)[0] == 0xEF53, f"{path} is no ext4 image"
        self.block_size = 1024 << struct.unpack_from("<I", superblock, 24)[0]
        self.first_block, = struct.unpack_from("<I", superblock, 20)
        self.inodes_per_group, = struct.unpack_from("<I", superblock, 40)
        self.inode_size, = struct.unpack_from("<H", superblock, 88)
        is_64bit = struct.unpack_from("<I", superblock, 96)[0] & 0x80
        self.descriptor_size = struct.unpack_from("<H", superblock, 254)[0] if is_64bit else 32

    def close(self):
        self.data.close()

    def block(self, number: int) -> bytes:
        return self.data[number * self.block_size:(number + 1) * self.block_size]

    def inode(self, number: int) -> bytes:
        group, index = divmod(number - 1, self.inodes_per_group)
        descriptor = (self.first_block + 1) * self.block_size + group * self.descriptor_size
        table, = struct.unpack_from("<I", self.data, descriptor + 8)
        start = table * self.block_size + index * self.inode_size
        return self.data[start:start + self.inode_size]

    def extents(self, node: bytes):
        """(logical block, length, physical block) of an extent node, whole tree."""
        magic, count, _, depth = struct.unpack_from("<4H", node)
        assert magic == 0xF30A, "an inode without extents"
        for index in range(count):
            logical, second, third = struct.unpack_from("<III", node, 12 + 12 * index)
            if depth:
                yield from self.extents(self.block(second | (third & 0xFFFF) << 32))
                continue
            length, high = second & 0xFFFF, second >> 16
            if length <= 32768:  # above: allocated and unwritten, reads as zeros
                yield logical, length, third | high << 32

    def content(self, inode: bytes) -> bytes:
        size = struct.unpack_from("<I", inode, 4)[0] | struct.unpack_from("<I", inode, 108)[0] << 32
        out = bytearray(size)
        for logical, length, physical in self.extents(inode[40:100]):
            start, end = logical * self.block_size, min(size, (logical + length) * self.block_size)
            if end > start:
                out[start:end] = self.data[physical * self.block_size:physical * self.block_size + end - start]
        return bytes(out)

    def names(self, inode: bytes):
        """(name, inode number) of a folder; a hash tree's inner blocks look like one empty entry each."""
        data = self.content(inode)
        for start in range(0, len(data), self.block_size):
            offset = start
            while offset < start + self.block_size:
                number, length, name_length = struct.unpack_from("<IHB", data, offset)
                name = data[offset + 8:offset + 8 + name_length]
                if number and name not in (b".", b".."):
                    yield name, number
                assert length >= 8, "a folder entry without length"
                offset += length

    def xattrs(self, inode: bytes) -> dict:
        found = {}
        extra, = struct.unpack_from("<H", inode, 128)
        body = 128 + extra
        if body + 4 <= len(inode) and struct.unpack_from("<I", inode, body)[0] == XATTR_MAGIC:
            found.update(parse_xattrs(inode, body + 4, body + 4))
        acl = struct.unpack_from("<I", inode, 104)[0]
        if acl:
            block = self.block(acl)
            assert struct.unpack_from("<I", block)[0] == XATTR_MAGIC
            found.update(parse_xattrs(block, 32, 0))
        return found

    def describe(self, number: int) -> dict:
        """What of an inode a comparison looks at."""
        inode = self.inode(number)
        mode, uid_low, _, atime, _, mtime, _, gid_low, links = struct.unpack_from("<HHIIIIIHH", inode)
        uid_high, gid_high = struct.unpack_from("<HH", inode, 120)
        extra_mtime = struct.unpack_from("<I", inode, 136)[0] if self.inode_size > 128 else 0
        seconds = (mtime ^ 0x80000000) - 0x80000000 + ((extra_mtime & 3) << 32)
        node = {"inode": number, "mode": mode, "uid": uid_low | uid_high << 16, "gid": gid_low | gid_high << 16,
                "links": links, "mtime": seconds, "xattrs": self.xattrs(inode)}
        if stat.S_ISREG(mode):
            node["content"] = self.content(inode)
        elif stat.S_ISLNK(mode):
            size, = struct.unpack_from("<I", inode, 4)
            node["target"] = inode[40:40 + size] if size < 60 else self.content(inode)
        elif stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
            old, new = struct.unpack_from("<II", inode, 40)
            node["device"] = (old >> 8 & 0xFF, old & 0xFF) if old else (new >> 8 & 0xFFF, new & 0xFF | new >> 12 & 0xFFF00)
        return node

    def tree(self) -> dict:
        """{path (bytes, without a slash in front): description}; the root is b""."""
        found, waiting = {}, [(b"", 2)]
        while waiting:
            path, number = waiting.pop()
            found[path] = node = self.describe(number)
            if stat.S_ISDIR(node["mode"]):
                for name, child in self.names(self.inode(number)):
                    waiting.append((path + b"/" + name if path else name, child))
        return found


def parse_xattrs(data: bytes, offset: int, values: int) -> dict:
    """The entries from `offset` on; their values stand at offsets from `values`."""
    found = {}
    while data[offset:offset + 4] != bytes(4) and offset + 16 <= len(data):
        length, index, value_offset, _, size, _ = struct.unpack_from("<BBHIII", data, offset)
        name = XATTR_PREFIX[index] + data[offset + 16:offset + 16 + length]
        found[name] = data[values + value_offset:values + value_offset + size]
        offset += 16 + (length + 3 & ~3)
    return found
