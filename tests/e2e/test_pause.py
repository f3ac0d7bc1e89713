"""Pause and resume, clause by clause as docs/fork.md has them."""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import unittest

import contract
from copies import SMALL, Copies
from events import Events, gather
from harness import Case, OwnDaemon, until
from leaks import files_below, machines
from websocket import WebSocket


class Paused(Case, Copies):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        image = f"{cls.registry.address}/library/busybox:latest"
        cls.daemon.client.ready("cold", image, resources=SMALL)
        cls.daemon.client.ready("warm", image, resources=SMALL, snapshot=True)

    def saved_folders(self):
        return list((self.daemon.seen_data() / "snapshots/sandboxes").iterdir())

    def restart(self, number):
        code = self.daemon.child.end(number)
        self.assertEqual(code, 0 if number == signal.SIGTERM else -number, self.daemon.tail())
        self.daemon.start()
        self.client = self.daemon.client


class GoingOn(Paused):
    def check_goes_on_where_it_was(self, template, **more):
        sandbox = self.with_witness(template, **more)
        self.sh(sandbox, "echo on-disk > /root/mark; echo in-memory > /mem/mark; mkfifo /mem/pipe")
        reader = self.start(sandbox, "exec 3< /root/mark; read line < /mem/pipe; echo $line; cat <&3")
        before = self.lines(sandbox)
        paused = self.pause(sandbox)
        self.assertEqual((paused["status"], self.seen(sandbox)["status"]), ("paused", "paused"))
        resumed = self.resume(sandbox)
        self.assertEqual(resumed["status"], "running")
        self.assertGreater(resumed["restore_time_ms"], 0)
        self.assertEqual(resumed["generation"], paused["generation"] + 1)
        self.assertEqual((resumed["id"], self.sh(sandbox, "hostname")), (sandbox, f"{sandbox}\n"))
        for file in "/mem/lines", "/root/lines":
            self.check_goes_on(self.more_lines(sandbox, len(before) + 100, file))
        self.check_clock(sandbox)
        self.assertEqual(self.sh(sandbox, "cat /mem/mark /root/mark"), "in-memory\non-disk\n")
        self.sh(sandbox, "echo through > /mem/pipe")
        until("the reader has ended", lambda: self.process(sandbox, reader)["state"] == "exited")
        self.assertEqual(self.output(sandbox, reader), "through\non-disk\n")

    def test_a_sandbox_goes_on_where_it_was(self):
        for name, template, more in (("from a snapshot", "warm", {}), ("booted cold", "cold", {}),
                                     ("with two virtual CPUs", "warm", {"resources": {**SMALL, "vcpu": 2}})):
            with self.subTest(name):
                self.check_goes_on_where_it_was(template, **more)

    def test_time_on_disk_counts_for_no_deadline(self):
        sandbox = self.with_witness("warm", timeout_sec=600)
        timed = self.start(sandbox, "exec /root/witness /mem/timed", timeout_ms=5000)
        self.more_lines(sandbox, 0, "/mem/timed")
        self.pause(sandbox)
        # What takes six seconds on the host, so that the pause is longer than the command's deadline.
        other = self.client.create("warm", timeout_sec=6)["id"]
        until("the other's time is over", lambda: self.client.call("GET", f"/sandboxes/{other}").status == 404)
        self.resume(sandbox)
        self.check_clock(sandbox)
        until("its deadline ends it", lambda: self.process(sandbox, timed)["state"] == "exited")
        lines = self.lines(sandbox, "/mem/timed")
        self.assertGreater(lines[-1].monotonic_ns - lines[0].monotonic_ns, 4_000_000_000)
        # The one clock stood still, the other did not.
        jumps = [(after.wall_ns - before.wall_ns, after.monotonic_ns - before.monotonic_ns)
                 for before, after in zip(lines, lines[1:])]
        wall, monotonic = max(jumps)
        self.assertGreater(wall, 5_000_000_000)
        self.assertLess(monotonic, 5_000_000_000)

    def test_a_paused_sandbox_survives_the_daemon_and_the_host(self):
        sandbox = self.with_witness("warm")
        count = len(self.lines(sandbox))
        for number in signal.SIGTERM, signal.SIGKILL:
            with self.subTest(signal.Signals(number).name):
                self.pause(sandbox)
                self.restart(number)
                self.assertEqual(self.seen(sandbox)["status"], "paused")
                self.resume(sandbox)
                lines = self.more_lines(sandbox, count + 50)
                self.check_goes_on(lines)
                count = len(lines)
        cold = self.with_witness("cold")
        child, = self.fork(cold)
        self.restart(signal.SIGKILL)  # what runs is adopted, however it came to be
        self.check_goes_on(self.more_lines(sandbox, count))
        for member in cold, child:
            self.check_goes_on(self.more_lines(member, len(self.lines(member))))
            self.check_clock(member)

    def test_pause_says_how_long_it_took(self):
        sandbox = self.client.create("warm")["id"]
        self.assertGreater(self.pause(sandbox)["pause_ms"], 0)
        self.assertGreater(self.resume(sandbox)["restore_time_ms"], 0)
        run = self.client.want(200, "GET", "/pipelines/runs?kind=pause")["items"][0]
        self.assertEqual([(stage["name"], stage["status"]) for stage in run["stages"]],
                         [("save", "succeeded"), ("end", "succeeded")])

    def test_many_pauses_take_the_space_of_one(self):
        sandbox = self.with_witness("warm")
        sizes = []
        for _ in range(12):
            self.sh(sandbox, "head -c 4000000 /dev/urandom > /root/content; sync")
            count = len(self.lines(sandbox))
            self.pause(sandbox)
            until("the former state is gone", lambda: len(self.saved_folders()) == 1)
            sizes.append(sum(os.stat(path).st_blocks * 512 for path in files_below(
                self.daemon.seen_data() / "rootfs/.layers", self.daemon.seen_data() / "snapshots/sandboxes")))
            self.resume(sandbox)
            self.check_goes_on(self.more_lines(sandbox, count))
        # A chain has at most eight layers, each with the content's four megabytes and what else was written.
        self.assertLess(sizes[-1], 2 * max(sizes[:8]))
        self.assertLessEqual(len(list((self.daemon.seen_data() / "rootfs/.layers").iterdir())), 8)


