"""How sandboxes end, and what outlives the daemon."""
import os
import signal
import subprocess
import unittest

from harness import BUILD, Case, free_port, until


class Expiry(Case):
    def test_a_sandbox_ends_when_its_time_is_over(self):
        sandbox = self.sandbox(timeout_sec=2)
        until("it is gone", lambda: self.client.call("GET", f"/sandboxes/{sandbox}").status == 404, 15)

    def test_keepalive_moves_the_end(self):
        created = self.client.create(self.busybox(), timeout_sec=60)
        moved = self.client.want(200, "POST", f"/sandboxes/{created['id']}/keepalive", {"timeout_sec": 600})
        self.assertGreater(moved["expires_at"], created["expires_at"])
        self.assertEqual(self.client.want(200, "GET", f"/sandboxes/{created['id']}")["expires_at"], moved["expires_at"])

    def test_deleting_twice_is_404(self):
        sandbox = self.sandbox()
        self.assertEqual(self.client.call("DELETE", f"/sandboxes/{sandbox}").status, 204)
        self.problem(self.client.call("DELETE", f"/sandboxes/{sandbox}"), 404, "sandbox_not_found")


class DeadVms(Case):
    def failed(self, sandbox):
        def look():
            now = self.client.want(200, "GET", f"/sandboxes/{sandbox}")
            return now if now["status"] == "failed" else None
        return until("it is failed", look, 20)

    def test_a_killed_vmm_makes_its_sandbox_failed_with_a_reason(self):
        sandbox = self.sandbox()
        os.kill(self.daemon.vmm(sandbox), signal.SIGKILL)
        self.assertTrue(self.failed(sandbox)["reason"])
        answer = self.client.call("POST", f"/sandboxes/{sandbox}/exec", {"command": "true"})
        self.problem(answer, 409, "sandbox_not_running")

    def test_a_guest_that_panics_is_failed_and_says_so(self):
        sandbox = self.sandbox()
        self.client.call("POST", f"/sandboxes/{sandbox}/exec", {"command": "sh", "args": ["-c", "echo c > /proc/sysrq-trigger"]})
        self.assertTrue(self.failed(sandbox)["reason"])

    def test_one_that_halts_is_failed_and_others_go_on(self):
        halted, other = self.sandbox(), self.sandbox()
        self.client.call("POST", f"/sandboxes/{halted}/exec", {"command": "reboot", "args": ["-f"]})
        self.failed(halted)
        self.assertEqual(self.client.exec(other, "echo", "well")["stdout"], "well\n")


class Restarts(Case):
    def check_restart(self, number):
        alive, dead = self.sandbox(), self.sandbox()
        dead_vmm = self.daemon.vmm(dead)
        self.client.exec(alive, "sh", "-c", "echo kept > /root/mark")
        code = self.daemon.child.end(number)
        self.assertEqual(code, 0 if number == signal.SIGTERM else -number)
        os.kill(dead_vmm, signal.SIGKILL)
        self.daemon.start()
        self.client = self.daemon.client
        self.assertEqual(self.client.want(200, "GET", "/templates/busybox")["status"], "ready")
        until("the living one is adopted",
              lambda: self.client.want(200, "GET", f"/sandboxes/{alive}")["status"] == "running", 20)
        self.assertEqual(self.client.exec(alive, "cat", "/root/mark")["stdout"], "kept\n")
        return dead

    def test_sigterm_keeps_sandboxes_and_a_start_adopts_them(self):
        dead = self.check_restart(signal.SIGTERM)
        until("the dead one is failed", lambda: self.client.want(200, "GET", f"/sandboxes/{dead}")["status"] == "failed", 20)

    def test_sigkill_loses_no_sandbox_either(self):
        dead = self.check_restart(signal.SIGKILL)
        until("the dead one is failed", lambda: self.client.want(200, "GET", f"/sandboxes/{dead}")["status"] == "failed", 20)

    def test_sigkill_in_mid_warmup_leaves_no_half_template(self):
        self.client.call("POST", "/templates/warmup", {"name": "half", "image": self.image("library/busybox:latest"),
                                                       "snapshot": False, "force": True})
        self.daemon.child.end(signal.SIGKILL)
        self.daemon.start()
        self.client = self.daemon.client
        status = self.client.call("GET", "/templates/half/status")
        if status.status == 200:
            self.assertIn(status.json["status"], ("ready", "failed"))
        self.client.ready("half", self.image("library/busybox:latest"))

    def test_a_second_daemon_on_the_same_folder_is_refused(self):
        second = subprocess.run([BUILD / "bin/nanoboxd", f"--api.listen_addr=127.0.0.1:{free_port()}"], capture_output=True,
                                text=True, timeout=20, env=self.daemon.environment())
        self.assertNotEqual(second.returncode, 0)
        self.assertIn(str(self.daemon.data), second.stderr)


if __name__ == "__main__":
    unittest.main()
