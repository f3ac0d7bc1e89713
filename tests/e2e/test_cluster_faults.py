"""A cluster when things go wrong in the middle of others: whoever asked is told, and nothing is left behind."""
import contextlib
import signal
import socket
import threading
import time
import unittest

from cluster import BACK, CLUSTER_PORT, CONTROL_ADDRESS, JOIN_PORT, LOST, ClusterCase, Control
from copies import Copies
from events import Events, gather
from harness import BUILD, Case, Child, until
from leaks import machines
from test_pool import Pool, pool_config
from websocket import WebSocket

#: What an asker may be told whose node is lost.
TOLD = {"node_lost", "sandbox_lost"}


class Waiting(threading.Thread):
    """Something under way that waits for its end in a thread of its own."""

    def __init__(self, name, end):
        super().__init__(name=name, daemon=True)
        self.end_of_it, self.told, self.ended = end, None, None
        self.start()

    def run(self):
        try:
            self.told = self.end_of_it()
        except (OSError, EOFError, ConnectionError) as error:  # cut off: that tells it too
            self.told = error
        self.ended = time.monotonic()


def check_deletes_while_made(case, way, rounds=8):
    """A sandbox is deleted sooner or later after it was asked for: it is gone, and who asked for it is told."""
    client = case.client
    ids = lambda: {item["id"] for item in client.want(200, "GET", "/sandboxes")["items"]}  # noqa: E731
    before, outcomes = ids(), set()

    def delete_while_made(looks):
        with case.meanwhile("POST", "/sandboxes", {"template": "busybox", "boot": way}) as asked:
            until("it is being made, or refused", lambda: ids() - before or asked.outcome)
            for made in ids() - before:
                for _ in range(4 * looks):
                    client.call("GET", f"/sandboxes/{made}")
                client.want(204, "DELETE", f"/sandboxes/{made}")
                case.assertEqual(client.call("GET", f"/sandboxes/{made}").status, 404)
            answer = asked.answer()
        return answer.status if answer.status == 201 else answer.json["code"]

    for looks in range(rounds):
        with case.subTest(way=way, looks=looks):
            # The pool's members may just have gone to those before.
            outcomes.add(until("it was not refused", lambda: (
                lambda told: told if told != "boot_path_unavailable" else None)(delete_while_made(looks))))
    case.assertLessEqual(outcomes, {201, "cancelled"})
    case.assertEqual(ids(), before)


class Alone(Case, Copies):
    """A single server is a cluster of one."""
    config = pool_config(least=1, most=2)

    def test_a_sandbox_that_is_deleted_while_it_is_made_leaves_nothing(self):
        pool = Pool(self.daemon, self.image("library/busybox:latest"))
        pool.warm()
        for way in "cold", "auto", "pool":
            pool.filled(1)
            check_deletes_while_made(self, way, 8 if way != "pool" else 1)
        until("no sandbox' VM is left", lambda: not [id for id in machines(self.daemon.data) if id.startswith("sb-")])

    def look_for_leaks(self):
        super().look_for_leaks()
        self.client.call("DELETE", "/templates/busybox?force=1")
        until("the pool is gone with its template", lambda: not machines(self.daemon.data) or None)