class AtRest(Paused):
    def test_a_paused_sandbox_takes_disk_only(self):
        sandbox = self.client.create("cold")["id"]
        vmm = self.daemon.vmm(sandbox)
        self.pause(sandbox)
        until("its VMM is gone", lambda: not os.path.exists(f"/proc/{vmm}"))
        self.assertNotIn(sandbox, machines(self.daemon.seen_data()))
        stats = self.client.want(200, "GET", "/stats")
        self.assertEqual((stats["sandboxes"]["paused"], stats["sandboxes"]["running"]), (1, 0))
        self.assertGreater(stats["snapshot_bytes"], 0)

    def test_a_template_is_in_use_by_paused_sandboxes(self):
        self.client.ready("used", self.image("library/busybox:latest"), resources=SMALL, snapshot=True)
        sandbox = self.with_witness("used")
        count = len(self.lines(sandbox))
        self.pause(sandbox)
        self.problem(self.client.call("DELETE", "/templates/used"), 409, "template_in_use")
        # Neither a new snapshot nor the name's removal takes away what the sandbox stands on.
        self.client.ready("used", self.image("library/busybox:latest"), resources=SMALL, snapshot=True, force=True)
        self.assertEqual(self.client.call("DELETE", "/templates/used?force=1").status, 204)
        self.resume(sandbox)
        self.check_goes_on(self.more_lines(sandbox, count))

    def test_a_paused_sandbox_says_how_to_get_it_back(self):
        sandbox = self.client.create("warm")["id"]
        self.pause(sandbox)
        path = f"/sandboxes/{sandbox}"
        for method, where, body in (("POST", "exec", {"command": "true"}), ("GET", "processes", None),
                                    ("GET", "processes/x", None), ("GET", "files?path=/", None),
                                    ("PUT", "files?path=/x", b"x"), ("GET", "ports/80/", None), ("GET", "logs", None),
                                    ("POST", "keepalive", {}), ("POST", "fork", {}), ("POST", "snapshot", {"name": "never"})):
            with self.subTest(where):
                problem = self.problem(self.client.call(method, f"{path}/{where}", body), 409, "sandbox_paused")
                self.assertIn(f"{path}/resume", json.dumps(problem))
        self.assertEqual(self.seen(sandbox)["status"], "paused")
        self.assertEqual([item["id"] for item in self.client.want(200, "GET", "/sandboxes?status=paused")["items"]], [sandbox])

    def test_deleting_a_paused_sandbox_frees_its_disk(self):
        sandbox = self.client.create("warm")["id"]
        self.pause(sandbox)
        self.assertEqual(len(self.saved_folders()), 1)
        self.assertEqual(self.client.call("DELETE", f"/sandboxes/{sandbox}").status, 204)
        self.assertEqual(self.client.call("GET", f"/sandboxes/{sandbox}").status, 404)
        until("its files are gone", lambda: not self.saved_folders())

    def test_paused_sandboxes_do_not_expire(self):
        sandbox = self.client.create("warm", timeout_sec=3)["id"]
        self.assertIsNone(self.pause(sandbox)["expires_at"])
        later = self.client.create("warm", timeout_sec=3)["id"]
        until("one that is younger has expired", lambda: self.client.call("GET", f"/sandboxes/{later}").status == 404)
        self.assertEqual(self.seen(sandbox)["status"], "paused")
        self.assertIsNotNone(self.resume(sandbox)["expires_at"])
        until("its time is over", lambda: self.client.call("GET", f"/sandboxes/{sandbox}").status == 404)

    def test_a_sandbox_pauses_when_its_time_is_over(self):
        sandbox = self.with_witness("warm", timeout_sec=60, on_timeout="pause")
        lines = self.lines(sandbox)
        self.client.want(200, "POST", f"/sandboxes/{sandbox}/keepalive", {"timeout_sec": 1})
        until("it is paused", lambda: self.seen(sandbox)["status"] == "paused")
        self.problem(self.client.call("POST", f"/sandboxes/{sandbox}/keepalive", {}), 409, "sandbox_paused")
        resumed = self.resume(sandbox)
        self.assertIsNotNone(resumed["expires_at"])
        self.client.call("POST", f"/sandboxes/{sandbox}/keepalive", {"timeout_sec": 60})
        if self.seen(sandbox)["status"] != "running":  # that one second is over again
            until("it is paused", lambda: self.seen(sandbox)["status"] == "paused")
            return
        self.check_goes_on(self.more_lines(sandbox, len(lines)))

    def test_a_keepalive_in_the_last_moment_holds_or_is_refused(self):
        for _ in range(5):
            sandbox = self.client.create("warm", timeout_sec=1, on_timeout="pause")["id"]
            kept = None
            while self.seen(sandbox)["status"] == "running" and kept is None:
                left = self.seen(sandbox)["expires_at"]
                answer = self.client.call("POST", f"/sandboxes/{sandbox}/keepalive", {"timeout_sec": 1})
                if answer.status != 200:
                    self.problem(answer, 409, "sandbox_paused")
                    break
                self.assertGreaterEqual(answer.json["expires_at"], left or "")
                kept = answer.json["expires_at"]
            until("it is paused", lambda: self.seen(sandbox)["status"] == "paused")
            self.client.call("DELETE", f"/sandboxes/{sandbox}")

    def test_pause_and_resume_can_be_repeated(self):
        sandbox = self.client.create("warm")["id"]
        self.assertEqual(self.resume(sandbox)["status"], "running")
        first = self.pause(sandbox)
        self.assertEqual(self.pause(sandbox), first)
        self.resume(sandbox)
        # Whoever asks while another is at work is told so, or comes after it.
        with self.meanwhile("POST", f"/sandboxes/{sandbox}/pause", {}) as one, \
                self.meanwhile("POST", f"/sandboxes/{sandbox}/pause", {}) as two:
            self.assertEqual((one.answer().status, two.answer().status), (200, 200))
        with self.meanwhile("POST", f"/sandboxes/{sandbox}/resume", {}) as one, \
                self.meanwhile("POST", f"/sandboxes/{sandbox}/resume", {}) as two:
            answers = sorted((one.answer(), two.answer()), key=lambda answer: answer.status)
        self.assertEqual(answers[0].status, 200)
        if answers[1].status != 200:
            self.problem(answers[1], 409, "conflict")
        self.assertEqual(self.seen(sandbox)["status"], "running")

    def test_the_command_line_pauses_and_resumes(self):
        sandbox = self.client.create("warm")["id"]
        done = self.daemon.cli("pause", sandbox)
        self.assertEqual((done.returncode, done.stdout), (0, f"{sandbox}\n"), done.stderr)
        self.assertIn("paused", self.daemon.cli("ps", "--status", "paused").stdout)
        refused = self.daemon.cli("exec", sandbox, "--", "true")
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("resume", refused.stderr)
        done = self.daemon.cli("resume", sandbox)
        self.assertEqual((done.returncode, done.stdout), (0, f"{sandbox}\n"), done.stderr)
        self.assertEqual(self.daemon.cli("exec", sandbox, "--", "echo", "well").stdout, "well\n")


