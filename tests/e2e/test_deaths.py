"""Why sandboxes ended: every cause is told apart, and the record outlives the daemon."""
import json
import os
import signal
import unittest

from harness import Case, until


class Deaths(Case):
    def death(self, sandbox):
        """Its record, once it is there."""
        def look():
            answer = self.client.call("GET", f"/sandboxes/{sandbox}/death")
            return answer.json if answer.status == 200 else None
        return until("it is known why it ended", look)

    def run_in(self, sandbox, script):
        """A command that its guest may not survive."""
        self.client.call("POST", f"/sandboxes/{sandbox}/exec", {"command": "sh", "args": ["-c", script], "timeout_ms": 60_000})

    def check_usage(self, death):
        usage = death["usage"]
        self.assertGreater(usage["wall_ms"], 0)
        self.assertGreater(usage["cpu_ms"], 0)
        self.assertGreater(usage["memory_peak_bytes"], 1 << 20)
        self.assertGreater(usage["disk_bytes"], 0)

    def test_one_that_was_deleted(self):
        made = self.client.create(self.busybox())
        sandbox = made["id"]
        self.client.exec(sandbox, "sh", "-c", "echo the last words > /dev/console")
        self.problem(self.client.call("GET", f"/sandboxes/{sandbox}/death"), 409, "conflict")
        self.client.want(204, "DELETE", f"/sandboxes/{sandbox}")

        death = self.client.want(200, "GET", f"/sandboxes/{sandbox}/death")  # at once

        self.assertEqual((death["id"], death["cause"], death["template"]), (sandbox, "asked", "busybox"))
        self.assertEqual((death["node_id"], death["boot_path"], death["resources"]),
                         (made["node_id"], made["boot_path"], made["resources"]))
        self.assertIn("the last words\n", death["console"])
        self.assertGreater(death["ended_at"], death["created_at"])
        self.check_usage(death)
        gone = self.problem(self.client.call("GET", f"/sandboxes/{sandbox}"), 404, "sandbox_not_found")
        self.assertIn(f"/sandboxes/{sandbox}/death", gone["detail"])
        self.problem(self.client.call("GET", "/sandboxes/sb-none/death"), 404, "sandbox_not_found")

    def test_one_whose_time_was_over(self):
        sandbox = self.sandbox(timeout_sec=1)
        death = self.death(sandbox)
        self.assertEqual(death["cause"], "expired")
        self.check_usage(death)

    def test_one_that_was_paused(self):
        sandbox = self.sandbox()
        self.client.exec(sandbox, "sh", "-c", "echo before the pause > /dev/console")
        self.client.want(200, "POST", f"/sandboxes/{sandbox}/pause", {})
        self.client.want(204, "DELETE", f"/sandboxes/{sandbox}")
        death = self.death(sandbox)
        self.assertEqual(death["cause"], "asked")
        self.assertIn("before the pause\n", death["console"])
        self.check_usage(death)

    def test_one_whose_vmm_was_killed(self):
        sandbox = self.sandbox()
        os.kill(self.daemon.vmm(sandbox), signal.SIGKILL)
        death = self.death(sandbox)
        self.assertEqual(death["cause"], "vm_exit")
        self.assertIn("signal 9", death["reason"])
        self.check_usage(death)
        self.client.want(204, "DELETE", f"/sandboxes/{sandbox}")
        self.assertEqual(self.death(sandbox), death)  # the first cause counts

    def test_one_whose_guest_halted(self):
        sandbox = self.sandbox()
        self.run_in(sandbox, "reboot -f")
        death = self.death(sandbox)
        self.assertEqual((death["cause"], death["reason"]), ("vm_exit", "the guest shut down"))

    def test_one_whose_guest_panicked(self):
        sandbox = self.sandbox()
        self.run_in(sandbox, "echo c > /proc/sysrq-trigger")
        death = self.death(sandbox)
        self.assertEqual(death["cause"], "kernel_panic")
        self.assertIn("sysrq triggered crash", death["reason"])
        self.assertIn("Kernel panic - not syncing", death["console"])

    def test_one_whose_guest_had_no_memory_left(self):
        sandbox = self.sandbox()
        # As if it had almost none from the start: to fill it all takes an emulated guest long.
        self.run_in(sandbox, "cd /proc/sys/vm; echo 2 > panic_on_oom; echo 1000000 > min_free_kbytes; tail /dev/zero")
        death = self.death(sandbox)
        self.assertEqual(death["cause"], "out_of_memory", death)
        self.assertIn("ut of memory", death["console"])
        self.check_usage(death)

    def test_records_are_listed_and_outlive_the_daemon(self):
        deleted, killed = self.sandbox(), self.sandbox()
        vmm = self.daemon.vmm(killed)
        self.client.want(204, "DELETE", f"/sandboxes/{deleted}")
        before = self.death(deleted)
        self.assertEqual(self.daemon.child.end(signal.SIGKILL), -signal.SIGKILL)
        os.kill(vmm, signal.SIGKILL)  # while no daemon is there

        self.daemon.start()
        self.client = self.daemon.client

        self.assertEqual(self.death(deleted), before)
        death = self.death(killed)
        self.assertEqual(death["cause"], "vm_exit")
        self.assertIn("while no daemon watched", death["reason"])
        self.assertGreater(death["usage"]["cpu_ms"], 0)
        asked = self.client.want(200, "GET", "/deaths?cause=asked&template=busybox&limit=1000")["items"]
        self.assertIn(before, asked)
        self.assertEqual({item["cause"] for item in asked}, {"asked"})
        ends = self.client.want(200, "GET", "/deaths?limit=1000")["items"]
        self.assertIn(killed, [item["id"] for item in ends])
        self.problem(self.client.call("GET", "/deaths?cause=boredom"), 422, "invalid_value")

    def test_nanobox_inspect_shows_what_lives_and_why_others_do_not(self):
        sandbox = self.sandbox(metadata={"who": "ann"})
        alive = self.daemon.cli("inspect", sandbox)
        self.assertEqual(alive.returncode, 0, alive)
        for part in (sandbox, "running", "who=ann", "busybox"):
            self.assertIn(part, alive.stdout)
        self.assertEqual(json.loads(self.daemon.cli("inspect", sandbox, "--json").stdout)["sandbox"]["id"], sandbox)
        self.client.want(204, "DELETE", f"/sandboxes/{sandbox}")

        ended = self.daemon.cli("inspect", sandbox)

        self.assertEqual(ended.returncode, 3, ended)
        self.assertRegex(ended.stdout, r"^cause +asked\n")
        self.assertEqual(json.loads(self.daemon.cli("inspect", sandbox, "--json").stdout)["death"]["cause"], "asked")
        self.assertRegex(self.daemon.cli("inspect", "busybox").stdout, r"^template +busybox\n")
        self.assertEqual(self.daemon.cli("inspect", "sb-none").returncode, 1)


if __name__ == "__main__":
    unittest.main()
