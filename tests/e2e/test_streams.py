"""Commands whose output comes as it is written, and those that live on without a client."""
import signal
import unittest

from events import Events, bytes_of, gather
from harness import Case, until


class StreamedExec(Case):
    def setUp(self):
        super().setUp()
        self.sandbox_id = self.sandbox()
        self.path = f"/sandboxes/{self.sandbox_id}/exec"

    def stream(self, script, **more):
        return Events(self.client, "POST", self.path, {"command": "sh", "args": ["-c", script], **more})

    def running(self, script):
        return self.client.exec(self.sandbox_id, "sh", "-c", f"ps | grep -c '[{script[0]}]{script[1:]}'")["stdout"].strip() != "0"

    def test_output_comes_while_the_command_runs(self):
        with self.stream("echo first; read line; echo got $line") as events:
            name, started, _ = next(events)
            self.assertEqual(name, "started")
            self.assertGreater(started["pid"], 0)
            name, data, _ = next(events)
            self.assertEqual((name, bytes_of(data)), ("stdout", b"first\n"))
            answer = self.client.call("POST", f"/sandboxes/{self.sandbox_id}/processes/{started['process_id']}/stdin?eof=1", b"word\n")
            self.assertEqual(answer.status, 204, answer)
            rest = gather(events)
        self.assertEqual(rest["stdout"], b"got word\n")
        self.assertEqual((rest["exit"]["exit_code"], rest["exit"]["signal"], rest["exit"]["timed_out"]), (0, None, False))

    def test_streams_stay_apart_and_any_bytes_survive(self):
        with self.stream(r"printf '\377\000\n'; printf 'gr\303\274n' >&2; exit 9", stdin="") as events:
            found = gather(events)
        self.assertEqual((found["stdout"], found["stderr"]), (b"\xff\x00\n", "grün".encode()))
        self.assertEqual(found["exit"]["exit_code"], 9)

    def test_much_output_comes_whole_and_in_order(self):
        with self.stream("seq 1 400000", stdin="") as events:
            found = gather(events)
        self.assertEqual(found["stdout"].decode().split(), [str(number) for number in range(1, 400001)])

    def test_stdin_given_with_the_request_is_written_and_closed(self):
        text = "zeile\n" * 100_000
        with self.stream("wc -c", stdin=text) as events:
            self.assertEqual(gather(events)["stdout"].strip(), str(len(text)).encode())

    def test_a_client_that_leaves_ends_the_command(self):
        with self.stream("echo on; exec sleep 4321") as events:
            next(events), next(events)
            self.assertTrue(self.running("sleep 4321"))
        until("the command is gone", lambda: not self.running("sleep 4321"))

    def test_a_client_that_reads_nothing_stops_the_writer_and_nobody_else(self):
        with self.stream("yes 0123456789 | head -c 200000000 > /dev/stdout; echo written > /root/mark") as events:
            next(events)
            self.assertEqual(self.client.exec(self.sandbox_id, "echo", "well")["stdout"], "well\n")
            self.assertNotEqual(self.client.exec(self.sandbox_id, "cat", "/root/mark")["exit_code"], 0)

    def test_a_deadline_is_told(self):
        with self.stream("sleep 300", timeout_ms=500) as events:
            found = gather(events)
        self.assertTrue(found["exit"]["timed_out"])

    def test_what_cannot_be_started_is_an_ordinary_answer(self):
        events = Events(self.client, "POST", self.path, {"command": "pwd", "cwd": "/nowhere"})
        self.assertEqual((events.status, events.problem()["code"]), (422, "cwd_not_found"))

    def test_a_sandbox_that_dies_ends_the_stream_with_the_reason(self):
        with self.stream("echo on; sleep 300") as events:
            next(events), next(events)
            self.client.call("DELETE", f"/sandboxes/{self.sandbox_id}")
            self.assertIn("error", gather(events))


