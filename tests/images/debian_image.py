"""The Debian test image: bookworm's minbase by mmdebstrap, one layer; needs Debian's mirror the first time."""
import pathlib
import subprocess
import tempfile

from make_default_image import PATH

MIRROR = "http://deb.debian.org/debian"


def make(layout):
    with tempfile.TemporaryDirectory() as folder:
        tar = pathlib.Path(folder) / "debian.tar"
        subprocess.run(["mmdebstrap", "--variant=minbase", "--mode=auto", "--quiet", "bookworm", str(tar), MIRROR], check=True)
        layout.add_image("bookworm-slim", [layout.add_layer(tar)], {"Env": [f"PATH={PATH}"], "Cmd": ["bash"]})
