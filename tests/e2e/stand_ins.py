"""Programs and layers that play a part in faults: VMMs that stall or die, guests that never answer, layers that take long."""
import hashlib
import pathlib
import shutil
import subprocess
import zlib

from harness import HERE, ROOT

GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"


def stand_in_vmm(folder: pathlib.Path, *behaviour: str) -> str:
    """A folder to put first in PATH: its QEMU runs probes and fails sandboxes."""
    prefix = folder / "-".join(["vmm", *behaviour]).lower()
    (prefix / "bin").mkdir(parents=True)
    (prefix / "share").mkdir()
    real = shutil.which("qemu-system-x86_64")
    for name in ("qemu", "seabios"):
        (prefix / "share" / name).symlink_to(pathlib.Path(real).parent.parent / "share" / name)
    subprocess.run(["gcc", "-O1", f'-DREAL="{real}"', *(f"-D{each}" for each in behaviour), "-o",
                    prefix / "bin/qemu-system-x86_64", HERE / "stand_in_vmm.c"], check=True)
    return str(prefix / "bin")


def odd_guest(folder: pathlib.Path, behaviour: str) -> pathlib.Path:
    """An init for [oci] init_binary: SILENT, PANICS, MUTE, HASTY or HOSTILE."""
    program = folder / f"init-{behaviour.lower()}"
    subprocess.run(["gcc", "-O1", "-static", "-Wall", "-Wno-unused-function", f"-I{ROOT}", f"-D{behaviour}", "-o", program, HERE / "odd_guest.c"], check=True)
    return program


def header(name: bytes, size=0) -> bytearray:
    """A tar header of a plain file."""
    block = bytearray(512)
    block[:len(name)] = name
    octal = b"%011o\0" % size if size < 8 << 30 else b"%012o" % size
    block[100:156] = b"0000644\0" b"0000000\0" b"0000000\0" + octal + b"14524200000\0" b"        "
    block[156:157] = b"0"
    block[257:265] = b"ustar\0" b"00"
    block[148:156] = b"%06o\0 " % sum(block)
    return block


def add_many_files(layout, count: int) -> dict:
    """A layer of that many empty files, 10,000 a folder. Only name and checksum differ from header to header."""
    packer, digest, out = zlib.compressobj(1, zlib.DEFLATED, 31), hashlib.sha256(), []
    block = header(b"many/000/0000000")
    base = sum(block) - sum(block[5:16]) - sum(block[148:156]) + 8 * ord(" ")
    for number in range(count):
        name = b"%03d/%07d" % (number // 10_000, number)
        block[5:16] = name
        block[148:154] = b"%06o" % (base + sum(name))
        digest.update(block)
        out.append(packer.compress(block))
    digest.update(bytes(1024))
    packed = b"".join([*out, packer.compress(bytes(1024)), packer.flush()])
    return {"descriptor": layout.add_blob(packed, GZIP), "diff_id": "sha256:" + digest.hexdigest()}


def add_repeated(layout, piece: bytes, times: int) -> dict:
    """A layer of one file, `piece` again and again, compressed once: each repetition is the same bytes of deflate. Its
    checksum and its diff_id are wrong, so it fails at its end if not before."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    begin = packer.compress(header(b"repeated", len(piece) * times)) + packer.flush(zlib.Z_FULL_FLUSH)
    once = packer.compress(piece) + packer.flush(zlib.Z_FULL_FLUSH)
    end = packer.compress(bytes(1024)) + packer.flush()
    packed = b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + begin + once * times + end + bytes(8)
    return {"descriptor": layout.add_blob(packed, GZIP), "diff_id": "sha256:" + "0" * 64}
