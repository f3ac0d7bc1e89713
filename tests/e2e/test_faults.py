"""The host's faults: a full disk, a kernel or a VMM that is missing or dies, a client that leaves."""
import http.client
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import unittest

from harness import BUILD, IMAGES, KERNEL, Case, Daemon, build_images, leaks, processes_of, until


class OwnDaemon(unittest.TestCase):
    """Each test has a daemon of its own, oddly set up."""

    def setUp(self):
        keeper = tempfile.TemporaryDirectory(prefix="nb-", dir="/tmp")
        self.addCleanup(keeper.cleanup)
        self.folder = pathlib.Path(keeper.name)
        self.folder.chmod(0o755)
        self.addCleanup(lambda: self.assertEqual(leaks(self.folder), []))
        self.busybox = f"oci:{build_images.build('library/busybox:latest', IMAGES)}:latest"

    def daemon(self, config="", **more):
        daemon = Daemon(self.folder, config, **more)
        self.addCleanup(daemon.end)
        return daemon

    def create_fails(self, daemon, *codes):
        daemon.client.ready("busybox", self.busybox)
        answer = daemon.client.call("POST", "/sandboxes", {"template": "busybox"})
        self.assertGreaterEqual(answer.status, 400, answer)
        self.assertIn(answer.json["code"], codes, answer)
        until("no VMM is left", lambda: not daemon.processes() or None, 10)
        return answer.json

    def test_a_missing_kernel_is_named(self):
        daemon = self.daemon()
        daemon.end()
        daemon.config.write_text(daemon.config.read_text().replace('kernel = "', 'kernel = "/nowhere'))
        daemon.start()
        self.assertIn("/nowhere", self.create_fails(daemon, "kernel_missing")["detail"])

    def test_a_guest_without_a_kernel_that_boots_is_given_up(self):
        broken = self.folder / "vmlinux"
        broken.write_bytes(b"\x7fELF" + bytes(4096))
        daemon = self.daemon()
        daemon.end()
        text = daemon.config.read_text()
        daemon.config.write_text(text.replace(text.split('kernel = "')[1].split('"')[0], str(broken)))
        daemon.start()
        self.create_fails(daemon, "vmm_failed", "kernel_missing", "guest_timeout", "guest_panicked")

    @unittest.skipUnless(os.geteuid() == 0, "mounting a tmpfs needs root")
    def test_a_full_disk_fails_the_warmup_and_leaves_no_part(self):
        data = self.folder / "data"
        data.mkdir()
        # Enough for the pinned VMM, too little for the root besides.
        mount = f"mount -t tmpfs -o size=170m,mode=755 tmpfs {data} && exec \"$@\""
        daemon = self.daemon("[agent]\nmin_free_mb = 0\n", prefix=["unshare", "-m", "sh", "-c", mount, "sh"])
        image = f"oci:{build_images.build('library/node:22-alpine', IMAGES)}:22-alpine"
        status = daemon.client.warm_up("full", image)
        self.assertEqual((status["status"], status["error"]["code"]), ("failed", "disk_full"), status)
        inside = f"/proc/{daemon.child.process.pid}/root{data}"
        parts = subprocess.run(["find", inside, "-path", "*/.tmp/*", "-type", "f"], capture_output=True, text=True).stdout
        self.assertEqual(parts, "")


class WithoutADaemon(unittest.TestCase):
    """The README's first command: `nanobox run` starts a server for itself and stops it when nothing is left."""

    def test_run_of_the_embedded_image_ends_its_own_server(self):
        with tempfile.TemporaryDirectory(prefix="nb-", dir="/tmp") as folder:
            os.chmod(folder, 0o755)
            env = {"PATH": os.environ["PATH"], "HOME": folder, "NANOBOX_DATA": f"{folder}/data",
                   "NANOBOX_FIRECRACKER_KERNEL": KERNEL}
            done = subprocess.run([BUILD / "bin/nanobox", "run", "busybox", "--", "uname", "-s"], env=env, timeout=180,
                                  capture_output=True, text=True, stdin=subprocess.DEVNULL)
            self.assertEqual((done.returncode, done.stdout), (0, "Linux\n"), done.stderr)
            until("nothing of it runs", lambda: not processes_of(folder, but={os.getpid()}) or None, 30)
            self.assertEqual(leaks(pathlib.Path(folder)), [])


class LeavingClients(Case):
    def post_and_leave(self, path, body):
        connection = http.client.HTTPConnection(self.client.address)
        connection.request("POST", f"/api/v1{path}", json.dumps(body), {"Content-Type": "application/json"})
        connection.close()

    def test_one_that_leaves_in_mid_create_leaves_no_vm(self):
        template = self.busybox()
        for _ in range(3):
            self.post_and_leave("/sandboxes", {"template": template})
        until("no sandbox is in the making",
              lambda: not self.client.want(200, "GET", "/sandboxes?status=creating")["items"] or None, 60)

    def test_one_that_leaves_in_mid_warmup_does_not_stop_it(self):
        self.post_and_leave("/templates/warmup", {"name": "left", "image": self.image("library/busybox:latest"),
                                                  "snapshot": False})
        until("the template is there", lambda: self.client.call("GET", "/templates/left").status == 200)
        self.assertEqual(self.client.settled("left")["status"], "ready")


class CommandLine(Case):
    def test_run_streams_and_exits_with_the_commands_code(self):
        done = self.daemon.cli("run", self.image("library/busybox:latest"), "--", "sh", "-c", "echo out; echo err >&2; exit 7")
        self.assertEqual((done.returncode, done.stdout), (7, "out\n"), done.stderr)
        self.assertIn("err\n", done.stderr)
        self.assertEqual(self.client.want(200, "GET", "/sandboxes")["items"], [])

    def test_the_commands_for_one_sandbox(self):
        self.busybox()
        created = json.loads(self.daemon.cli("create", "busybox", "--json").stdout)
        self.assertIn(created["id"], self.daemon.cli("ps").stdout)
        self.assertEqual(self.daemon.cli("exec", created["id"], "--", "echo", "hi").stdout, "hi\n")
        self.assertIn("NANOBOX_READY", self.daemon.cli("logs", created["id"]).stdout)
        self.assertEqual(self.daemon.cli("rm", created["id"]).returncode, 0)
        self.assertIn("busybox", self.daemon.cli("templates").stdout)

    def test_ctrl_c_ends_the_sandbox(self):
        env = {**self.daemon.environment(), "NANOBOX_SERVER": f"http://{self.client.address}"}
        run = subprocess.Popen([BUILD / "bin/nanobox", "run", self.image("library/busybox:latest"), "--", "sleep", "600"],
                               env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.addCleanup(run.stdout.close)
        until("its sandbox runs", lambda: self.client.want(200, "GET", "/sandboxes?status=running")["items"], 60)
        run.send_signal(signal.SIGINT)
        self.assertEqual(run.wait(30), 130)
        until("it is gone", lambda: not self.client.want(200, "GET", "/sandboxes")["items"] or None, 20)

    def test_an_image_that_is_not_there_is_told_plainly(self):
        done = self.daemon.cli("run", self.image("library/nothing:latest"), "--", "true")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("library/nothing", done.stderr)

    def test_doctor_tells_what_this_host_can_do(self):
        done = self.daemon.cli("doctor")
        self.assertIn("qemu", (done.stdout + done.stderr).lower())


if __name__ == "__main__":
    unittest.main()
