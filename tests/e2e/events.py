"""Server-sent events as they come, and what commands write in them."""
import base64
import json

import contract


class Events:
    """One stream of events: iterate over (name, data, id). `close` leaves it as a client does that goes away."""

    def __init__(self, client, method, path, body=None):
        headers = {"Accept": "text/event-stream"}
        if client.key:
            headers["Authorization"] = f"Bearer {client.key}"
        if body is not None:
            body = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        self.connection = contract.Connection(client.address, timeout=120)
        self.connection.request(method, "/api/v1" + path, body=body, headers=headers)
        self.response = self.connection.getresponse()
        self.status = self.response.status

    def problem(self):
        body = self.response.read()
        self.connection.exchange.check_body(body)
        return json.loads(body)

    def __iter__(self):
        return self

    def __next__(self):
        name, data, identity = "message", [], None
        while True:
            line = self.response.readline().decode()
            if not line:
                raise StopIteration
            line = line.rstrip("\n")
            if not line and data:
                data = json.loads("\n".join(data))
                self.connection.exchange.check_event(name, data)
                return name, data, identity
            field, _, value = line.partition(": ")
            if field == "event":
                name = value
            elif field == "data":
                data.append(value)
            elif field == "id":
                identity = value

    def close(self):
        self.response.close()
        self.connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def bytes_of(data) -> bytes:
    return base64.b64decode(data["data"]) if data["encoding"] == "base64" else data["data"].encode()


def gather(events, into=None):
    """All of a stream: {"stdout": bytes, "stderr": bytes, "started": …, "exit": …, "last_id": …}."""
    found = into if into is not None else {}
    found.setdefault("stdout", b"")
    found.setdefault("stderr", b"")
    for name, data, identity in events:
        if name in ("stdout", "stderr"):
            found[name] += bytes_of(data)
        else:
            found[name] = data
        if identity is not None:
            found["last_id"] = identity
    return found
