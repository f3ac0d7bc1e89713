"""The host's faults: a full disk, a kernel or a VMM that is missing or dies, a client that leaves."""
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import unittest

import contract
from harness import BUILD, KERNEL, Case, OwnDaemon, until, vmm
from leaks import files_below, processes_of, stopped_leaks
from make_default_image import CONFIG
from oci_layout import LayerTar, OciLayout
from stand_ins import add_many_files, odd_guest, stand_in_vmm
from websocket import Refused, WebSocket


class BadHosts(OwnDaemon):
    def create_fails(self, daemon, *codes):
        daemon.client.ready("busybox", self.busybox)
        answer = daemon.client.call("POST", "/sandboxes", {"template": "busybox"})
        self.assertGreaterEqual(answer.status, 400, answer)
        self.assertIn(answer.json["code"], codes, answer)
        daemon.settle()
        return answer.json

    def test_auto_takes_a_vmm_that_works_here(self):
        daemon = self.daemon(flags=["--agent.vmm=auto"])
        daemon.client.ready("busybox", self.busybox)
        self.assertEqual(daemon.client.create("busybox")["vmm"], vmm())

    def test_a_missing_kernel_is_named(self):
        daemon = self.daemon(kernel="/nowhere/vmlinux")
        self.assertIn("/nowhere/vmlinux", self.create_fails(daemon, "kernel_missing")["detail"])

    def test_a_guest_without_a_kernel_that_boots_is_given_up(self):
        broken = self.folder / "vmlinux"
        broken.write_bytes(b"\x7fELF" + bytes(4096))
        daemon = self.daemon(kernel=broken)
        self.create_fails(daemon, "vmm_failed", "kernel_missing", "guest_timeout", "guest_panicked")

    def test_a_missing_vmm_is_named_with_its_package(self):
        empty = self.folder / "empty"
        empty.mkdir()
        daemon = self.daemon(path=str(empty), started="/healthz")
        unready = daemon.client.call("GET", "/readyz")
        self.assertEqual((unready.status, unready.json["code"]), (503, "not_ready"))
        for problem in unready.json, self.create_fails(daemon, "vmm_missing", "host_unsuitable"):
            self.assertIn("qemu-system-x86", problem["detail"])

    def test_a_vmm_that_dies_at_its_start_is_quoted(self):
        path = f"{stand_in_vmm(self.folder, 'DIES')}:{os.environ['PATH']}"
        detail = self.create_fails(self.daemon(path=path), "vmm_failed")["detail"]
        self.assertIn("the stand-in does not want to start", detail)
        self.assertIn("3", detail)

    def test_a_guest_that_panics_at_boot(self):
        daemon = self.daemon(flags=[f"--oci.init_binary={odd_guest(self.folder, 'PANICS')}"])
        self.assertIn("Kernel panic", self.create_fails(daemon, "guest_panicked")["detail"])

    def test_a_guest_that_never_gets_ready(self):
        daemon = self.daemon(flags=[f"--oci.init_binary={odd_guest(self.folder, 'SILENT')}"])
        self.assertIn("an odd guest", self.create_fails(daemon, "guest_timeout")["detail"])

    def test_a_guest_that_does_not_answer_configure(self):
        daemon = self.daemon(flags=[f"--oci.init_binary={odd_guest(self.folder, 'MUTE')}"])
        self.create_fails(daemon, "guest_timeout", "deadline_exceeded")

    def test_a_guest_that_answers_before_it_has_opened_a_stream(self):
        daemon = self.daemon(flags=[f"--oci.init_binary={odd_guest(self.folder, 'HASTY')}"])
        daemon.client.ready("busybox", self.busybox)
        sandbox = daemon.client.create("busybox")["id"]
        for path in ("terminal", "tcp/80"):
            with self.assertRaises(Refused) as refused:
                WebSocket(daemon.client.address, f"/api/v1/sandboxes/{sandbox}/{path}")
            self.assertEqual(json.loads(refused.exception.body)["code"], "guest_protocol")
        self.assertEqual(daemon.client.call("GET", f"/sandboxes/{sandbox}/ports/80/").status, 502)
        self.assertEqual(daemon.client.want(200, "GET", f"/sandboxes/{sandbox}")["status"], "running")


@unittest.skipUnless(os.geteuid() == 0, "mounting a tmpfs needs root")
class FullDisks(OwnDaemon):
    """The cache is a tmpfs in the daemon's own mount namespace, too small for one stage or another."""

    def fills(self, stage, size_mb, add_layer):
        layout = OciLayout(self.folder / "layout")
        layout.add_image("latest", [add_layer(layout)], CONFIG)
        layout.finish()
        cache = self.folder / "data" / "oci-cache"
        cache.mkdir(parents=True)
        mount = f"mount -t tmpfs -o size={size_mb}m,mode=755 tmpfs {cache} && exec \"$@\""
        daemon = self.daemon("[agent]\nmin_free_mb = 0\n", prefix=["unshare", "-m", "sh", "-c", mount, "sh"])
        status = daemon.client.warm_up("full", f"oci:{layout.folder}:latest")
        self.assertEqual((status["status"], status["error"]["code"]), ("failed", "disk_full"), status)
        self.assertIn(str(cache), status["error"]["detail"])
        self.assertIn(stage, [each["name"] for each in status["stages"] if each["status"] == "failed"])
        daemon.settle()
        self.assertEqual(files_below(daemon.seen_data() / "oci-cache/rootfs"), [])
        daemon.client.ready("busybox", self.busybox)

    def test_in_pull(self):
        noise = LayerTar()
        noise.file(".wh..wh.noise", os.urandom(48 << 20))  # pulled, and then nothing of the image
        self.fills("pull", 40, lambda layout: layout.add_layer(noise.end()))

    def test_in_extract(self):
        wide = LayerTar()
        wide.file("wide", os.urandom(4096) * (24 << 10))
        self.fills("extract", 40, lambda layout: layout.add_layer(wide.end()))

    def test_in_build(self):
        self.fills("build", 40, lambda layout: add_many_files(layout, 300_000))


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
            self.assertEqual(stopped_leaks(pathlib.Path(folder)), [])


class LeavingClients(Case):
    def post_and_leave(self, path, body):
        connection = contract.Connection(self.client.address)
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

    def test_one_that_leaves_in_mid_handshake_takes_its_sandbox_along(self):
        self.addCleanup(self.restart_with, self.daemon.flags)
        self.restart_with([f"--oci.init_binary={odd_guest(self.folder, 'SILENT')}"])
        self.client.ready("silent", self.image("library/busybox:latest"))
        connection = contract.Connection(self.client.address)
        connection.request("POST", "/api/v1/sandboxes", b'{"template":"silent"}', {"Content-Type": "application/json"})
        until("it waits for the guest", lambda: "handshake" in self.client.running_stages("boot"))
        connection.close()
        until("its sandbox is gone", lambda: not self.client.want(200, "GET", "/sandboxes")["items"] or None, 60)
        until("its VM is gone", lambda: not self.daemon.processes() or None)

    def restart_with(self, flags):
        self.daemon.end()
        self.daemon.flags = flags
        self.daemon.start()
        self.client = self.daemon.client


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
