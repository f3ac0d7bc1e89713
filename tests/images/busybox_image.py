"""The busybox test image: one layer whose 300+ symlinks must all survive."""
from make_default_image import CONFIG, busybox_layer

KEY_PACKAGES = ["busybox-static"]


def make(layout, compression="gzip"):
    layer = layout.add_layer(busybox_layer("/bin/busybox", also_in_bin=True), compression)
    layout.add_image("latest", [layer], CONFIG)