class Askers(ClusterCase):
    """Each has all kinds of requests under way on a node when its connection breaks."""

    def setUp(self):
        super().setUp()
        self.ready()
        self.node, self.other = self.nodes
        self.sandbox = self.create_on(self.node)
        self.path = f"/sandboxes/{self.sandbox}"

    def begin_all(self):
        """Every kind of request that lasts. {name: what waits for its end}"""
        self.sh(self.sandbox, "truncate -s 1G /root/big")
        events = {"exec": Events(self.client, "POST", f"{self.path}/exec", {"command": "sleep", "args": ["1000"]}),
                  "attach": Events(self.client, "GET", f"{self.path}/processes/{self.start(self.sandbox, 'sleep 1000')}/output"),
                  "logs": Events(self.client, "GET", f"{self.path}/logs?follow=1")}
        for name in ("exec", "logs"):
            next(events[name])
        terminal = WebSocket(self.client.address, f"/api/v1{self.path}/terminal")
        terminal.send(2, b"echo $((40 + 2))\n")
        terminal.read_until(b"42")
        download = socket.create_connection(self.client.address.split(":"), timeout=60)
        download.sendall(f"GET /api/v1{self.path}/files?path=/root/big HTTP/1.1\r\nHost: control\r\n\r\n".encode())
        download.recv(100)
        for each in (*events.values(), terminal.socket, download):
            self.addCleanup(each.close)

        def drained():
            while download.recv(1 << 20):
                pass

        waiting = {name: Waiting(name, lambda each=each: gather(each)) for name, each in events.items()}
        waiting["terminal"] = Waiting("terminal", terminal.closing)
        waiting["plain"] = Waiting("plain", lambda: self.client.call(
            "POST", f"{self.path}/exec", {"command": "sleep", "args": ["1000"], "timeout_ms": 0}))
        until("they run", lambda: self.sh(self.sandbox, "ps | grep -c '[s]leep 1000'") == "3\n")
        return waiting, drained

    def check_all_are_told(self, fault):
        waiting, drained = self.begin_all()
        epoch, done, enough = self.node.epoch, [], threading.Event()

        def ask():
            while not enough.is_set():
                began = time.monotonic()
                answer = self.client.call("POST", f"{self.path}/exec", {"command": "true"})
                done.append((answer, time.monotonic() - began))
        askers = [threading.Thread(target=ask, daemon=True) for _ in range(4)]
        self.addCleanup(enough.set)
        for asker in askers:
            asker.start()
        until("they are at it", lambda: len(done) >= 8)
        broken = time.monotonic()
        with fault():
            waiting["download"] = Waiting("download", drained)
            until("all are told", lambda: all(each.ended for each in waiting.values()) or None, 2 * LOST)
        until("it is back", lambda: self.node.epoch > epoch and self.node.status == "ready", BACK)
        enough.set()
        for asker in askers:
            asker.join()
        for name, each in waiting.items():
            with self.subTest(name):
                self.assertLess(each.ended - broken, 2 * LOST)
        for name in ("exec", "attach", "logs"):
            with self.subTest(name):
                self.assertIn(waiting[name].told["error"]["code"], TOLD, waiting[name].told)
        self.assertIn(waiting["plain"].told.json["code"], TOLD, waiting["plain"].told)
        failed = [answer for answer, _ in done if answer.status != 200]
        self.assertTrue(failed)
        for answer in failed:
            self.assertIn(answer.json["code"], TOLD, answer)
        self.assertLess(max(seconds for _, seconds in done), 2 * LOST)
        self.back(self.node, self.sandbox)

    def test_whoever_asks_while_a_cable_is_cut_is_answered_in_time(self):
        self.check_all_are_told(self.node.unplugged)

    def test_whoever_asks_while_a_connection_breaks_off_is_answered_in_time(self):
        self.check_all_are_told(self.node.reset)

    @contextlib.contextmanager
    def killed(self):
        self.node.child.end(signal.SIGKILL)
        yield
        self.node.start()

    def test_whoever_asks_while_a_node_dies_is_answered_in_time(self):
        self.check_all_are_told(self.killed)

    def test_a_sandbox_that_is_deleted_while_its_node_is_away_was_lost_with_it(self):
        elsewhere = self.create_on(self.other)
        with self.killed():
            self.check_lost(self.node, self.sandbox)
            self.client.want(204, "DELETE", self.path)
            death = self.client.want(200, "GET", f"{self.path}/death")
            self.assertEqual((death["cause"], death["node_id"]), ("node_lost", self.node.name))
        self.client.want(204, "DELETE", f"/sandboxes/{elsewhere}")
        told = self.client.want(200, "GET", f"/sandboxes/{elsewhere}/death")
        self.assertEqual((told["cause"], told["node_id"]), ("asked", self.other.name))
        self.back(self.node)
        until("its node ended it", lambda: self.sandbox not in self.node.sandboxes())
        self.assertEqual(self.client.want(200, "GET", f"{self.path}/death"), death)

    def test_a_sandbox_that_is_deleted_while_its_template_is_fetched_leaves_nothing(self):
        self.client.want(204, "DELETE", self.path)
        self.client.want(204, "DELETE", "/templates/busybox")
        until("no node has a template", lambda: not any(self.templates_of(node) for node in self.nodes))
        with self.only(self.other):
            self.ready("travelling")
        with self.other.rule("input", f"ip saddr {self.node.address} drop"), self.only(self.node), \
                self.meanwhile("POST", "/sandboxes", {"template": "travelling", "resources": {"memory_mb": 64}}) as asked:
            made = until("it is being made", lambda: next(
                iter(self.client.want(200, "GET", "/sandboxes")["items"]), None))
            self.assertEqual(made["status"], "creating")
            self.client.want(204, "DELETE", f"/sandboxes/{made['id']}")
            self.assertEqual(asked.answer().json["code"], "cancelled", asked.answer())
        self.assertEqual(self.client.call("GET", f"/sandboxes/{made['id']}").status, 404)
        self.assertEqual(self.node.sandboxes(), set())
        self.create_on(self.node, "travelling")

    def templates_of(self, node):
        return self.client.want(200, "GET", f"/nodes/{node.name}")["templates"]

    def test_a_sandbox_that_is_deleted_while_it_is_made_leaves_nothing(self):
        with self.only(self.node):
            for way in "cold", "auto":
                check_deletes_while_made(self, way)
        until("its VM is gone", lambda: self.node.sandboxes() == {self.sandbox})

    def test_a_control_plane_that_cannot_listen_says_so_and_ends(self):
        other = Control(self.folder, "deaf", 2)
        self.addCleanup(other.close)
        taken = other.network.run(lambda: socket.create_server((other.address, CLUSTER_PORT)))
        self.addCleanup(taken.close)
        for role in "control", "all":
            with self.subTest(role):
                self.check_fails(other, f"{other.address}:{CLUSTER_PORT}", "--role", role)

    def check_fails(self, daemon, word, *flags):
        """It ends with an error that names it."""
        code, said = daemon.fails_to_join(*flags)
        self.assertNotIn(code, (0, -signal.SIGKILL))
        complaint = [line for line in said.splitlines() if line.startswith("nanoboxd: ")]
        self.assertEqual(len(complaint), 1, said)
        self.assertIn(word, complaint[0])

    def test_a_control_plane_without_a_folder_for_outputs_says_so_and_ends(self):
        other = Control(self.folder, "full", 3)
        self.addCleanup(other.close)
        other.data.mkdir(exist_ok=True)
        (other.data / "spool").touch()
        self.check_fails(other, "spool")


