"""The contract of exec, on one busybox sandbox."""
import base64
import concurrent.futures
import json
import unittest

import contract
from harness import Case, until


class Exec(Case):
    def setUp(self):
        super().setUp()
        self.sandbox_id = self.sandbox(env={"FROM": "sandbox", "BOTH": "sandbox"})

    def sh(self, script, **more):
        return self.client.exec(self.sandbox_id, "sh", "-c", script, **more)

    def test_exit_codes_follow_the_shell(self):
        self.assertEqual(self.sh("exit 3")["exit_code"], 3)
        self.assertEqual(self.client.exec(self.sandbox_id, "no-such-command")["exit_code"], 127)
        self.assertEqual(self.client.exec(self.sandbox_id, "/etc/passwd")["exit_code"], 126)
        killed = self.sh("kill -9 $$")
        self.assertEqual((killed["exit_code"], killed["signal"]), (137, 9))

    def test_stdout_and_stderr_stay_apart(self):
        outcome = self.sh("echo out; echo err >&2")
        self.assertEqual((outcome["stdout"], outcome["stderr"], outcome["timed_out"], outcome["truncated"]),
                         ("out\n", "err\n", False, False))

    def test_stdin_reaches_the_command_and_ends(self):
        text = "zeile ü\n" * 50_000
        self.assertEqual(self.client.exec(self.sandbox_id, "wc", "-c", stdin=text)["stdout"].strip(), str(len(text.encode())))

    def test_env_cwd_and_user(self):
        self.assertEqual(self.sh('echo "$FROM $BOTH $HOME"', env={"BOTH": "request"})["stdout"], "sandbox request /root\n")
        self.assertEqual(self.sh("pwd", cwd="/usr/bin")["stdout"], "/usr/bin\n")
        self.assertEqual(self.sh("id -un; echo $HOME", user="nobody")["stdout"], "nobody\n/home\n")
        self.assertEqual(self.sh("id -u; id -g", user="123:456")["stdout"], "123\n456\n")

    def test_a_cwd_or_user_that_does_not_exist_is_refused(self):
        path = f"/sandboxes/{self.sandbox_id}/exec"
        self.problem(self.client.call("POST", path, {"command": "pwd", "cwd": "/nowhere"}), 422, "cwd_not_found")
        self.problem(self.client.call("POST", path, {"command": "pwd", "user": "nemo"}), 422, "user_not_found")

    def test_a_deadline_ends_the_command_and_what_it_started(self):
        outcome = self.sh("sleep 300 & sleep 300", timeout_ms=1000)
        self.assertTrue(outcome["timed_out"], outcome)
        self.assertLess(outcome["duration_ms"], 10_000)
        self.assertEqual(self.sh("ps | grep -c '[s]leep 300'")["stdout"], "0\n")

    def test_output_that_is_not_utf8_comes_as_base64(self):
        outcome = self.sh(r"printf '\377\000a'")
        self.assertEqual(outcome["stdout_encoding"], "base64")
        self.assertEqual(base64.b64decode(outcome["stdout"]), b"\xff\x00a")
        self.assertEqual(outcome["stderr_encoding"], "utf-8")

    def test_100_mb_of_output_is_cut_and_the_command_goes_on(self):
        outcome = self.sh("yes 0123456 | head -c 104857600; echo end >&2; exit 7", timeout_ms=120_000)
        self.assertEqual((outcome["exit_code"], outcome["truncated"], outcome["stderr"]), (7, True, "end\n"))
        self.assertEqual(len(outcome["stdout"]), 16 << 20)
        small = self.sh("yes | head -c 1000", max_output_bytes=100)
        self.assertEqual((len(small["stdout"]), small["truncated"]), (100, True))

    def test_many_at_once_do_not_mix(self):
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            outcomes = list(pool.map(lambda n: self.sh(f"echo {n}; sleep 0.2; echo {n}"), range(8)))
        self.assertEqual([outcome["stdout"] for outcome in outcomes], [f"{n}\n{n}\n" for n in range(8)])

    def test_a_client_that_hangs_up_ends_its_command(self):
        connection = contract.Connection(self.client.address)
        connection.request("POST", f"/api/v1/sandboxes/{self.sandbox_id}/exec",
                           json.dumps({"command": "sleep", "args": ["4242"], "timeout_ms": 0}),
                           {"Content-Type": "application/json"})
        until("the command runs", lambda: self.sh("ps | grep -c '[s]leep 4242'")["stdout"] == "1\n")
        connection.close()
        until("the command is gone", lambda: self.sh("ps | grep -c '[s]leep 4242'")["stdout"] == "0\n")

    def test_unknown_fields_and_wrong_types_are_refused(self):
        path = f"/sandboxes/{self.sandbox_id}/exec"
        self.problem(self.client.call("POST", path, {"command": "pwd", "comand": "x"}), 400, "unknown_field")
        self.problem(self.client.call("POST", path, {"command": 7}), 400, "wrong_type")
        self.problem(self.client.call("POST", path, b'{"command":'), 400, "malformed_json")


if __name__ == "__main__":
    unittest.main()