class InFlight(Paused):
    def test_exec_in_flight_is_409_and_its_process_lives_on(self):
        sandbox = self.with_witness("warm")
        path = f"/sandboxes/{sandbox}/exec"
        script = "echo before; touch /mem/{0}; while [ ! -e /mem/go ]; do sleep 0.05; done; echo after"
        with Events(self.client, "POST", path, {"command": "sh", "args": ["-c", script.format("streamed")]}) as events:
            _, started, _ = next(events)
            with self.meanwhile("POST", path, {"command": "sh", "args": ["-c", script.format("buffered")]}) as buffered:
                until("both run", lambda: self.sh(sandbox, "ls /mem").count("ed\n") == 2)
                self.pause(sandbox)
                self.problem(buffered.answer(), 409, "sandbox_paused")
            found = gather(events)
        self.assertEqual((found["stdout"], found["error"]["code"]), (b"before\n", "sandbox_paused"))
        self.resume(sandbox)
        listed = self.client.want(200, "GET", f"/sandboxes/{sandbox}/processes")["items"]
        ours = [item["process_id"] for item in listed if "streamed" in json.dumps(item) or "buffered" in json.dumps(item)]
        self.assertIn(started["process_id"], ours)
        self.assertEqual(len(ours), 2)
        self.sh(sandbox, "touch /mem/go")
        for process in ours:
            until("it has ended", lambda: self.process(sandbox, process)["state"] == "exited")
            self.assertTrue(self.output(sandbox, process).endswith("after\n"))

    def test_execs_that_race_with_a_pause_run_or_are_refused(self):
        sandbox = self.with_witness("warm")
        for _ in range(3):
            with contextlib.ExitStack() as stack:
                calls = [stack.enter_context(self.meanwhile("POST", f"/sandboxes/{sandbox}/exec", {"command": "echo", "args": ["x"]}))
                         for _ in range(8)]
                self.pause(sandbox)
                for call in calls:
                    answer = call.answer()
                    if answer.status == 200:
                        self.assertEqual(answer.json["stdout"], "x\n")
                    else:
                        self.problem(answer, 409, "sandbox_paused")
            self.resume(sandbox)
        self.assertEqual(self.sh(sandbox, "echo well"), "well\n")

    def test_other_streams_end_at_a_pause(self):
        sandbox = self.with_witness("warm")
        self.start(sandbox, "nc -l -p 9000 -e sh -c 'cat > /mem/from-tcp; echo end >> /mem/from-tcp'")
        until("it listens", lambda: ":9000 " in self.sh(sandbox, "netstat -ltn"))
        connection = WebSocket(self.client.address, f"/api/v1/sandboxes/{sandbox}/tcp/9000")
        terminal = WebSocket(self.client.address, f"/api/v1/sandboxes/{sandbox}/terminal?command=/bin/sh")
        upload = contract.Connection(self.client.address, timeout=60)
        self.addCleanup(upload.close)
        upload.putrequest("PUT", f"/api/v1/sandboxes/{sandbox}/files?path=/root/half")
        upload.putheader("Content-Length", "1000000")
        upload.endheaders()
        upload.send(bytes(1000))
        terminal.send(2, b"touch /mem/in-terminal\n")
        until("the terminal works", lambda: "in-terminal" in self.sh(sandbox, "ls /mem"))
        self.pause(sandbox)
        for stream in connection, terminal:
            with contextlib.suppress(ConnectionError, StopIteration):
                while stream.receive()[0] != 8:
                    pass
        with contextlib.suppress(ConnectionError):
            self.assertEqual(upload.getresponse().status, 409)
        self.resume(sandbox)
        until("the server inside sees the end", lambda: self.sh(sandbox, "cat /mem/from-tcp").endswith("end\n"))
        self.assertEqual(self.sh(sandbox, "ls -A /root"), "lines\nwitness\n")


