"""From a registry's image to a command's output, for every image; and what a warmup tells about itself."""
import json
import unittest

import own_network
from harness import Case, image_layout

ALL = ("library/busybox:latest", "library/busybox-zstd:latest", "library/busybox-plain:latest", "library/debian:bookworm-slim",
       "library/node:22-alpine", "library/nasty:latest")


class FromImageToOutput(Case):
    images = ALL

    def run_in(self, image, command, *args):
        name = image.rpartition("/")[2].replace(":", "-")
        self.client.ready(name, self.image(image))
        sandbox = self.client.create(name)
        self.assertEqual(sandbox["status"], "running")
        self.assertEqual(sandbox["boot_path"], "cold")
        self.assertGreater(sandbox["boot_time_ms"], 0)
        self.assertEqual(sandbox["ip"] is None, own_network.machine is None)
        outcome = self.client.exec(sandbox["id"], command, *args)
        self.assertEqual(self.client.call("DELETE", f"/sandboxes/{sandbox['id']}").status, 204)
        self.assertEqual(self.client.call("GET", f"/sandboxes/{sandbox['id']}").status, 404)
        self.assertEqual((outcome["exit_code"], outcome["stderr"]), (0, ""), outcome)
        return outcome["stdout"]

    def test_busybox_with_each_compression_keeps_its_300_links(self):
        for image in ALL[:3]:
            with self.subTest(image):
                links = self.run_in(image, "sh", "-c", "find / -xdev -type l | wc -l")
                self.assertGreater(int(links), 300)

    def test_debian_runs_its_own_dpkg(self):
        out = self.run_in("library/debian:bookworm-slim", "dpkg-query", "-W", "-f", "${Status}", "base-files")
        self.assertEqual(out, "install ok installed")

    def test_node_computes_and_finds_npm_and_yarn(self):
        out = self.run_in("library/node:22-alpine", "node", "-e", "console.log(6*7, process.env.NODE_VERSION)")
        self.assertEqual(out, "42 22.23.3\n")
        out = self.run_in("library/node:22-alpine", "sh", "-c", "for name in npm yarn; do readlink -f $(which $name); done")
        self.assertEqual(out.split(), ["/usr/local/lib/node_modules/npm/bin/npm-cli.js", "/opt/yarn-v1.22.22/bin/yarn"])

    def test_the_nasty_image_boots_in_its_own_working_folder(self):
        out = self.run_in("library/nasty:latest", "sh", "-c", 'pwd; cat through_a_link; printf "%s" "$ODD"')
        self.assertEqual(out, "/keep\nlands in /keep\na 'quoted' \"value\" $HOME")


