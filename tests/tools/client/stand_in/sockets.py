"""The server's side of WebSockets (RFC 6455), and what is joined by them: terminals and TCP connections."""
import base64
import fcntl
import hashlib
import json
import os
import pty
import signal
import socket
import struct
import termios
import threading

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class WebSocket:
    def __init__(self, handler):
        accept = hashlib.sha1((handler.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode())
        handler.send_response(101)
        handler.send_header("Upgrade", "websocket")
        handler.send_header("Connection", "Upgrade")
        handler.send_header("Sec-WebSocket-Accept", base64.b64encode(accept.digest()).decode())
        if protocol := handler.headers.get("Sec-WebSocket-Protocol"):
            handler.send_header("Sec-WebSocket-Protocol", protocol)
        handler.end_headers()
        handler.close_connection = True
        self.reader, self.connection, self.mutex = handler.rfile, handler.connection, threading.Lock()

    def send(self, kind, data=b""):
        size = len(data)
        head = bytes([0x80 | kind]) + (bytes([size]) if size < 126 else struct.pack("!BH", 126, size)
                                       if size < 65536 else struct.pack("!BQ", 127, size))
        with self.mutex:
            try:
                self.connection.sendall(head + data)
            except OSError:
                pass

    def close(self, code, reason):
        self.send(CLOSE, struct.pack("!H", code) + reason.encode())

    def frames(self):
        """Kind and bytes of each message until the end, or a close."""
        while True:
            head = self.reader.read(2)
            if len(head) < 2:
                return
            size = head[1] & 127
            if size >= 126:
                size = int.from_bytes(self.reader.read(2 if size == 126 else 8), "big")
            assert head[1] & 128, "clients mask"
            mask = self.reader.read(4)
            data = bytes(byte ^ mask[at % 4] for at, byte in enumerate(self.reader.read(size)))
            kind = head[0] & 15
            if kind == PING:
                self.send(PONG, data)
            elif kind == CLOSE:
                self.send(CLOSE, data)
                return
            else:
                yield kind, data


def set_size(terminal, columns, rows):
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def serve_terminal(handler, query):
    """The commands vanish, fail and hang do that; others run."""
    web = WebSocket(handler)
    command = query.get("command", ["/bin/sh"])[0]
    if command in ("vanish", "fail", "hang"):
        web.send(BINARY, b"ready\r\n")
        for _ in web.frames():
            if command == "vanish":
                return web.connection.shutdown(socket.SHUT_RDWR)
            if command == "fail":
                return web.close(1011, "the guest is gone")
        return None
    child, terminal = pty.fork()
    if child == 0:
        os.environ.update(entry.split("=", 1) for entry in query.get("env", []))
        try:
            os.execvp(command, [command, *query.get("arg", [])])
        finally:
            os._exit(127)
    set_size(terminal, int(query["cols"][0]), int(query["rows"][0]))

    def pump():
        try:
            while data := os.read(terminal, 4096):
                web.send(BINARY, data)
        except OSError:
            pass
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        web.close(1000, f"exit {128 - code if code < 0 else code}")

    threading.Thread(target=pump, daemon=True).start()
    for kind, data in web.frames():
        if kind == TEXT:
            size = json.loads(data)["resize"]
            set_size(terminal, size["cols"], size["rows"])
        else:
            os.write(terminal, data)
    try:
        os.kill(child, signal.SIGHUP)
    except ProcessLookupError:
        pass


def serve_tcp(handler, port):
    try:
        inside = socket.create_connection(("127.0.0.1", port))
    except OSError:
        return handler.problem(502, "connection_refused", f"connection refused at port {port}")
    web = WebSocket(handler)

    def pump():
        try:
            while data := inside.recv(65536):
                web.send(BINARY, data)
            web.close(1000, "")
        except OSError:
            web.close(1011, "the connection broke")

    threading.Thread(target=pump, daemon=True).start()
    for kind, data in web.frames():
        if kind == TEXT:
            inside.shutdown(socket.SHUT_WR)
        else:
            inside.sendall(data)
    inside.close()
