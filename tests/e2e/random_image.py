"""An image as large as is asked for, of which nothing can be left out on the way."""
import os
import pathlib

from make_default_image import CONFIG, busybox_layer
from oci_layout import LayerTar, OciLayout


def random_image(folder: pathlib.Path, megabytes: int) -> str:
    """Its name for a warmup; `folder` is a new one in which it is made."""
    layout, layer = OciLayout(folder), LayerTar()
    layer.file("random", os.urandom(megabytes << 20))
    layers = [layout.add_layer(busybox_layer("/bin/busybox", also_in_bin=True)), layout.add_layer(layer.end(), "none")]
    layout.add_image("latest", layers, CONFIG)
    layout.finish()
    return f"oci:{folder}:latest"