class Warmups(Case):
    def test_the_second_warmup_has_nothing_to_do(self):
        image = self.image("library/busybox:latest")
        self.client.ready("again", image)
        answer = self.client.call("POST", "/templates/warmup", {"name": "again", "image": image, "snapshot": False})
        self.assertEqual((answer.status, answer.json["status"]), (200, "ready"), answer)

    def test_another_name_for_the_same_image_downloads_no_blob(self):
        image = self.image("library/busybox:latest")
        self.client.ready("first", image)
        blobs = {path: path.stat().st_mtime_ns for path in (self.daemon.data / "oci-cache/blobs/sha256").iterdir()}
        roots = {path: path.stat().st_mtime_ns for path in (self.daemon.data / "oci-cache/rootfs").glob("*.ext4")
                 if not path.is_symlink()}
        self.client.ready("second", image)
        for path, time in {**blobs, **roots}.items():
            self.assertEqual(path.stat().st_mtime_ns, time, path)

    def test_status_tells_the_stages_in_order_with_bytes_and_durations(self):
        status = self.client.ready("stages", self.image("library/busybox:latest"), force=True)
        names = [stage["name"] for stage in status["stages"]]
        self.assertEqual(names[:5], ["resolve", "pull", "extract", "build", "publish"])
        for stage in status["stages"][:5]:
            self.assertIn(stage["status"], ("succeeded", "skipped"), stage)
            self.assertGreaterEqual(stage["attempts"], 1)
            self.assertGreaterEqual(stage["duration_ms"], 0)
        self.assertIsNone(status["error"])

    def test_the_status_stream_ends_with_ready(self):
        self.client.call("POST", "/templates/warmup", {"name": "watched", "image": self.image("library/busybox:latest"),
                                                       "snapshot": False, "force": True})
        stream = self.client.call("GET", "/templates/watched/status?watch=1", headers={"Accept": "text/event-stream"})
        self.assertEqual(stream.headers.get_content_type(), "text/event-stream")
        told = [json.loads(line.partition(b":")[2]) for line in stream.body.splitlines() if line.startswith(b"data:")]
        self.assertEqual(told[-1]["status"], "ready")
        self.assertTrue(all(status["name"] == "watched" for status in told))

    def test_the_template_shows_what_the_image_says(self):
        self.client.ready("shown", self.image("library/busybox:latest"))
        template = self.client.want(200, "GET", "/templates/shown")
        self.assertEqual(template["digest"], self.registry.digests["library/busybox:latest"])
        self.assertEqual(template["config"]["cmd"], ["sh"])
        self.assertEqual(template["status"], "ready")
        self.assertIn("shown", [item["name"] for item in self.client.want(200, "GET", "/templates")["items"]])

    def test_two_warmups_of_one_digest_at_once_make_one_root(self):
        image = self.image("library/busybox:latest")
        for name in ("left", "right"):
            self.client.call("POST", "/templates/warmup", {"name": name, "image": image, "snapshot": False, "force": True})
        for name in ("left", "right"):
            self.assertEqual(self.client.settled(name)["status"], "ready")
        digests = {self.client.want(200, "GET", f"/templates/{name}")["digest"] for name in ("left", "right")}
        self.assertEqual(len(digests), 1)

    def test_a_template_in_use_is_not_deleted_unless_forced(self):
        self.client.ready("used", self.image("library/busybox:latest"))
        sandbox = self.sandbox("used")
        self.problem(self.client.call("DELETE", "/templates/used"), 409, "template_in_use")
        self.assertEqual(self.client.call("DELETE", "/templates/used?force=1").status, 204)
        self.assertEqual(self.client.exec(sandbox, "echo", "still here")["stdout"], "still here\n")
        self.problem(self.client.call("GET", "/templates/used"), 404, "template_not_found")

    def test_an_oci_layout_and_a_forbidden_folder(self):
        layout = image_layout("library/busybox:latest")
        self.client.ready("layout", f"oci:{layout}:latest")
        answer = self.client.call("POST", "/templates/warmup", {"name": "x", "image": "oci:/etc"})
        self.assertIn(answer.status, (403, 422), answer)
        self.assertEqual(answer.json["code"], "image_source_forbidden")

    def test_a_run_shows_what_its_pipeline_promises(self):
        status = self.client.ready("recorded", self.image("library/busybox:latest"), force=True)
        pipelines = {pipeline["name"]: pipeline for pipeline in self.client.want(200, "GET", "/pipelines")["items"]}
        run = self.client.want(200, "GET", f"/pipelines/runs/{status['operation_id']}")
        self.assertEqual(run["status"], "succeeded")
        self.assertEqual([stage["name"] for stage in run["stages"]],
                         [stage["name"] for stage in pipelines["warmup"]["stages"]])
        self.assertEqual([stage["name"] for stage in pipelines["boot"]["stages"]],
                         ["place", "address", "network", "disk", "vm", "handshake", "configure"])
        runs = self.client.want(200, "GET", "/pipelines/runs?kind=warmup")["items"]
        self.assertIn(status["operation_id"], [item["id"] for item in runs])


if __name__ == "__main__":
    unittest.main()
