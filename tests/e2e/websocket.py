"""A WebSocket client that does what it is told, right or wrong (RFC 6455)."""
import base64
import http.client
import io
import os
import socket
import struct

import contract

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Refused(Exception):
    def __init__(self, status, body):
        super().__init__(f"{status} {body!r}")
        self.status, self.body = status, body


class WebSocket:
    def __init__(self, address, path, headers=(), key=None):
        host, port = address.split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=60)
        lines = [f"GET {path} HTTP/1.1", f"Host: {address}", "Upgrade: websocket", "Connection: Upgrade",
                 "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: " + base64.b64encode(os.urandom(16)).decode(), *headers]
        if key:
            lines.append(f"Authorization: Bearer {key}")
        self.socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        self.buffer = b""
        while b"\r\n\r\n" not in self.buffer:
            self.more()
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        self.status = int(head.split()[1])
        self.head = head.decode()
        exchange = contract.exchange("GET", path, self.status,
                                     http.client.parse_headers(io.BytesIO(head.split(b"\r\n", 1)[1] + b"\r\n\r\n")))
        if self.status != 101:
            length = next(int(line.split(":")[1]) for line in self.head.splitlines() if line.lower().startswith("content-length"))
            while len(self.buffer) < length:
                self.more()
            exchange.check_body(self.buffer)
            raise Refused(self.status, self.buffer)

    def more(self):
        piece = self.socket.recv(1 << 16)
        if not piece:
            raise ConnectionError("the server closed the connection")
        self.buffer += piece

    def take(self, count):
        while len(self.buffer) < count:
            self.more()
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def send(self, opcode, payload=b"", final=True):
        mask = os.urandom(4)
        head = bytes([opcode | (0x80 if final else 0)])
        if len(payload) < 126:
            head += bytes([0x80 | len(payload)])
        elif len(payload) < 1 << 16:
            head += bytes([0x80 | 126]) + struct.pack(">H", len(payload))
        else:
            head += bytes([0x80 | 127]) + struct.pack(">Q", len(payload))
        self.socket.sendall(head + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload)))

    def receive(self):
        """(opcode, payload) of the next frame."""
        first, length = self.take(2)
        length &= 0x7F
        if length == 126:
            (length,) = struct.unpack(">H", self.take(2))
        elif length == 127:
            (length,) = struct.unpack(">Q", self.take(8))
        return first & 0x0F, self.take(length)

    def read_until(self, wanted: bytes) -> bytes:
        """Binary bytes up to and with `wanted`."""
        seen = b""
        while wanted not in seen:
            opcode, payload = self.receive()
            if opcode == CLOSE:
                raise ConnectionError(f"closed: {payload!r} after {seen!r}")
            if opcode == BINARY:
                seen += payload
        return seen

    def closing(self):
        """What comes until the close, then its (code, reason)."""
        seen = b""
        while True:
            opcode, payload = self.receive()
            if opcode == CLOSE:
                self.send(CLOSE, payload)
                return seen, struct.unpack(">H", payload[:2])[0], payload[2:].decode()
            if opcode == BINARY:
                seen += payload

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