class Hostile(ClusterCase):
    """A node with a token and a certificate that does its worst (tests/actors/cluster/hostile_node.cpp)."""

    def test_a_hostile_node_harms_nothing_but_its_own_connection(self):
        self.ready()
        self.node, self.other = self.nodes
        sandboxes = [self.create_on(node) for node in self.nodes]
        with Events(self.client, "POST", f"/sandboxes/{sandboxes[0]}/exec", {"command": "cat"}) as events:
            _, started, _ = next(events)
            before, epochs = self.seen_by_all(), [node.epoch for node in self.nodes]
            self.let_loose(sandboxes[0])
            self.assertEqual(self.seen_by_all(), before)
            self.assertEqual([node.epoch for node in self.nodes], epochs, "others were disconnected")
            # What was under way goes on.
            process = f"/sandboxes/{sandboxes[0]}/processes/{started['process_id']}/stdin?eof=1"
            self.client.want(204, "POST", process, b"still here\n")
            self.assertEqual(gather(events)["stdout"], b"still here\n")
        until("it is lost", lambda: self.client.want(200, "GET", "/nodes/hostile")["status"] == "lost", LOST)
        self.client.want(204, "DELETE", "/nodes/hostile")
        for node, sandbox in zip(self.nodes, sandboxes):
            self.assertEqual(node.sandboxes(), {sandbox})
            self.assertEqual(self.sh(sandbox, "echo well"), "well\n")
            self.create_on(node)
        # The door is open to nodes that come in.
        with self.node.unplugged():
            self.check_lost(self.node, sandboxes[0])
        self.back(self.node, sandboxes[0])

    def let_loose(self, sandbox):
        folder = self.folder / "hostile"
        folder.mkdir()
        token = folder / "token"
        token.write_text(self.control.token()["token"])
        said = folder / "said"
        hostile = self.other.network.run(lambda: Child(
            [BUILD / "tests/hostile_node", f"{CONTROL_ADDRESS}:{JOIN_PORT}", token, folder, "hostile", self.node.name, sandbox,
             "busybox", "admin"], said))
        try:
            until("it did its worst", lambda: hostile.process.poll() is not None, 60)
        finally:
            hostile.end(signal.SIGKILL)
        self.assertEqual(said.read_text().splitlines()[-1:], ["it did its worst"], said.read_text())

    def seen_by_all(self):
        """What users see of sandboxes, templates and runs."""
        items = lambda path: self.client.want(200, "GET", path)["items"]  # noqa: E731
        return {"sandboxes": [(item["id"], item["status"], item["node_id"]) for item in items("/sandboxes")],
                "templates": [(item["name"], item["status"], item["digest"]) for item in items("/templates")],
                "runs": [(item["id"], item["status"]) for item in items("/pipelines/runs")],
                "nodes": [(item["id"], item["status"], item["cordoned"]) for item in items("/nodes") if item["id"] != "hostile"]}


if __name__ == "__main__":
    unittest.main()
