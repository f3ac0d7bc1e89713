"""Debian roots for the package's tests: made by mmdebstrap once, kept below ~/.cache/nanobox by what is in them."""
import hashlib
import os
import pathlib
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CACHE = pathlib.Path(os.environ.get("NANOBOX_CACHE", pathlib.Path.home() / ".cache/nanobox")) / "debian-roots"
SUITE = "bookworm"
# What a machine has before anything of ours is there: systemd as its init.
CLEAN = ("systemd", "systemd-sysv")


def tools():
    """The packages of [package] in deploy/packages.txt: what the package is looked at with."""
    lines = (ROOT / "deploy/packages.txt").read_text().split("[package]\n")[1].splitlines()
    return tuple(line for line in lines if line and not line.startswith(("#", "[")))


def tar_of(packages) -> pathlib.Path:
    wanted = " ".join([SUITE, *packages])
    tar = CACHE / f"{hashlib.sha256(wanted.encode()).hexdigest()[:16]}.tar"
    if not tar.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        half = tar.with_suffix(f".{os.getpid()}.tar")
        subprocess.run(["mmdebstrap", "--variant=minbase", "--quiet", f"--include={','.join(packages)}", SUITE, half],
                       check=True)
        half.rename(tar)
    return tar


def unpack(packages, folder: pathlib.Path) -> pathlib.Path:
    folder.mkdir()
    subprocess.run(["tar", "-xf", tar_of(packages), "-C", folder], check=True)
    return folder