class Processes(Case):
    def setUp(self):
        super().setUp()
        self.sandbox_id = self.sandbox()
        self.path = f"/sandboxes/{self.sandbox_id}/processes"

    def start(self, script, **more):
        body = {"command": "sh", "args": ["-c", script], "detached": True, **more}
        return self.client.want(202, "POST", f"/sandboxes/{self.sandbox_id}/exec", body)["process_id"]

    def state(self, process):
        return self.client.want(200, "GET", f"{self.path}/{process}")

    def ended(self, process):
        return until("it has ended", lambda: (lambda now: now if now["state"] == "exited" else None)(self.state(process)))

    def output(self, process, since=0):
        with Events(self.client, "GET", f"{self.path}/{process}/output?since={since}") as events:
            return gather(events)

    def test_a_detached_command_is_listed_and_keeps_its_end(self):
        process = self.start("echo out; echo err >&2; exit 5")
        self.assertEqual(self.ended(process)["exit_code"], 5)
        self.assertIn(process, [item["process_id"] for item in self.client.want(200, "GET", self.path)["items"]])
        found = self.output(process)
        self.assertEqual((found["stdout"], found["stderr"], found["exit"]["exit_code"]), (b"out\n", b"err\n", 5))

    def test_its_output_is_read_on_from_where_a_reader_was(self):
        process = self.start("echo one; read line; echo two")
        with Events(self.client, "GET", f"{self.path}/{process}/output") as events:
            name, data, offset = next(events)
        self.assertEqual((name, bytes_of(data)), ("stdout", b"one\n"))
        self.client.want(204, "POST", f"{self.path}/{process}/stdin?eof=1", b"go\n")
        self.ended(process)
        self.assertEqual(self.output(process, offset)["stdout"], b"two\n")

    def test_signals_end_it_and_an_ended_one_can_be_forgotten(self):
        process = self.start("exec sleep 300")
        self.assertEqual(self.client.call("DELETE", f"{self.path}/{process}?signal=INT").status, 204)
        self.assertEqual(self.ended(process)["signal"], 2)
        self.assertEqual(self.client.call("DELETE", f"{self.path}/{process}").status, 204)
        self.problem(self.client.call("GET", f"{self.path}/{process}"), 404, "process_not_found")
        self.problem(self.client.call("DELETE", f"{self.path}/{process}?signal=NONSENSE"), 422, "invalid_value")

    def test_it_outlives_a_daemon_that_was_killed(self):
        process = self.start("echo before; read line; echo after $line")
        until("it has written", lambda: self.state(process)["output_bytes"] >= 7)
        self.daemon.child.end(signal.SIGKILL)
        self.daemon.start()
        self.client = self.daemon.client
        self.assertEqual(self.state(process)["state"], "running")
        self.client.want(204, "POST", f"{self.path}/{process}/stdin?eof=1", b"it\n")
        self.ended(process)
        self.assertEqual(self.output(process)["stdout"], b"before\nafter it\n")

    def test_a_streamed_command_is_detached_when_the_daemon_dies(self):
        with Events(self.client, "POST", f"/sandboxes/{self.sandbox_id}/exec", {"command": "sh", "args": ["-c", "echo on; sleep 2; echo off"]}) as events:
            _, started, _ = next(events)
            next(events)
            self.daemon.child.end(signal.SIGKILL)
        self.daemon.start()
        self.client = self.daemon.client
        self.ended(started["process_id"])
        self.assertTrue(self.output(started["process_id"])["stdout"].endswith(b"off\n"))

    def test_the_last_mebibyte_is_kept(self):
        process = self.start("seq 1 300000")
        total = self.ended(process)["output_bytes"]
        kept = self.output(process)["stdout"]
        self.assertGreater(total, len(kept))
        self.assertTrue(kept.endswith(b"299999\n300000\n"))
        self.assertGreater(len(kept), 900_000)


class Logs(Case):
    def test_a_followed_console_tells_what_comes(self):
        sandbox = self.sandbox()
        with Events(self.client, "GET", f"/sandboxes/{sandbox}/logs?follow=1") as events:
            seen = b""
            while b"NANOBOX_READY" not in seen:
                seen += bytes_of(next(events)[1])
            self.client.exec(sandbox, "sh", "-c", "echo told-on-the-console > /dev/ttyS0")
            while b"told-on-the-console" not in seen:
                seen += bytes_of(next(events)[1])

    def test_inits_own_log_is_text(self):
        answer = self.client.call("GET", f"/sandboxes/{self.sandbox()}/logs?source=init")
        self.assertEqual(answer.status, 200, answer)


if __name__ == "__main__":
    unittest.main()
