"""A receiver of webhooks that checks signatures, and fails when it is told to."""
import hashlib
import hmac
import http.server
import json
import threading


def is_genuine(secret: str, signature: str, body: bytes) -> bool:
    fields = dict(part.split("=", 1) for part in signature.split(","))
    expected = hmac.new(secret.encode(), f"{fields['t']}.".encode() + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, fields["v1"])


class Receiver:
    """Answers `fails` requests with 503, the others with 204. `events` are those it took, in their order."""

    def __init__(self, secret: str):
        self.secret, self.fails, self.refused, self.events, self.forged = secret, 0, [], [], 0
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                event = json.loads(body)
                genuine = is_genuine(receiver.secret, self.headers["X-NanoBox-Signature"], body)
                genuine = genuine and self.headers["X-NanoBox-Event"] == event["type"]
                genuine = genuine and self.headers["X-NanoBox-Delivery"] == event["id"]
                receiver.forged += not genuine
                if receiver.fails > 0:
                    receiver.fails -= 1
                    receiver.refused.append(event["id"])
                    self.send_response(503)
                else:
                    receiver.events.append(event)
                    self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}/hook?token=in-the-url"

    def end(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
