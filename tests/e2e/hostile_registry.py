"""A registry that misbehaves on purpose: plain python, serves one OCI layout and breaks what it is told to."""
import http.server
import json
import pathlib
import threading


class HostileRegistry:
    """Serves `layout` under any repository. `faults` maps a kind of request ("manifest", "config", "layer") to a function
    (handler, body) -> None that answers in its own way; None restores the truth."""

    def __init__(self, layout):
        self.layout, self.faults, self.requests = pathlib.Path(layout), {}, []
        index = json.loads((self.layout / "index.json").read_bytes())
        self.manifest = index["manifests"][0]
        self.layers = {layer["digest"] for layer in json.loads(self.blob(self.manifest["digest"]))["layers"]}
        registry = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                registry.answer(self)

            do_HEAD = do_GET

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def blob(self, digest) -> bytes:
        return (self.layout / "blobs" / digest.replace(":", "/")).read_bytes()

    def answer(self, handler):
        self.requests.append((handler.command, handler.path, handler.headers["Range"]))
        what = handler.path.rpartition("/")[2]
        if "/manifests/" in handler.path:
            kind, body, media = "manifest", self.blob(self.manifest["digest"]), self.manifest["mediaType"]
        elif "/blobs/" in handler.path:
            kind, body, media = "layer" if what in self.layers else "config", self.blob(what), "application/octet-stream"
        else:
            kind, body, media = "ping", b"{}", "application/json"
        fault = self.faults.get(kind)
        try:
            fault(handler, body) if fault else send_range(handler, body, media)
        except (BrokenPipeError, ConnectionResetError):
            handler.close_connection = True

    def end(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def send(handler, status, body=b"", headers=None):
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
        handler.send_header(name, value)
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(body)


def send_range(handler, body, media="application/octet-stream"):
    """All of it, or from where `Range: bytes=N-` says."""
    start = int((handler.headers["Range"] or "bytes=0-").removeprefix("bytes=").partition("-")[0])
    if start == 0:
        send(handler, 200, body, {"Content-Type": media})
    else:
        send(handler, 206, body[start:], {"Content-Type": media, "Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"})


def status(code, **headers):
    """Answers with a status and nothing else."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler, body: send(handler, code, b'{"errors":[{"code":"X","message":"told to"}]}', named)


def cut(handler, body):
    """Promises the whole body, sends half and hangs up."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body[:len(body) // 2])
    handler.close_connection = True


def other_bytes(handler, body):
    """The right length, one byte wrong."""
    send(handler, 200, body[:-1] + bytes([body[-1] ^ 1]))


class Stall:
    """Begins to answer and stops in mid body, until `release`."""

    def __init__(self):
        self.reached, self.released = threading.Event(), threading.Event()

    def __call__(self, handler, body):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if handler.command == "HEAD":
            return
        handler.wfile.write(body[:len(body) // 2])
        handler.wfile.flush()
        self.reached.set()
        self.released.wait()
        handler.wfile.write(body[len(body) // 2:])

    def release(self):
        self.released.set()


def no_json(handler, body):
    send(handler, 200, b"<html>not a manifest</html>", {"Content-Type": "application/vnd.oci.image.manifest.v1+json"})


def huge(handler, body):
    send(handler, 200, b" " * (50 << 20), {"Content-Type": "application/vnd.oci.image.manifest.v1+json"})
