"""A control plane and its nodes: sandboxes on another host are as local ones, whatever becomes of the hosts and the cables."""
import collections
import concurrent.futures
import contextlib
import datetime
import hashlib
import itertools
import json
import os
import random
import signal
import socket
import ssl
import time
import unittest

from cluster import BACK, CLUSTER_PORT, CONTROL_ADDRESS, JOIN_PORT, LOST, SMALL, ClusterCase, Control, Node
from events import Events, bytes_of, gather
from harness import until
from websocket import BINARY, WebSocket


class Remote(ClusterCase):
    """The template is from the first node, the sandboxes are on the second."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.first, cls.second = cls.nodes

    def setUp(self):
        super().setUp()
        with self.only(self.first):
            self.ready()

    def file(self, method, sandbox, path, body=None):
        headers = {"Content-Type": "application/octet-stream"} if body is not None else None
        return self.client.call(method, f"/sandboxes/{sandbox}/files?path={path}", body, headers)

    def test_a_template_of_another_node_comes_with_equal_content(self):
        for entry in self.client.want(200, "GET", "/templates")["items"]:
            self.client.call("DELETE", f"/templates/{entry['name']}?force=1")
        until("no node has one", lambda: not any(self.templates_of(node) for node in self.nodes))
        with self.only(self.first):
            self.ready("travelling")
        until("its node has it", lambda: self.templates_of(self.first) == 1)
        self.assertEqual(self.templates_of(self.second), 0)
        sandboxes = [self.create_on(node, "travelling") for node in self.nodes]
        until("the other has it too", lambda: self.templates_of(self.second) == 1)
        sums = [self.sh(sandbox, "find /bin /etc /root -xdev -type f ! -name hosts ! -name hostname ! -name 'resolv*' "
                                 "| sort | xargs md5sum") for sandbox in sandboxes]
        self.assertIn("/bin/busybox", sums[0])
        self.assertEqual(*sums)
        runs = self.client.want(200, "GET", "/pipelines/runs?kind=boot")["items"]
        place = {run["subject"]: run["stages"][0] for run in runs if run["subject"] in sandboxes}
        self.assertEqual([place[sandbox]["name"] for sandbox in sandboxes], ["place", "place"])
        self.assertRegex(place[sandboxes[1]]["detail"], rf"template fetched from {self.first.address}:[0-9]+: [0-9]+ bytes")

    def templates_of(self, node):
        return self.client.want(200, "GET", f"/nodes/{node.name}")["templates"]

    def test_it_is_where_it_says(self):
        sandbox = self.create_on(self.second)
        self.assertIn(sandbox, self.second.machines())
        self.assertNotIn(sandbox, self.first.machines())
        listed = self.client.want(200, "GET", f"/sandboxes?node_id={self.second.name}")["items"]
        self.assertEqual([item["id"] for item in listed], [sandbox])

    def test_commands_run_there(self):
        sandbox = self.create_on(self.second, env={"WHO": "remote"})
        outcome = self.client.exec(sandbox, "sh", "-c", "echo $WHO; cat; echo err >&2; exit 3", stdin="in\n" * 50_000)
        self.assertEqual((outcome["stdout"], outcome["stderr"], outcome["exit_code"]), ("remote\n" + "in\n" * 50_000, "err\n", 3))
        path = f"/sandboxes/{sandbox}/exec"
        with Events(self.client, "POST", path, {"command": "sh", "args": ["-c", "echo first; read line; echo got $line"]}) as events:
            name, started, _ = next(events)
            self.assertEqual(name, "started")
            self.assertEqual(bytes_of(next(events)[1]), b"first\n")
            answer = self.client.call("POST", f"/sandboxes/{sandbox}/processes/{started['process_id']}/stdin?eof=1", b"word\n")
            self.assertEqual(answer.status, 204, answer)
            found = gather(events)
        self.assertEqual((found["stdout"], found["exit"]["exit_code"]), (b"got word\n", 0))
        with Events(self.client, "POST", path, {"command": "seq", "args": ["1", "300000"], "stdin": ""}) as events:
            self.assertEqual(gather(events)["stdout"].decode().split(), [str(number) for number in range(1, 300_001)])
        self.assertEqual(self.client.call("POST", path, {"command": "pwd", "cwd": "/nowhere"}).json["code"], "cwd_not_found")

    def test_a_detached_command_lives_on_and_its_output_is_kept(self):
        sandbox = self.create_on(self.second)
        process = self.start(sandbox, "echo one; read line; echo $line; exit 5")
        self.assertEqual(self.process(sandbox, process)["state"], "running")
        self.client.want(204, "POST", f"/sandboxes/{sandbox}/processes/{process}/stdin?eof=1", b"two\n")
        until("it has ended", lambda: self.process(sandbox, process)["state"] == "exited")
        self.assertEqual((self.output(sandbox, process), self.process(sandbox, process)["exit_code"]), ("one\ntwo\n", 5))

    def test_files_go_both_ways(self):
        sandbox, content = self.create_on(self.second), os.urandom(1 << 20)
        self.assertEqual(self.file("PUT", sandbox, "/data/deep/file.bin", content).status, 204)
        self.assertEqual(self.sh(sandbox, "sha256sum /data/deep/file.bin").split()[0], hashlib.sha256(content).hexdigest())
        answer = self.file("GET", sandbox, "/data/deep/file.bin")
        self.assertEqual((answer.status, answer.body == content), (200, True))
        self.assertEqual(self.file("GET", sandbox, "/nowhere").json["code"], "file_not_found")

    def test_its_console_is_read_and_followed(self):
        sandbox = self.create_on(self.second)
        self.assertIn(b"NANOBOX_READY", self.client.call("GET", f"/sandboxes/{sandbox}/logs").body)
        with Events(self.client, "GET", f"/sandboxes/{sandbox}/logs?follow=1") as events:
            seen = b""
            while b"NANOBOX_READY" not in seen:
                seen += bytes_of(next(events)[1])
            self.sh(sandbox, "echo told-on-the-console > /dev/ttyS0")
            while b"told-on-the-console" not in seen:
                seen += bytes_of(next(events)[1])

    def test_services_in_it_are_reached(self):
        sandbox = self.create_on(self.second)
        self.start(sandbox, "mkdir /srv; echo hello > /srv/index.html; exec httpd -f -p 127.0.0.1:8000 -h /srv")
        self.start(sandbox, "nc -l -p 8001 -e cat")
        for port in 8000, 8001:
            until("it listens", lambda: f":{port} " in self.sh(sandbox, "netstat -ltn"))
        self.assertEqual(self.client.call("GET", f"/sandboxes/{sandbox}/ports/8000/index.html").body, b"hello\n")
        echo = WebSocket(self.client.address, f"/api/v1/sandboxes/{sandbox}/tcp/8001")
        self.addCleanup(echo.socket.close)
        content, seen = os.urandom(100_000), b""
        echo.send(BINARY, content)
        while len(seen) < len(content):
            seen += echo.receive()[1]
        self.assertEqual(seen, content)

    def test_it_is_paused_resumed_and_forked_there(self):
        sandbox = self.with_witness_on(self.second)
        count = len(self.lines(sandbox))
        self.assertEqual(self.pause(sandbox)["status"], "paused")
        self.assertEqual(self.client.call("POST", f"/sandboxes/{sandbox}/exec", {"command": "true"}).json["code"], "sandbox_paused")
        resumed = self.resume(sandbox)
        self.assertEqual((resumed["status"], resumed["node_id"]), ("running", self.second.name))
        lines = self.more_lines(sandbox, count + 20)
        self.check_goes_on(lines)
        children = self.fork(sandbox, 2)
        for child in children:
            self.assertEqual(self.seen(child)["node_id"], self.second.name)
            self.check_goes_on(self.more_lines(child, len(lines) + 20))
            self.assertEqual(self.sh(child, "hostname"), f"{child}\n")
        self.assertEqual(self.second.sandboxes(), {sandbox, *children})

    def with_witness_on(self, node, **more):
        with self.only(node):
            return self.with_witness("busybox", **more)

    def test_its_life_is_prolonged_and_ended(self):
        sandbox = self.create_on(self.second, timeout_sec=60)
        before = self.seen(sandbox)["expires_at"]
        kept = self.client.want(200, "POST", f"/sandboxes/{sandbox}/keepalive", {"timeout_sec": 600})
        self.assertGreater(kept["expires_at"], before)
        self.assertEqual(self.seen(sandbox)["expires_at"], kept["expires_at"])
        self.client.want(204, "DELETE", f"/sandboxes/{sandbox}")
        self.assertEqual(self.client.call("GET", f"/sandboxes/{sandbox}").status, 404)
        self.assertEqual(self.client.call("DELETE", f"/sandboxes/{sandbox}").status, 404)
        until("its VM is gone", lambda: not self.second.sandboxes())
        short = self.create_on(self.second, timeout_sec=1)
        until("its time is over", lambda: self.client.call("GET", f"/sandboxes/{short}").status == 404)
        until("its VM is gone", lambda: not self.second.sandboxes())

    def test_a_lost_ones_problem_says_that_it_may_come_back(self):
        sandbox = self.create_on(self.second)
        with self.second.unplugged():
            self.check_lost(self.second, sandbox)
            for method, what, body in (("POST", "exec", {"command": "true"}), ("GET", "files?path=/", None), ("GET", "logs", None),
                                       ("POST", "pause", {}), ("POST", "fork", {}), ("POST", "keepalive", {})):
                with self.subTest(what):
                    answer = self.client.call(method, f"/sandboxes/{sandbox}/{what}", body)
                    self.assertEqual((answer.status, answer.json["code"]), (409, "sandbox_lost"), answer)
        self.back(self.second, sandbox)


class Strangers(ClusterCase):
    """Whoever reaches the cluster's ports and is not of the cluster."""

    def setUp(self):
        super().setUp()
        self.ready()
        self.sandbox = self.create_on(self.nodes[1])
        self.doors = [(CONTROL_ADDRESS, CLUSTER_PORT), (CONTROL_ADDRESS, JOIN_PORT)]
        for node in self.nodes:
            ports = [port for port in node.listening() if port != 53]
            self.assertGreaterEqual(len(ports), 1)
            self.doors += [(node.address, port) for port in ports]

    def check_do_no_harm(self, text: bytes, count=5):
        """Nodes stay connected while such ones are there and after they left, and what the nodes do works."""
        for door in self.doors:
            with self.subTest(door):
                epochs = [node.epoch for node in self.nodes]
                with contextlib.ExitStack() as stack:
                    for _ in range(count):
                        client = stack.enter_context(socket.create_connection(door, timeout=10))
                        with contextlib.suppress(OSError):  # it may have been thrown out already
                            client.sendall(text)
                    self.check_all_is_well(epochs)
                self.check_all_is_well(epochs)

    def check_all_is_well(self, epochs):
        beats = [self.beat(node) for node in self.nodes]
        until("each is heard again", lambda: all(self.beat(node) > before for node, before in zip(self.nodes, beats)))
        self.assertEqual(self.sh(self.sandbox, "echo well"), "well\n")
        self.assertEqual([node.epoch for node in self.nodes], epochs, "nodes were disconnected")

    def beat(self, node):
        return self.client.want(200, "GET", f"/nodes/{node.name}")["last_heartbeat_at"]

    def test_idle_connections_do_no_harm(self):
        self.check_do_no_harm(b"", 20)

    def test_other_protocols_do_no_harm(self):
        for text in b"GET / HTTP/1.1\r\n\r\n", b"\0" * 5000, random.Random(4).randbytes(70_000):
            self.check_do_no_harm(text)

    def test_half_a_tls_handshake_does_no_harm(self):
        self.check_do_no_harm(bytes.fromhex("16030100ff010000fb0303"))  # a ClientHello's beginning

    def test_a_tls_client_without_a_certificate_does_no_harm(self):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        for door in self.doors:
            with self.subTest(door):
                epochs = [node.epoch for node in self.nodes]
                with contextlib.suppress(OSError), socket.create_connection(door, timeout=10) as plain, \
                        context.wrap_socket(plain) as client:
                    client.sendall(b"x" * 1000)
                    client.recv(1000)
                self.check_all_is_well(epochs)

    def test_nodes_come_in_while_strangers_wait_at_the_doors(self):
        node = self.nodes[0]
        with contextlib.ExitStack() as stack:
            for door in self.doors * 10:
                stack.enter_context(socket.create_connection(door, timeout=10))
            epoch = node.epoch
            with node.unplugged():
                self.check_lost(node)
            self.back(node)
            self.assertGreater(node.epoch, epoch)
            # A template comes from one of them to the other, too.
            with self.only(node):
                self.ready("travelling")
            self.create_on(self.nodes[1], "travelling")


