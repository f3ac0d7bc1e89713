"""A guest whose init breaks the channel's rules, beside one that keeps them: it may end its own sandbox, nothing else."""
import json
import unittest

import contract
from events import Events, bytes_of
from harness import Case, image_layout, until
from stand_ins import odd_guest

MIB = 1 << 20
# What one hostile sandbox may cost: a channel's window, a console's ring, a stream's credit, and what malloc keeps of it.
ALLOWED = 24 * MIB


class HostileGuests(Case):
    images = ()

    @classmethod
    def setUpClass(cls):
        cls.honest_image = f"oci:{image_layout('library/busybox:latest')}:latest"
        super().setUpClass()
        cls.daemon.client.ready("honest", cls.honest_image)
        cls.daemon.end()
        # The cached template keeps the init it was built with.
        cls.daemon.flags.append(f"--oci.init_binary={odd_guest(cls.folder, 'HOSTILE')}")
        cls.daemon.start()
        cls.daemon.client.ready("hostile", cls.honest_image)

    def setUp(self):
        super().setUp()
        self.honest, self.hostile = self.sandbox("honest"), self.sandbox("hostile")
        self.honest_answers()
        self.before = self.daemon.memory()

    def honest_answers(self):
        self.assertEqual(self.client.exec(self.honest, "echo", "well")["stdout"], "well\n")

    def hostile_exec(self, rule):
        return Events(self.client, "POST", f"/sandboxes/{self.hostile}/exec", {"command": rule})

    def assert_harmless(self):
        for _ in range(10):
            self.honest_answers()
            self.assertLess(self.daemon.memory() - self.before, ALLOWED)

    def test_what_breaks_the_rules_ends_its_own_sandbox_and_is_named(self):
        for rule, reason in (("twice", "opened a stream twice"), ("over", "more than it was granted"),
                             ("foreign", "a stream that was never opened"), ("generous", "granted more than it may"),
                             ("empty", "without a byte"), ("gaps", "one gap behind another"), ("long", "a frame of 4294967280 bytes"),
                             ("noise", "a frame of")):
            with self.subTest(rule):
                self.hostile = self.sandbox("hostile")
                with self.hostile_exec(rule) as events:
                    # Nothing is read before: what a client takes is granted anew.
                    ended = until("its sandbox failed", lambda: (lambda now: now if now["status"] == "failed" else None)(
                        self.client.want(200, "GET", f"/sandboxes/{self.hostile}")))
                    if events.status == 200:
                        *_, (name, problem, _) = events
                        self.assertEqual(name, "error")
                    else:
                        problem = events.problem()
                self.assertEqual(problem["code"], "guest_protocol", problem)
                self.assertIn(reason, ended["reason"])
                self.assert_harmless()

    def test_floods_within_the_rules_are_only_the_guests_own_work(self):
        for rule in ("pongs", "windows", "dead", "console", "drops"):
            with self.subTest(rule), self.hostile_exec(rule) as events:
                self.assertEqual(next(events)[0], "started")
                self.assert_harmless()
                self.client.call("DELETE", f"/sandboxes/{self.hostile}")
            self.hostile = self.sandbox("hostile")

    def test_tiny_pieces_come_to_a_client_that_reads_late(self):
        with self.hostile_exec("drops") as events:
            next(events)
            self.assert_harmless()
            size = 0
            while size < 4000:
                size += len(bytes_of(next(events)[1]))
        self.assert_harmless()

    def test_an_upload_that_is_never_granted_anything_stops_at_its_client(self):
        connection = contract.Connection(self.client.address, timeout=2)
        self.addCleanup(connection.close)
        connection.putrequest("PUT", f"/api/v1/sandboxes/{self.hostile}/files?path=/big")
        connection.putheader("Content-Length", str(1 << 30))
        connection.endheaders()
        sent = 0
        with self.assertRaises(TimeoutError):
            while sent < 1 << 30:
                connection.send(bytes(MIB))
                sent += MIB
        self.assert_harmless()

    def test_a_guest_that_does_not_read_is_asked_no_more(self):
        with self.hostile_exec("deaf") as events:
            next(events)
            body = json.dumps({"command": "true", "env": {"LONG": "x" * 60_000}})
            for _ in range(1300):
                connection = contract.Connection(self.client.address, timeout=60)
                connection.request("POST", f"/api/v1/sandboxes/{self.hostile}/exec", body, {
                    "Content-Type": "application/json", "Accept": "text/event-stream"})
                self.addCleanup(connection.close)
                connection.sock.settimeout(0.001)
                try:
                    answer = connection.getresponse()
                    break
                except TimeoutError:
                    connection.close()
            self.assertEqual((answer.status, json.loads(answer.read())["code"]), (504, "guest_timeout"))
            self.honest_answers()
            # 32 MiB may wait for the guest; the requests that brought them took their own.
            self.assertLess(self.daemon.memory() - self.before, 3 * 32 * MIB)


if __name__ == "__main__":
    unittest.main()
