"""Images that are no registry's: layouts and archives on the host, from file to a command's output."""
import json
import unittest

from docker_archive import save
from harness import Case, image_layout
from make_default_image import CONFIG
from oci_layout import INDEX_TYPE, LayerTar, OciLayout


class LocalImages(Case):
    images = ()

    def setUp(self):
        super().setUp()
        self.layout = image_layout("library/busybox:latest")

    def first_line(self, image, path="/etc/passwd"):
        """The first line of a file inside a sandbox of `image`."""
        name = self.id().rpartition(".")[2].replace("_", "-")
        self.client.ready(name, image)
        outcome = self.client.exec(self.client.create(name)["id"], "head", "-n1", path)
        self.assertEqual(outcome["exit_code"], 0, outcome)
        return outcome["stdout"].strip()

    def test_a_layout(self):
        self.assertIn("root", self.first_line(f"oci:{self.layout}:latest"))
        self.assertIn("root", self.first_line(f"oci:{self.layout}"))

    def test_a_layout_of_an_index_takes_its_platform(self):
        layout = OciLayout(self.folder / "index")
        busybox = {"descriptor": self.copied_layer(layout), "diff_id": self.diff_ids()[0]}
        for architecture in ("arm64", "amd64", "riscv64"):
            layer = LayerTar()
            layer.file("etc/built-for", architecture + "\n")
            layout.add_image("latest", [busybox, layout.add_layer(layer.end())], CONFIG, architecture=architecture)
        platforms = [{**{key: value for key, value in manifest.items() if key != "annotations"},
                      "platform": {"os": "linux", "architecture": architecture}}
                     for manifest, architecture in zip(layout.manifests, ("arm64", "amd64", "riscv64"))]
        index = layout.add_blob(json.dumps({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": platforms}).encode(),
                                INDEX_TYPE)
        layout.manifests = [{**index, "annotations": {"org.opencontainers.image.ref.name": "latest"}}]
        layout.finish()
        self.assertEqual(self.first_line(f"oci:{layout.folder}:latest", "/etc/built-for"), "amd64")

    def test_an_archive_with_plain_layers(self):
        archive = self.folder / "plain.tar"
        save(self.layout, archive, "busybox:1.35", "busybox:latest", plain_layers=True)
        self.assertIn("root", self.first_line(f"docker-archive:{archive}"))
        self.assertIn("root", self.first_line(f"docker-archive:{archive}:1.35"))

    def test_an_archive_that_is_compressed_itself(self):
        archive = self.folder / "packed.tar.gz"
        save(self.layout, archive, "busybox:latest")
        self.assertIn("root", self.first_line(f"docker-archive:{archive}"))

    def test_an_archive_without_that_tag_or_that_is_none(self):
        archive = self.folder / "tagged.tar"
        save(self.layout, archive, "busybox:latest")
        self.fails(f"docker-archive:{archive}:missing", "image_not_found")
        (self.folder / "none.tar").write_bytes(b"no tar" * 1000)
        self.fails(f"docker-archive:{self.folder}/none.tar", "manifest_invalid", "layer_invalid")
        self.fails(f"docker-archive:{self.folder}/missing.tar", "image_not_found")
        self.fails(f"oci:{self.folder}/missing", "image_not_found")

    def test_a_link_that_leads_out_of_the_allowed_folders(self):
        (self.folder / "out").symlink_to("/etc")
        answer = self.client.call("POST", "/templates/warmup", {"name": "out", "image": f"oci:{self.folder}/out"})
        if answer.status == 202:
            self.assertEqual(self.client.settled("out")["error"]["code"], "image_source_forbidden")
        else:
            self.problem(answer, 403, "image_source_forbidden")

    def fails(self, image, *codes):
        """Refused at once or later, with one of `codes`."""
        answer = self.client.call("POST", "/templates/warmup", {"name": "bad", "image": image, "snapshot": False})
        error = self.client.settled("bad")["error"] if answer.status == 202 else answer.json
        self.client.call("DELETE", "/templates/bad")
        self.assertIn(error["code"], codes, error)
        self.assertTrue(error["detail"])

    def copied_layer(self, layout):
        source = self.manifest()["layers"][0]
        return layout.add_blob(self.blob(source["digest"]), source["mediaType"])

    def diff_ids(self):
        return json.loads(self.blob(self.manifest()["config"]["digest"]))["rootfs"]["diff_ids"]

    def manifest(self):
        return json.loads(self.blob(json.loads((self.layout / "index.json").read_bytes())["manifests"][0]["digest"]))

    def blob(self, digest):
        return (self.layout / "blobs" / digest.replace(":", "/")).read_bytes()


if __name__ == "__main__":
    unittest.main()