class Joining(ClusterCase):
    nodes_wanted = 1
    numbers = itertools.count(100)

    def stranger(self, **more):
        number = next(self.numbers)
        node = Node(self.folder, f"stranger{number}", number, self.control, **more)
        self.addCleanup(node.close)
        return node

    def check_refused(self, node, *flags, words):
        code, said = node.fails_to_join(*flags)
        self.assertNotEqual(code, 0)
        complaint = [line for line in said.splitlines() if line.startswith("nanoboxd: ")]
        self.assertEqual(len(complaint), 1, said)
        for word in words:
            self.assertRegex(complaint[0].lower(), word)
        self.assertEqual([item["id"] for item in self.client.want(200, "GET", "/nodes")["items"]], ["n1"])

    def test_a_node_is_listed_with_what_it_has(self):
        node, = self.client.want(200, "GET", "/nodes")["items"]
        self.assertEqual((node["id"], node["status"], node["cordoned"], node["draining"]), ("n1", "ready", False, False))
        self.assertGreater(node["resources"]["total"]["memory_mb"], 0)
        self.assertGreaterEqual(node["epoch"], 1)
        self.assertTrue(node["subnet_part"])
        answer = self.client.call("DELETE", "/nodes/n1")
        self.assertEqual((answer.status, answer.json["code"]), (409, "conflict"))

    def test_a_token_that_nobody_gave_is_refused(self):
        node, good = self.stranger(), self.control.token()["token"]
        wrong = good[:-4] + ("aaaa" if good[-4:] != "aaaa" else "bbbb")
        self.check_refused(node, *node.join_flags(node.token_file(wrong)), words=["token"])
        self.check_refused(node, *node.join_flags(node.token_file("nonsense")), words=["token"])
        self.check_refused(node, *node.join_flags(node.token_file("")), words=["token"])

    def test_a_used_token_is_refused(self):
        node = self.stranger()
        self.check_refused(node, *node.join_flags(node.token_file(self.nodes[0].token)), words=["token", "used"])

    def test_an_expired_token_is_refused(self):
        node, given = self.stranger(), self.control.token(lifetime_sec=1)
        end = datetime.datetime.fromisoformat(given["expires_at"].replace("Z", "+00:00")).timestamp()
        until("its time is over", lambda: time.time() > end)
        self.check_refused(node, *node.join_flags(node.token_file(given["token"])), words=["good until", "another token"])

    def test_a_token_of_another_cluster_is_refused(self):
        other = Control(self.folder, "other", 2)
        self.addCleanup(other.close)
        self.addCleanup(lambda: self.assertEqual(other.end(), []))
        other.start()
        node = self.stranger()
        self.check_refused(node, *node.join_flags(node.token_file(other.token()["token"])), words=["."])
        self.assertEqual(other.client.want(200, "GET", "/nodes")["items"], [])

    def test_a_node_id_that_another_has_is_refused(self):
        node = self.stranger(node_id="n1")
        before = self.nodes[0].epoch
        self.check_refused(node, *node.join_flags(node.token_file(self.control.token()["token"])), words=["n1", "another"])
        self.assertEqual((self.nodes[0].epoch, self.nodes[0].status), (before, "ready"))

    def test_a_node_of_another_version_is_told_both_and_keeps_its_token(self):
        token = self.control.token()["token"]
        answer = self.ask_to_join({"protocol": 2, "program": "9.9.9", "token": token.rpartition("_")[2], "csr": "", "node_id": "newer"})
        self.assertEqual(answer["error"]["code"], "version_incompatible", answer)
        self.assertIn("version 2 (NanoBox 9.9.9)", answer["error"]["reason"])
        ours = self.client.want(200, "GET", "/nodes/n1")["version"]
        self.assertIn(f"version 1 (NanoBox {ours})", answer["error"]["reason"])
        answer = self.ask_to_join({"protocol": 1, "program": "9.9.9", "token": token.rpartition("_")[2], "csr": "nonsense",
                                   "node_id": "newer"})
        self.assertNotIn(answer["error"]["code"], ("version_incompatible", "token_invalid"), answer)

    def ask_to_join(self, request):
        """What the join listener answers to whoever speaks its protocol."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["nanobox-join"])
        with socket.create_connection((CONTROL_ADDRESS, JOIN_PORT), timeout=10) as plain, context.wrap_socket(plain) as stream:
            text = json.dumps(request).encode()
            stream.sendall(len(text).to_bytes(4, "big") + text)
            answer = stream.makefile("rb")
            return json.loads(answer.read(int.from_bytes(answer.read(4), "big")))

    def test_a_token_that_others_may_read_is_refused(self):
        node, given = self.stranger(), self.control.token()["token"]
        for mode in 0o640, 0o604:
            self.check_refused(node, *node.join_flags(node.token_file(given, mode)), words=["token", "others", "chmod"])

    def test_one_without_a_token_or_a_control_plane_says_so(self):
        node = self.stranger()
        self.check_refused(node, words=["--join"])
        file = node.token_file(self.control.token()["token"])
        self.check_refused(node, *node.join_flags(file, f"{CONTROL_ADDRESS}:1"), words=[CONTROL_ADDRESS])
        self.check_refused(node, *node.join_flags(node.folder / "no-token"), words=["token", "not there"])

    def test_a_node_that_was_removed_is_let_in_no_more(self):
        node = self.add_node("leaving", 98)
        try:
            self.assertEqual(node.end(), [])
            until("it is lost", lambda: node.status == "lost", LOST)
            self.client.want(204, "DELETE", "/nodes/leaving")
            self.assertFalse(node.is_known())
            node.launch()
            until("it is told", lambda: "none of this cluster" in node.log.read_text())
            self.assertFalse(node.is_known())
            self.assertEqual(node.end(), [])
        finally:
            self.nodes.remove(node)
            self.members.remove(node)
            node.close()


class Away(ClusterCase):
    """Nodes, cables and the control plane fail and come back."""

    def setUp(self):
        super().setUp()
        self.ready()
        self.node, self.other = self.nodes
        self.other_sandbox = self.create_on(self.other)

    def with_witness_there(self, **more):
        with self.only(self.node):
            return self.with_witness("busybox", **more)

    def check_the_others_work(self):
        self.assertEqual(self.other.status, "ready")
        self.assertEqual(self.sh(self.other_sandbox, "echo well"), "well\n")

    def test_a_killed_nodes_sandboxes_are_lost_until_it_is_back(self):
        sandbox = self.with_witness_there()
        machine, epoch = self.node.machines()[sandbox]["pid"], self.node.epoch
        self.node.child.end(signal.SIGKILL)
        self.check_lost(self.node, sandbox)
        self.check_the_others_work()
        self.node.start()
        self.back(self.node, sandbox)
        self.assertEqual(self.node.machines()[sandbox]["pid"], machine)
        self.check_goes_on(self.more_lines(sandbox, len(self.lines(sandbox))))
        self.assertGreater(self.node.epoch, epoch)

    def test_a_stopped_node_comes_back_by_itself(self):
        sandbox = self.with_witness_there()
        pid = self.node.child.process.pid
        os.kill(pid, signal.SIGSTOP)
        self.addCleanup(os.kill, pid, signal.SIGCONT)
        self.check_lost(self.node, sandbox)
        self.check_the_others_work()
        os.kill(pid, signal.SIGCONT)
        self.back(self.node, sandbox)
        self.check_goes_on(self.more_lines(sandbox, len(self.lines(sandbox))))

    def check_cable(self, fault):
        sandbox, epoch = self.create_on(self.node), self.node.epoch
        with fault():
            self.check_lost(self.node, sandbox)
            self.check_the_others_work()
        self.back(self.node, sandbox)
        self.assertGreater(self.node.epoch, epoch)

    def test_a_node_whose_cable_is_cut_comes_back(self):
        self.check_cable(self.node.unplugged)

    def test_a_node_that_hears_nothing_comes_back(self):
        self.check_cable(self.node.deaf)

    def test_a_node_that_is_not_heard_comes_back(self):
        self.check_cable(self.node.mute)

    def test_a_command_on_its_way_is_told_that_its_node_is_lost(self):
        sandbox = self.create_on(self.node)
        with self.meanwhile("POST", f"/sandboxes/{sandbox}/exec", {"command": "sleep", "args": ["300"], "timeout_ms": 0}) as asked, \
                Events(self.client, "POST", f"/sandboxes/{sandbox}/exec", {"command": "sleep", "args": ["300"]}) as events:
            next(events)
            until("both run", lambda: self.sh(sandbox, "ps | grep -c '[s]leep 300'") == "2\n")
            with self.node.unplugged():
                self.check_lost(self.node, sandbox)
                self.assertGreaterEqual(asked.answer().status, 409)
                self.assertIn("error", gather(events))
            self.back(self.node, sandbox)

    def test_sandboxes_run_on_while_the_control_plane_is_away(self):
        sandbox = self.with_witness_there()
        known = self.client.want(200, "GET", "/sandboxes")["items"]
        pids = {id: node.machines()[id]["pid"] for node in self.nodes for id in node.sandboxes()}
        self.control.child.end(signal.SIGKILL)
        killed = time.time_ns()
        self.control.start()
        started = time.time_ns()
        for node in self.nodes:
            self.back(node)
        self.back(self.node, sandbox, self.other_sandbox)
        self.assertEqual({id: node.machines()[id]["pid"] for node in self.nodes for id in node.sandboxes()}, pids)
        lines = self.more_lines(sandbox, len(self.lines(sandbox)))
        self.check_goes_on(lines)
        self.assertTrue([line for line in lines if killed < line.wall_ns < started], "it stood still")
        ids = lambda items: sorted((item["id"], item["node_id"], item["status"], item["expires_at"]) for item in items)  # noqa: E731
        self.assertEqual(ids(self.client.want(200, "GET", "/sandboxes")["items"]), ids(known))
        self.check_the_others_work()
        self.create_on(self.node)

    def check_ended_there(self, *sandboxes):
        for sandbox in sandboxes:
            until("its VM is gone", lambda: sandbox not in self.node.machines())
            self.assertEqual(self.client.call("GET", f"/sandboxes/{sandbox}").status, 404)
        self.assertEqual([item["id"] for item in self.client.want(200, "GET", "/sandboxes")["items"]], [self.other_sandbox])

    def remove(self, sandbox):
        self.client.want(204, "DELETE", f"/sandboxes/{sandbox}")
        self.assertEqual(self.client.call("GET", f"/sandboxes/{sandbox}").status, 404)

    def test_what_is_deleted_while_its_node_is_cut_off_is_ended_there(self):
        sandbox, paused = self.create_on(self.node), self.create_on(self.node)
        self.pause(paused)
        with self.node.unplugged():
            self.check_lost(self.node, sandbox, paused)
            self.remove(sandbox)
            self.remove(paused)
            self.assertIn(sandbox, self.node.machines())
        self.back(self.node)
        self.check_ended_there(sandbox, paused)
        until("nothing is left on the disk", lambda: not list((self.node.data / "snapshots/sandboxes").iterdir()))

    def test_what_is_deleted_while_its_node_is_dead_is_ended_there(self):
        sandbox = self.create_on(self.node)
        self.node.child.end(signal.SIGKILL)
        self.check_lost(self.node, sandbox)
        self.remove(sandbox)
        # The control plane does not forget it either.
        self.control.child.end(signal.SIGKILL)
        self.control.start()
        self.assertEqual(self.client.call("GET", f"/sandboxes/{sandbox}").status, 404)
        self.node.start()
        self.back(self.node)
        until("the other is back", lambda: self.other.status == "ready", BACK)
        self.check_ended_there(sandbox)

    def test_what_was_refused_since_its_node_hung_does_not_come_up_later(self):
        pid = self.node.child.process.pid
        os.kill(pid, signal.SIGSTOP)
        self.addCleanup(os.kill, pid, signal.SIGCONT)
        with self.only(self.node):
            answer = self.client.call("POST", "/sandboxes", {"template": "busybox"})
            self.assertEqual((answer.status, answer.json["code"]), (503, "node_lost"), answer)
        # What the node was asked may wait in its connection still, and the control plane that knew it was refused is gone.
        self.control.child.end(signal.SIGKILL)
        self.control.start()
        os.kill(pid, signal.SIGCONT)
        self.back(self.node)
        self.back(self.other, self.other_sandbox)
        until("no other is there", lambda: not self.node.sandboxes())
        self.assertEqual([item["id"] for item in self.client.want(200, "GET", "/sandboxes")["items"]], [self.other_sandbox])

    def test_what_expires_while_the_control_plane_is_away_is_gone(self):
        sandbox = self.create_on(self.node, timeout_sec=3)
        self.control.child.end(signal.SIGKILL)
        until("its VM is gone", lambda: sandbox not in self.node.machines())
        self.control.start()
        for node in self.nodes:
            self.back(node)
        until("it is gone", lambda: self.client.call("GET", f"/sandboxes/{sandbox}").status == 404)
        self.back(self.other, self.other_sandbox)


class Placing(ClusterCase):
    nodes_wanted = 3

    def setUp(self):
        super().setUp()
        self.ready()

    def would(self, status=200, **more):
        return self.client.want(status, "POST", "/sandboxes?dry_run=1", {"template": "busybox", **more})

    def test_nothing_new_comes_to_a_cordoned_node(self):
        first, second, third = self.nodes
        there = self.create_on(first)
        with self.only(second, third):
            node = self.client.want(200, "GET", "/nodes/n1")
            self.assertEqual((node["status"], node["cordoned"]), ("ready", True))
            told = self.would()
            self.assertIn(told["node_id"], ("n2", "n3"))
            self.assertTrue(told["because"])
            others = {other["node_id"]: other for other in told["others"]}
            self.assertEqual(set(others), {"n1", "n2", "n3"} - {told["node_id"]})
            self.assertFalse(others["n1"]["fits"])
            self.assertIn("cordon", others["n1"]["why"])
            for _ in range(3):
                self.assertNotEqual(self.client.create("busybox")["node_id"], "n1")
            self.assertEqual(self.sh(there, "echo well"), "well\n")
        self.assertEqual(len(self.client.want(200, "GET", "/sandboxes")["items"]), 4)  # dry runs made none
        with self.only():
            answer = self.client.call("POST", "/sandboxes", {"template": "busybox"})
            self.assertEqual((answer.status, answer.json["code"]), (503, "no_capacity"), answer)
        self.create_on(first)

    def test_a_drained_nodes_sandboxes_are_paused_where_no_other_takes_them(self):
        for deadline in 0, 1:
            with self.subTest(deadline):
                node = self.nodes[0]
                sandbox, other = self.create_on(node), self.create_on(self.nodes[1])
                self.sh(sandbox, "echo kept > /root/mark")
                with self.only(node):  # no other takes it
                    answer = self.client.want(200, "POST", f"/nodes/{node.name}/drain", {"deadline_sec": deadline})
                    self.assertEqual((answer["status"], answer["draining"], answer["cordoned"]), ("draining", True, True))
                    until("it is paused", lambda: self.seen(sandbox)["status"] == "paused")
                self.assertNotEqual(self.would()["node_id"], node.name)
                self.assertEqual(self.sh(other, "echo well"), "well\n")
                answer = self.client.want(200, "POST", f"/nodes/{node.name}/uncordon", {})
                self.assertEqual((answer["status"], answer["draining"], answer["cordoned"]), ("ready", False, False))
                self.assertEqual(self.resume(sandbox)["status"], "running")
                self.assertEqual(self.sh(sandbox, "cat /root/mark"), "kept\n")
                self.create_on(node)
                self.control.remove_everything()

    def test_of_many_at_once_each_is_made_once(self):
        wanted = {"template": "busybox", "resources": {**SMALL, "memory_mb": 64}}
        with concurrent.futures.ThreadPoolExecutor(60) as pool:
            answers = list(pool.map(lambda _: self.client.call("POST", "/sandboxes", wanted, timeout=500), range(60)))
        self.assertEqual({answer.status for answer in answers}, {201})
        made = [answer.json for answer in answers]
        ids = collections.Counter(sandbox["id"] for sandbox in made)
        self.assertEqual(set(ids.values()), {1})
        listed = self.client.want(200, "GET", "/sandboxes?limit=1000")["items"]
        self.assertEqual({(item["id"], item["node_id"], item["status"]) for item in listed},
                         {(item["id"], item["node_id"], "running") for item in made})
        for node in self.nodes:
            theirs = {item["id"] for item in made if item["node_id"] == node.name}
            self.assertEqual(node.sandboxes(), theirs)
            pids = {node.machines()[id]["pid"] for id in theirs}
            self.assertEqual(len(pids), len(theirs))
            running = node.processes()
            self.assertLessEqual(pids, set(running))
        for sandbox in made[::10]:
            self.assertEqual(self.sh(sandbox["id"], "hostname"), f"{sandbox['id']}\n")


if __name__ == "__main__":
    unittest.main()
