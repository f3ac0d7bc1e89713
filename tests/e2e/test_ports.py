"""Services in a sandbox that nobody reaches by network."""
import json
import socket
import threading
import unittest

from harness import Case, until
from websocket import BINARY, TEXT, Refused, WebSocket

SERVER = """mkdir -p /srv/cgi-bin && echo hello > /srv/index.html && cat > /srv/cgi-bin/echo <<'EOF'
#!/bin/sh
printf "Content-Type: text/plain\\r\\n\\r\\n"
env | grep -E '^(REQUEST_METHOD|QUERY_STRING|HTTP_HOST|HTTP_X_FORWARDED_[A-Z]*)=' | sort
cat
EOF
chmod +x /srv/cgi-bin/echo; exec httpd -f -p 127.0.0.1:8000 -h /srv"""


class Ports(Case):
    def setUp(self):
        super().setUp()
        self.sandbox_id = self.sandbox()
        self.path = f"/sandboxes/{self.sandbox_id}/ports/8000"

    def serve(self, script, port):
        self.client.want(202, "POST", f"/sandboxes/{self.sandbox_id}/exec", {"command": "sh", "args": ["-c", script], "detached": True})
        until("it listens", lambda: f":{port} " in self.client.exec(self.sandbox_id, "netstat", "-ltn")["stdout"])

    def socket(self, port):
        return WebSocket(self.client.address, f"/api/v1/sandboxes/{self.sandbox_id}/tcp/{port}")

    def test_http_is_forwarded_with_its_headers(self):
        self.serve(SERVER, 8000)
        self.assertEqual(self.client.call("GET", self.path + "/index.html").body, b"hello\n")
        self.assertEqual(self.client.call("GET", self.path + "/nothing").status, 404)
        answer = self.client.call("POST", self.path + "/cgi-bin/echo?a=b%20c", b"body" * 10_000)
        text = answer.body.decode()
        self.assertIn("REQUEST_METHOD=POST\n", text)
        self.assertIn("QUERY_STRING=a=b%20c\n", text)
        self.assertTrue(text.endswith("body" * 10_000))

    def test_an_upgrade_passes_bytes_both_ways_without_an_end(self):
        self.serve("nc -l -p 8000 -e sh -c 'while read -r line; do [ ${#line} -gt 1 ] || break; done;"
                   " printf \"HTTP/1.1 101 Switching Protocols\\r\\nConnection: Upgrade\\r\\nUpgrade: echo\\r\\n\\r\\n\"; exec cat'", 8000)
        content = bytes(range(256)) * 8192  # more than may wait on the way
        with socket.create_connection(self.client.address.split(":"), timeout=60) as client:
            client.sendall(f"GET /api/v1{self.path}/ HTTP/1.1\r\nHost: {self.client.address}\r\n"
                           "Connection: Upgrade\r\nUpgrade: echo\r\n\r\n".encode())
            head = b""
            while b"\r\n\r\n" not in head:
                head += client.recv(1)
            self.assertIn(b" 101 ", head)
            sender = threading.Thread(target=client.sendall, args=(content,))
            sender.start()
            seen = b""
            while len(seen) < len(content):
                seen += client.recv(1 << 16)
            sender.join()
        self.assertEqual(seen, content)

    def test_where_nothing_listens_it_is_502(self):
        self.problem(self.client.call("GET", self.path + "/"), 502, "connection_refused")

    def test_what_is_no_http_is_502(self):
        self.serve("while true; do echo nonsense | nc -l -p 8000; done", 8000)
        self.assertEqual(self.client.call("GET", self.path + "/").status, 502)

    def test_a_port_that_is_none_is_refused(self):
        self.problem(self.client.call("GET", f"/sandboxes/{self.sandbox_id}/ports/70000/"), 422, "invalid_value")

    def test_raw_tcp_goes_both_ways(self):
        self.serve("nc -l -p 9000 -e cat", 9000)
        with self.socket(9000) as socket:
            socket.send(BINARY, b"\x00binary\xff")
            self.assertEqual(socket.read_until(b"\xff"), b"\x00binary\xff")
            socket.send(TEXT, json.dumps({"end": True}).encode())
            self.assertEqual(socket.closing()[1], 1000)

    def test_raw_tcp_where_nothing_listens_is_refused(self):
        with self.assertRaises(Refused) as refused:
            self.socket(9001)
        self.assertEqual(refused.exception.status, 502)


class Terminals(Case):
    def setUp(self):
        super().setUp()
        self.sandbox_id = self.sandbox()

    def terminal(self, query=""):
        return WebSocket(self.client.address, f"/api/v1/sandboxes/{self.sandbox_id}/terminal?{query}")

    def test_a_shell_on_a_terminal_has_job_control_and_its_size(self):
        with self.terminal("command=sh&cols=100&rows=30") as terminal:
            terminal.send(BINARY, b"stty size; tty; echo ma''rk\n")
            seen = terminal.read_until(b"mark")
            self.assertIn(b"30 100", seen)
            self.assertIn(b"/dev/pts/", seen)
            terminal.send(TEXT, b'{"resize":{"cols":120,"rows":40}}')
            terminal.send(BINARY, b"stty size; echo re''sized\n")
            self.assertIn(b"40 120", terminal.read_until(b"resized"))
            terminal.send(BINARY, b"sleep 300\n")
            until("it runs", lambda: "sleep 300" in self.client.exec(self.sandbox_id, "ps")["stdout"])
            terminal.send(BINARY, b"\x03")
            terminal.send(BINARY, b"echo inter''rupted; exit 7\n")
            terminal.read_until(b"interrupted")
            _, code, reason = terminal.closing()
            self.assertEqual((code, reason), (1000, "exit 7"))

    def test_a_client_that_leaves_ends_the_shell(self):
        with self.terminal("command=sh") as terminal:
            terminal.send(BINARY, b"exec sleep 4321\n")
            listed = lambda: "sleep 4321" in self.client.exec(self.sandbox_id, "ps")["stdout"]  # noqa: E731
            until("it runs", listed)
        until("it is gone", lambda: not listed())

    def test_a_message_that_means_nothing_closes_with_the_code_for_it(self):
        with self.terminal("command=cat") as terminal:
            terminal.send(TEXT, b'{"resize":7}')
            self.assertEqual(terminal.closing()[1], 1003)

    def test_what_is_no_websocket_is_told_how_to_be_one(self):
        self.assertEqual(self.client.call("GET", f"/sandboxes/{self.sandbox_id}/terminal").status, 426)

    def test_another_sites_page_gets_no_terminal(self):
        with self.assertRaises(Refused) as refused:
            WebSocket(self.client.address, f"/api/v1/sandboxes/{self.sandbox_id}/terminal", ["Origin: http://evil.example"])
        self.assertEqual(refused.exception.status, 403)


if __name__ == "__main__":
    unittest.main()
