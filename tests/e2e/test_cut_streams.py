"""Each kind of stream, in its middle, when its guest or the daemon is killed: the client is told or cut off, never left
waiting, and nothing half done stays."""
import os
import signal
import socket
import unittest

from events import Events, gather
from harness import Case, until
from websocket import WebSocket

ENDLESS = "while :; do echo again; sleep 0.05; done"


class CutStreams(Case):
    def setUp(self):
        super().setUp()
        self.sandbox_id = self.sandbox()
        self.path = f"/sandboxes/{self.sandbox_id}"
        self.client.exec(self.sandbox_id, "sh", "-c", "dd if=/dev/zero of=/root/big bs=1M count=64 2>/dev/null; echo old > /root/kept")
        self.start(f"nc -ll -p 7000 -e sh -c '{ENDLESS}'", 7000)
        web = r'printf "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nbegun"; sleep 300'
        self.start(f"nc -ll -p 8000 -e sh -c '{web}'", 8000)

    def start(self, script, port):
        self.detached(script)
        until("it listens", lambda: f":{port} " in self.client.exec(self.sandbox_id, "netstat", "-ltn")["stdout"])

    def detached(self, script):
        return self.client.want(202, "POST", f"{self.path}/exec", {"command": "sh", "args": ["-c", script], "detached": True})["process_id"]

    def raw(self, head, body=b""):
        """A connection on which a request was sent."""
        connection = socket.create_connection(self.client.address.split(":"), timeout=60)
        self.addCleanup(connection.close)
        connection.sendall(f"{head}\r\nHost: {self.client.address}\r\n".encode() + body)
        return connection

    def begin_all(self):
        """Every kind of stream, begun. {name: what waits for its end}"""
        events = {"exec": Events(self.client, "POST", f"{self.path}/exec", {"command": "sh", "args": ["-c", ENDLESS]}),
                  "attach": Events(self.client, "GET", f"{self.path}/processes/{self.detached(ENDLESS)}/output"),
                  "console": Events(self.client, "GET", f"{self.path}/logs?follow=1"),
                  "init's log": Events(self.client, "GET", f"{self.path}/logs?source=init&follow=1")}
        for name in ("exec", "attach", "console"):
            next(events[name])
        sockets = {"terminal": WebSocket(self.client.address, f"/api/v1{self.path}/terminal"),
                   "tcp": WebSocket(self.client.address, f"/api/v1{self.path}/tcp/7000")}
        sockets["tcp"].read_until(b"again")
        for each in (*events.values(), *(socket.socket for socket in sockets.values())):
            self.addCleanup(each.close)
        raw = {"download": self.raw(f"GET /api/v1{self.path}/files?path=/root/big HTTP/1.1", b"\r\n"),
               "archive": self.raw(f"GET /api/v1{self.path}/files?path=/root&archive=tar HTTP/1.1", b"\r\n"),
               "port": self.raw(f"GET /api/v1{self.path}/ports/8000/ HTTP/1.1", b"\r\n")}
        for each in raw.values():
            each.recv(100)
        for name, target in (("upload", "path=/root/kept"), ("unpack", "path=/root/unpacked&archive=tar")):
            raw[name] = self.raw(f"PUT /api/v1{self.path}/files?{target} HTTP/1.1",
                                 b"Content-Length: 1000000\r\n\r\n" + b"half of it")
        until("the upload has begun", lambda: ".nanobox-" in self.client.exec(self.sandbox_id, "ls", "-A", "/root")["stdout"])

        def drained(connection):
            while connection.recv(1 << 16):
                pass

        ends = {name: lambda each=each: gather(each) for name, each in events.items()}
        ends |= {name: lambda each=each: each.closing() for name, each in sockets.items()}
        ends |= {name: lambda each=each: drained(each) for name, each in raw.items()}
        return ends

    def wait_for(self, ends):
        told = {}
        for name, end in ends.items():
            with self.subTest(name):
                try:
                    told[name] = end()
                except ConnectionError:
                    told[name] = None  # cut off: that tells it too
        return told

    def test_a_killed_guest_ends_every_stream_and_events_say_so(self):
        ends = self.begin_all()
        os.kill(self.daemon.vmm(self.sandbox_id), signal.SIGKILL)
        told = self.wait_for(ends)
        for name in ("exec", "attach"):
            self.assertIn("error", told[name])
        self.assertEqual(told["terminal"][1], 1011)
        until("the sandbox failed", lambda: self.client.want(200, "GET", self.path)["status"] == "failed")

    def test_a_killed_daemon_cuts_every_stream_and_its_successor_finds_nothing_half_done(self):
        ends = self.begin_all()
        self.daemon.child.end(signal.SIGKILL)
        self.wait_for(ends)
        self.daemon.start()
        self.client = self.daemon.client
        self.assertEqual(self.client.exec(self.sandbox_id, "cat", "/root/kept")["stdout"], "old\n")
        until("the half file is gone",
              lambda: ".nanobox-" not in self.client.exec(self.sandbox_id, "ls", "-A", "/root")["stdout"])


if __name__ == "__main__":
    unittest.main()
