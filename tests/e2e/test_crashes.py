"""SIGTERM and SIGKILL of the daemon in each stage of both pipelines: the next start finds and leaves nothing half-made."""
import os
import signal
import sqlite3
import threading
import unittest

from harness import Case, image_layout, until
from hostile_registry import HostileRegistry, Stall
from leaks import idle_leaks
from make_default_image import CONFIG
from oci_layout import LayerTar, OciLayout
from stand_ins import add_many_files, add_repeated, odd_guest, stand_in_vmm

BOTH = (signal.SIGTERM, signal.SIGKILL)


class Crashes(Case):
    images = ()
    plain_flags = ("--api.drain_sec=1",)
    flags = plain_flags

    def setUp(self):
        super().setUp()
        self.busybox_layout = image_layout("library/busybox:latest")

    def restart(self, flags=plain_flags, path=os.environ["PATH"]):
        self.daemon.flags, self.daemon.path = flags, path
        self.daemon.start()
        self.client = self.daemon.client

    def restart_with(self, **how):
        """For the test's length."""
        self.daemon.end()
        self.restart(**how)

        def back():
            self.daemon.end()
            self.restart()
        self.addCleanup(back)

    def ends_and_starts_clean(self, number, release=lambda: None):
        """The daemon, in the midst of something, gets the signal; a new one has cleaned up once it is ready."""
        daemon = self.daemon
        daemon.child.process.send_signal(number)
        release()
        self.assertEqual(daemon.child.process.wait(90), 0 if number == signal.SIGTERM else -number, daemon.tail())
        self.restart(daemon.flags, daemon.path)
        until("nothing half-made is left", lambda: not idle_leaks(daemon) or None, 20)
        for sandbox in self.client.want(200, "GET", "/sandboxes")["items"]:
            self.assertEqual(sandbox["status"], "failed")
            self.assertTrue(sandbox["reason"])
        self.assertEqual(self.client.running_stages("boot") + self.client.running_stages("warmup"), [])

    def layout(self, name, *layers):
        """An image of busybox' layer and the layers that the functions add."""
        layout = OciLayout(self.folder / f"{name}-{self.id()}")
        layout.add_image("latest", [add(layout) for add in layers], CONFIG)
        layout.finish()
        return layout.folder


class WarmupStages(Crashes):
    def reached(self, image, stage):
        """A warmup that is in that stage."""
        self.client.want(202, "POST", "/templates/warmup", {"name": "victim", "image": image, "snapshot": False})
        until(f"{stage} runs", lambda: stage in self.client.running_stages("warmup"), step=0.002)

    def in_stage(self, stage, image, release=lambda: None):
        for number in BOTH:
            with self.subTest(f"{signal.Signals(number).name} in {stage}"):
                self.reached(image, stage)
                self.ends_and_starts_clean(number, release)
                self.client.call("DELETE", "/templates/victim")
        self.client.ready("after", f"oci:{self.busybox_layout}:latest", force=True)

    def stalling(self, kind):
        """An image of a registry that stops in the middle of its answer."""
        layer = LayerTar()
        layer.file("noise", os.urandom(1 << 20))
        registry = HostileRegistry(self.layout("stalling", lambda layout: layout.add_layer(layer.end())))
        stall = registry.faults[kind] = Stall()
        self.addCleanup(registry.end)
        self.addCleanup(stall.release)
        return registry, stall

    def test_in_resolve(self):
        registry, _ = self.stalling("manifest")
        self.in_stage("resolve", f"{registry.address}/x:latest")

    def test_in_pull(self):
        registry, stall = self.stalling("layer")
        for number in BOTH:
            with self.subTest(signal.Signals(number).name):
                self.reached(f"{registry.address}/x:latest", "pull")
                stall.reached.wait(30)
                self.ends_and_starts_clean(number)
                self.client.call("DELETE", "/templates/victim")
        stall.release()
        self.client.ready("victim", f"{registry.address}/x:latest")

    def test_in_extract(self):
        # 8 GiB to inflate and to hash, of which little is written.
        piece = os.urandom(5000) + bytes((1 << 20) - 5000)
        image = self.layout("slow", lambda layout: add_repeated(layout, piece, 8 << 10))
        self.in_stage("extract", f"oci:{image}:latest")

    def test_in_build(self):
        image = self.layout("many", lambda layout: add_many_files(layout, 400_000))
        self.in_stage("build", f"oci:{image}:latest")

    def test_in_publish(self):
        for number in BOTH:
            with self.subTest(signal.Signals(number).name):
                registry, stall = self.stalling("layer")
                self.reached(f"{registry.address}/x:latest", "pull")
                stall.reached.wait(30)
                store = sqlite3.connect(self.daemon.data / "control.db", isolation_level=None)
                store.execute("BEGIN IMMEDIATE")
                stall.release()
                until("publish runs", lambda: "publish" in self.client.running_stages("warmup"))
                self.ends_and_starts_clean(number, store.close)
                self.client.call("DELETE", "/templates/victim")


class BootStages(Crashes):
    def begin(self, stage, template):
        """A create that is in that stage; its answer does not matter."""
        def create(client):
            try:
                client.call("POST", "/sandboxes", {"template": template})
            except OSError:
                pass
        thread = threading.Thread(target=create, args=(self.client,))
        thread.start()
        self.addCleanup(thread.join)
        until(f"{stage} runs", lambda: stage in self.client.running_stages("boot"), step=0.005)

    def in_stage(self, stage, release=lambda: None):
        template = f"in-{stage}"
        self.client.ready(template, f"oci:{self.busybox_layout}:latest")
        for number in BOTH:
            with self.subTest(f"{signal.Signals(number).name} in {stage}"):
                self.begin(stage, template)
                self.ends_and_starts_clean(number, release)
                self.daemon.remove_everything()

    def test_in_disk(self):
        self.client.ready("in-disk", f"oci:{self.busybox_layout}:latest")
        name = self.daemon.data / "oci-cache/rootfs/in-disk.ext4"
        root = name.resolve()
        kept = root.with_suffix(".kept")
        for number in BOTH:
            with self.subTest(signal.Signals(number).name):
                root.rename(kept)
                os.mkfifo(root)  # whoever opens the root waits for a writer
                self.begin("disk", "in-disk")

                def release():
                    os.close(os.open(root, os.O_RDWR))
                    kept.rename(root)
                self.ends_and_starts_clean(number, release)
                self.daemon.remove_everything()

    def test_in_vm(self):
        self.restart_with(path=f"{stand_in_vmm(self.folder)}:{os.environ['PATH']}")
        self.in_stage("vm")

    def test_in_handshake(self):
        self.restart_with(flags=(*self.plain_flags, f"--oci.init_binary={odd_guest(self.folder, 'SILENT')}"))
        self.in_stage("handshake")

    def test_in_configure(self):
        self.restart_with(flags=(*self.plain_flags, f"--oci.init_binary={odd_guest(self.folder, 'MUTE')}"))
        self.in_stage("configure")


if __name__ == "__main__":
    unittest.main()