class Faults(Paused):
    def test_what_does_not_fit_stays_paused(self):
        sandbox = self.with_witness("warm")
        count = len(self.lines(sandbox))
        self.pause(sandbox)
        folder, = self.saved_folders()

        def another_vmm(path):
            path.write_text(path.read_text().replace('"fingerprint":"', '"fingerprint":"0'))

        def flip(path):
            with open(path, "r+b") as file:
                file.seek(path.stat().st_size // 2)
                byte = file.read(1)
                file.seek(-1, os.SEEK_CUR)
                file.write(bytes([byte[0] ^ 1]))

        damages = {"saved by another VMM": ("manifest.json", another_vmm), "no manifest": ("manifest.json", os.unlink),
                   "half a manifest": ("manifest.json", lambda path: os.truncate(path, 40)),
                   "no state": ("state", os.unlink), "no pages": ("pages", os.unlink),
                   "a state cut short": ("state", lambda path: os.truncate(path, path.stat().st_size // 2)),
                   "pages cut short": ("pages", lambda path: os.truncate(path, path.stat().st_size - 4096)),
                   "a bit of the state": ("state", flip), "a bit of the pages": ("pages", flip)}
        for name, (file, damage) in damages.items():
            with self.subTest(name):
                path = folder / file
                kept = self.folder / "kept"
                shutil.copy2(path, kept)
                damage(path)
                problem = self.problem(self.client.call("POST", f"/sandboxes/{sandbox}/resume", {}), 409, "snapshot_invalid")
                self.assertIn(file if "VMM" not in name else folder.name, problem["detail"])
                self.assertEqual(self.seen(sandbox)["status"], "paused")
                shutil.copy2(kept, path)
        self.resume(sandbox)
        self.check_goes_on(self.more_lines(sandbox, count))

    def test_a_layer_of_the_disk_that_is_missing_is_told(self):
        sandbox = self.with_witness("warm")
        count = len(self.lines(sandbox))
        self.pause(sandbox)
        layer, = (self.daemon.seen_data() / "rootfs/.layers").glob("*/disk.qcow2")
        layer.rename(layer.with_suffix(".kept"))
        self.problem(self.client.call("POST", f"/sandboxes/{sandbox}/resume", {}), 409, "snapshot_invalid")
        self.assertEqual(self.seen(sandbox)["status"], "paused")
        layer.with_suffix(".kept").rename(layer)
        self.resume(sandbox)
        self.check_goes_on(self.more_lines(sandbox, count))

    def kill_vmm(self, sandbox):
        vmm = self.vmm_of(sandbox)
        with contextlib.suppress(ProcessLookupError):
            if vmm:
                os.kill(vmm, signal.SIGKILL)
        return vmm

    def vmm_of(self, sandbox):
        with contextlib.suppress(KeyError):
            return self.daemon.vmm(sandbox)
        return None

    def test_a_resume_that_fails_can_be_tried_again(self):
        sandbox = self.with_witness("warm")
        count = len(self.lines(sandbox))
        for stage in "vm", "handshake", "configure":
            with self.subTest(f"its VMM is killed in {stage}"):
                self.pause(sandbox)
                with self.meanwhile("POST", f"/sandboxes/{sandbox}/resume", {}) as resume:
                    while not (resume.outcome or stage in self.client.running_stages("boot")):
                        pass
                    killed = self.kill_vmm(sandbox)
                    answer = resume.answer()
                if answer.status == 200:  # it was faster
                    if killed:
                        # Of a boot that was tried again the VMM is another one.
                        until("its end is known", lambda: self.seen(sandbox)["status"] == "failed" or self.vmm_of(sandbox) not in (None, killed))
                        self.client.call("DELETE", f"/sandboxes/{sandbox}")
                        sandbox = self.with_witness("warm")
                        count = 0
                    continue
                self.assertIn(answer.json["code"], ("vmm_failed", "guest_gone", "guest_timeout"), answer)
                self.assertEqual(self.seen(sandbox)["status"], "paused")
                self.resume(sandbox)
                lines = self.more_lines(sandbox, count)
                self.check_goes_on(lines)
                count = len(lines)

    def test_a_vmm_that_is_killed_amid_a_pause_leaves_it_paused_or_failed(self):
        outcomes = set()
        for step in range(12):
            sandbox = self.with_witness("warm")
            vmm = self.daemon.vmm(sandbox)
            folders = set(self.saved_folders())
            with self.meanwhile("POST", f"/sandboxes/{sandbox}/pause", {}) as pause:
                reached = (lambda: self.seen(sandbox)["status"] == "pausing", lambda: self.client.running_stages("pause"),
                           self.half_saved,
                           lambda: set(self.saved_folders()) - folders)[step % 4]
                while not (pause.outcome or reached()):
                    pass
                with contextlib.suppress(ProcessLookupError):
                    os.kill(vmm, signal.SIGKILL)
                answer = pause.answer()
            now = until("it rests", lambda: (lambda seen: seen if seen["status"] in ("paused", "failed") else None)(self.seen(sandbox)))
            outcomes.add((answer.status, now["status"]))
            if now["status"] == "paused":
                self.resume(sandbox)
                self.check_goes_on(self.lines(sandbox))
            else:
                self.assertTrue(now["reason"])
            self.client.call("DELETE", f"/sandboxes/{sandbox}")
            until("nothing of it is left", lambda: not self.saved_folders())
        self.assertLessEqual({status for answer, status in outcomes if answer == 200}, {"paused"})

    def test_a_daemon_killed_amid_a_pause_loses_nothing(self):
        sandbox, count = self.with_witness("warm"), 0
        outcomes = []
        steps = (lambda: self.seen(sandbox)["status"] == "pausing", self.half_saved,
                 lambda: len(self.saved_folders()) > known, lambda: len(list(layers.iterdir())) > frozen,
                 lambda: self.seen(sandbox)["status"] == "paused")
        layers = self.daemon.data / "rootfs/.layers"
        for reached in steps * 2:
            known = len(self.saved_folders())
            frozen = len(list(layers.iterdir())) if layers.is_dir() else 0
            with self.meanwhile("POST", f"/sandboxes/{sandbox}/pause", {}) as pause:
                while not (pause.outcome or reached()):
                    pass
                self.restart(signal.SIGKILL)
            outcomes.append(self.seen(sandbox)["status"])
            self.assertIn(outcomes[-1], ("running", "paused"))
            if outcomes[-1] == "paused":
                self.assertNotIn(sandbox, machines(self.daemon.seen_data()))
                self.resume(sandbox)
            lines = self.more_lines(sandbox, count)
            self.check_goes_on(lines)
            count = len(lines)
            self.check_goes_on(self.more_lines(sandbox, 0, "/root/lines"))

    def test_a_daemon_and_a_vmm_killed_amid_a_pause_leave_what_was_whole(self):
        for step in range(4):
            sandbox = self.with_witness("warm")
            vmm = self.daemon.vmm(sandbox)
            with self.meanwhile("POST", f"/sandboxes/{sandbox}/pause", {}) as pause:
                reached = (lambda: self.seen(sandbox)["status"] == "pausing", self.saved_folders)[step % 2]
                while not (pause.outcome or reached()):
                    pass
                self.daemon.child.process.kill()
                self.daemon.child.process.wait()
                with contextlib.suppress(ProcessLookupError):
                    os.kill(vmm, signal.SIGKILL)
            self.restart_dead()
            now = until("it rests", lambda: (lambda seen: seen if seen["status"] in ("paused", "failed") else None)(self.seen(sandbox)))
            if now["status"] == "paused":
                self.resume(sandbox)
                self.check_goes_on(self.more_lines(sandbox, 0))
            self.client.call("DELETE", f"/sandboxes/{sandbox}")

    def restart_dead(self):
        self.daemon.start()
        self.client = self.daemon.client

    def test_a_daemon_killed_amid_a_resume_loses_nothing(self):
        sandbox, count = self.with_witness("warm"), 0
        for stage in "disk", "vm", "handshake", "configure":
            with self.subTest(stage):
                self.pause(sandbox)
                with self.meanwhile("POST", f"/sandboxes/{sandbox}/resume", {}) as resume:
                    while not (resume.outcome or stage in self.client.running_stages("boot")):
                        pass
                    self.restart(signal.SIGKILL)
                self.assertIn(self.seen(sandbox)["status"], ("running", "paused"))
                self.resume(sandbox)
                lines = self.more_lines(sandbox, count)
                self.check_goes_on(lines)
                count = len(lines)

    def test_deleting_amid_a_pause_or_a_resume_leaves_nothing(self):
        for _ in range(3):
            sandbox = self.client.create("warm")["id"]
            with self.meanwhile("POST", f"/sandboxes/{sandbox}/pause", {}) as pause:
                while not (pause.outcome or self.seen(sandbox)["status"] == "pausing"):
                    pass
                self.assertEqual(self.client.call("DELETE", f"/sandboxes/{sandbox}").status, 204)
                self.assertIn(pause.answer().status, (200, 404, 409, 502), pause.answer())
            self.daemon.settle()
            sandbox = self.client.create("warm")["id"]
            self.pause(sandbox)
            with self.meanwhile("POST", f"/sandboxes/{sandbox}/resume", {}) as resume:
                while not (resume.outcome or self.client.running_stages("boot")):
                    pass
                self.assertEqual(self.client.call("DELETE", f"/sandboxes/{sandbox}").status, 204)
                resume.answer()
            self.assertEqual(self.client.call("GET", f"/sandboxes/{sandbox}").status, 404)
            self.daemon.settle()


class Ending(OwnDaemon, Copies):
    def test_a_daemon_that_ends_pauses_its_sandboxes(self):
        daemon = self.daemon('[agent]\non_shutdown = "pause"\n')
        self.client = daemon.client
        self.client.ready("warm", self.busybox, resources=SMALL, snapshot=True)
        sandboxes = [self.with_witness("warm") for _ in range(2)]
        counts = [len(self.lines(sandbox)) for sandbox in sandboxes]
        self.assertEqual(daemon.child.end(signal.SIGTERM), 0, daemon.tail())
        self.assertEqual(machines(daemon.data), {})
        daemon.start()
        for sandbox, count in zip(sandboxes, counts):
            self.assertEqual(self.seen(sandbox)["status"], "paused")
            self.resume(sandbox)
            self.check_goes_on(self.more_lines(sandbox, count))

    @unittest.skipUnless(os.geteuid() == 0, "mounting a tmpfs needs root")
    def test_a_full_disk_leaves_the_sandbox_running(self):
        daemon = self.with_small("snapshots", 32)
        folder = self.folder / "data/snapshots"
        sandbox = self.with_witness("cold")
        self.sh(sandbox, "head -c 40000000 /dev/urandom > /mem/content")
        content = self.sh(sandbox, "sha256sum /mem/content")
        for _ in range(2):
            count = len(self.lines(sandbox))
            answer = self.client.call("POST", f"/sandboxes/{sandbox}/pause", {})
            self.assertIn((answer.status, answer.json["code"]), ((503, "disk_full"), (503, "host_disk_full")), answer)
            self.assertEqual(self.seen(sandbox)["status"], "running")
            self.check_goes_on(self.more_lines(sandbox, count))
            self.assertEqual(files_below(daemon.seen_data() / "snapshots"), [])
        self.assertEqual(self.sh(sandbox, "sha256sum /mem/content"), content)
        inside = ["nsenter", "-m", "-t", str(daemon.child.process.pid)]
        subprocess.run([*inside, "mount", "-o", "remount,size=256m", folder], check=True)
        self.pause(sandbox)
        self.resume(sandbox)
        self.check_goes_on(self.more_lines(sandbox, count))
        daemon.settle()


if __name__ == "__main__":
    unittest.main()
