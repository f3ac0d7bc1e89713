"""Registries and images that are wrong: each warmup fails with a code that says what, and leaves nothing behind."""
import json
import pathlib
import unittest

from harness import Case, free_port
from hostile_registry import HostileRegistry, cut, huge, no_json, other_bytes, send, send_range, status
from make_default_image import CONFIG
from oci_layout import INDEX_TYPE, LayerTar, OciLayout
from stand_ins import add_many_files, add_repeated


class BadRegistries(Case):
    def setUp(self):
        super().setUp()
        # An image of its own for each test: what one test pulled is cached for the next.
        layer = LayerTar()
        layer.file("made/for", self.id())
        layout = OciLayout(self.folder / self.id())
        layout.add_image("latest", [layout.add_layer(layer.end())], CONFIG)
        layout.finish()
        self.hostile = HostileRegistry(layout.folder)
        self.addCleanup(self.hostile.end)

    def fails(self, image, *codes, **more):
        """The error of a warmup that must fail with one of `codes`; afterwards the name is no usable template."""
        outcome = self.client.warm_up("bad", image, force=True, **more)
        self.addCleanup(self.client.call, "DELETE", "/templates/bad")
        self.assertEqual(outcome["status"], "failed", outcome)
        self.assertIn(outcome["error"]["code"], codes, outcome["error"])
        self.assertTrue(outcome["error"]["detail"])
        answer = self.client.call("POST", "/sandboxes", {"template": "bad"})
        self.assertIn(answer.status, (404, 409), answer)
        return outcome["error"]

    def test_an_unknown_image_and_a_wrong_tag(self):
        self.fails(self.image("library/no-such-image:latest"), "image_not_found")
        self.fails(self.image("library/busybox:no-such-tag"), "image_not_found")

    def test_a_registry_that_is_down(self):
        error = self.fails(f"127.0.0.1:{free_port()}/library/busybox:latest", "registry_unreachable")
        self.assertIn("127.0.0.1", error["detail"])

    def test_statuses_of_a_registry(self):
        for code, name in ((401, "registry_unauthorized"), (403, "registry_forbidden"), (404, "image_not_found"),
                           (500, "registry_failed")):
            with self.subTest(code):
                headers = {"WWW_Authenticate": 'Basic realm="x"'} if code == 401 else {}
                self.hostile.faults = {"manifest": status(code, **headers)}
                self.fails(f"{self.hostile.address}/x:latest", name)

    def test_429_is_tried_again_after_what_it_says(self):
        answers = [status(429, Retry_After="1"), None]

        def limited(handler, body):
            fault = answers.pop(0) if answers else None
            fault(handler, body) if fault else send(handler, 200, body, {"Content-Type": self.hostile.manifest["mediaType"]})
        self.hostile.faults = {"manifest": limited}
        self.client.ready("limited", f"{self.hostile.address}/x:latest")

    def test_429_without_an_end_tells_when_to_try_again(self):
        self.hostile.faults = {"manifest": status(429, Retry_After="1")}
        error = self.fails(f"{self.hostile.address}/x:latest", "registry_rate_limited")
        self.assertIn("1 s", error["detail"])

    def test_an_index_without_our_platform(self):
        foreign = [{**self.hostile.manifest, "platform": {"os": "linux", "architecture": name}} for name in ("arm64", "s390x")]
        index = json.dumps({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": foreign}).encode()
        self.hostile.faults = {"manifest": lambda handler, _: send(handler, 200, index, {"Content-Type": INDEX_TYPE})}
        self.assertIn("linux/amd64", self.fails(f"{self.hostile.address}/x:latest", "platform_not_found")["detail"])

    def test_manifests_that_are_none(self):
        for fault in (no_json, huge):
            with self.subTest(fault.__name__):
                self.hostile.faults = {"manifest": fault}
                self.fails(f"{self.hostile.address}/x:latest", "manifest_invalid")

    def test_a_layer_with_other_bytes(self):
        self.hostile.faults = {"layer": other_bytes}
        self.assertIn("sha256:", self.fails(f"{self.hostile.address}/y:latest", "digest_mismatch")["detail"])

    def test_a_layer_that_is_always_cut(self):
        self.hostile.faults = {"layer": cut}
        self.fails(f"{self.hostile.address}/z:latest", "blob_truncated", "registry_failed", "registry_unreachable")

    def test_a_layer_that_is_cut_once_is_gone_on_with_where_it_broke(self):
        faults = [cut]
        self.hostile.faults = {"layer": lambda handler, body: (faults.pop() if faults else send_range)(handler, body)}
        self.client.ready("cut", f"{self.hostile.address}/z:latest")
        layer = next(iter(self.hostile.layers))
        ranges = [range for _, path, range in self.hostile.requests if path.endswith(layer)]
        half = len(self.hostile.blob(layer)) // 2
        self.assertEqual(ranges, [None, f"bytes={half}-"])

    def test_a_name_that_is_none_is_refused_at_once(self):
        answer = self.client.call("POST", "/templates/warmup", {"name": "bad", "image": "UPPER CASE!"})
        self.problem(answer, 422, "image_name_invalid")
        answer = self.client.call("POST", "/templates/warmup", {"name": "No Name", "image": "busybox"})
        self.assertEqual(answer.status, 422)
        self.assertEqual(answer.json["errors"][0]["pointer"], "/name")


class BadLayers(Case):
    images = ()

    def layout(self, layer, **more):
        return self.layout_of(lambda layout: {**layout.add_layer(layer), **more})

    def layout_of(self, add_layer, **image):
        """An image of the one layer that `add_layer` adds to the layout."""
        layout = OciLayout(pathlib.Path(self.folder) / f"layout-{self.id().rpartition('.')[2]}")
        layout.add_image("latest", [add_layer(layout)], CONFIG, **image)
        layout.finish()
        return f"oci:{layout.folder}:latest"

    def fails(self, image, *codes):
        outcome = self.client.warm_up("bad", image)
        self.client.call("DELETE", "/templates/bad")
        self.assertEqual(outcome["status"], "failed", outcome)
        self.assertIn(outcome["error"]["code"], codes, outcome["error"])
        return outcome["error"]

    def test_a_wrong_diff_id(self):
        self.fails(self.layout(LayerTar().end(), diff_id="sha256:" + "0" * 64), "diff_id_mismatch")

    def test_a_layer_that_is_no_tar(self):
        self.fails(self.layout(b"this is no tar at all" * 1000), "layer_invalid")

    def test_no_entry_leaves_the_root(self):
        layer = LayerTar()
        layer.symlink("out", str(self.folder))
        layer.file("out/through-a-link", "escaped\n")
        layer.file(f"../../..{self.folder}/by-dots", "escaped\n")
        layer.file(f"{self.folder}/absolute", "escaped\n")
        layer.symlink("last", f"{self.folder}/written-through")
        layer.file("last", "escaped\n")
        self.client.warm_up("bad", self.layout(layer.end()))
        self.client.call("DELETE", "/templates/bad")
        for name in ("through-a-link", "by-dots", "absolute", "written-through"):
            self.assertFalse((self.folder / name).exists(), name)

    def test_a_hard_link_to_nothing(self):
        layer = LayerTar()
        layer.hard_link("link", "../../../etc/shadow")
        self.fails(self.layout(layer.end()), "layer_invalid")

    def test_10_gb_of_zeros_in_a_small_layer(self):
        self.fails(self.layout_of(lambda layout: add_repeated(layout, bytes(1 << 20), 10 << 10)), "layer_too_large")

    def test_a_million_entries(self):
        self.fails(self.layout_of(lambda layout: add_many_files(layout, 1_000_000)), "layer_too_large")

    def test_an_image_for_another_machine(self):
        image = self.layout_of(lambda layout: layout.add_layer(LayerTar().end()), architecture="arm64")
        error = self.fails(image, "platform_not_found")
        self.assertIn("amd64", error["detail"])


if __name__ == "__main__":
    unittest.main()
