"""Holds every answer of the server against docs/openapi.json: its path, method and status must be described, its headers,
content type, body and events as described there; and what the server took must be what the description lets one send.
`found` has all that was not so, be it raised where nobody looked (in a thread); `seen` counts (operation, status). Only where
`is_on`, as run_e2e makes it: benchmarks measure the server, not this."""

import collections
import functools
import http.client
import json
import pathlib
import re
import sys
import urllib.parse

try:
    import jsonschema
except ModuleNotFoundError:
    # Debian's package is not for a python3 from elsewhere that comes first in PATH.
    sys.path.append("/usr/lib/python3/dist-packages")
    import jsonschema

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
METHODS = ("get", "head", "post", "put", "patch", "delete", "options")
#: What a request may get before it is known what it asks for.
BEFORE_ROUTES = {400, 401, 403, 408, 413, 431, 503}

EVENTS_CHECKED = 200
found, seen, is_on = [], collections.Counter(), False


class NotAsDescribed(AssertionError):
    pass


class Operation:
    def __init__(self, method, template, item):
        self.method, self.template = method.upper(), template
        own = item[method]
        self.id, self.responses = own["operationId"], own["responses"]
        self.is_forwarded = own.get("x-forwards", False)
        self.parameters = {
            (each["in"], each["name"]): each for each in item.get("parameters", []) + own.get("parameters", [])
        }
        self.body_content = own.get("requestBody", {}).get("content", {})

    def __str__(self):
        return f"{self.method} {self.template}"

    def queries(self):
        """The described query parameters, {name: parameter}."""
        return {name: each for (place, name), each in self.parameters.items() if place == "query"}

    @property
    def json_body(self):
        """The body's media type object, where it is JSON."""
        return self.body_content.get("application/json")

    def response(self, status):
        return self.responses.get(str(status)) or self.responses.get("default")


def resolved(document):
    """The document with each $ref replaced by what it leads to."""
    known = {}

    def target(reference):
        if reference not in known:
            known[reference] = inside(
                functools.reduce(lambda at, name: at[name], reference.removeprefix("#/").split("/"), document)
            )
        return known[reference]

    def inside(node):
        if isinstance(node, list):
            return [inside(each) for each in node]
        if not isinstance(node, dict):
            return node
        others = {key: inside(value) for key, value in node.items() if key != "$ref"}
        if "$ref" not in node:
            return others
        return {**target(node["$ref"]), **others} if others else target(node["$ref"])

    return inside(document)


class Description:
    def __init__(self, text: str):
        document = json.loads(text)
        self.version = document["info"]["version"]
        self.document = resolved(document)
        self.operations = {
            path: {method: Operation(method, path, item) for method in METHODS if method in item}
            for path, item in self.document["paths"].items()
        }
        # Fixed segments are preferred to names, as the router does.
        self.patterns = [
            (re.compile(self.pattern(path)), path)
            for path in sorted(
                self.operations, key=lambda path: [segment.startswith("{") for segment in path.split("/")]
            )
        ]
        self.validators, self.held = {}, set()

    @staticmethod
    def pattern(path):
        names = {"{rest}": "/+.+"}
        return (
            "".join(
                names.get(part, "/+[^/]+" if part.startswith("{") else "/+" + re.escape(part))
                for part in path.split("/")[1:]
            )
            + "/*$"
        )

    def find(self, path):
        """The operations of the path, {method: Operation}; none: it is not described."""
        return next((self.operations[template] for pattern, template in self.patterns if pattern.match(path)), {})

    def all(self):
        return [operation for item in self.operations.values() for operation in item.values()]

    def validator(self, schema):
        if id(schema) not in self.validators:
            self.validators[id(schema)] = jsonschema.Draft202012Validator(schema)
        return self.validators[id(schema)]

    def objection(self, schema, text):
        """What of the JSON text is not as the schema says; None: all is."""
        key = (id(schema), hash(text))  # polling brings the same text again and again
        if key in self.held:
            return None
        wrong = jsonschema.exceptions.best_match(self.validator(schema).iter_errors(json.loads(text)))
        if wrong is None:
            self.held.add(key)
            return None
        return f"/{'/'.join(str(part) for part in wrong.absolute_path)}: {wrong.message[:400]}"


@functools.cache
def description() -> Description:
    return Description((ROOT / "docs/openapi.json").read_text())


def refuse(method, target, status, why):
    text = f"{method} {target} → {status}: {why} (docs/openapi.json)"
    found.append(text)
    raise NotAsDescribed(text)


class Exchange:
    """One request and its answer. Each check raises NotAsDescribed."""

    def __init__(self, method, target, status, headers):
        self.method, self.target, self.status, self.headers = method, target, status, headers
        self.path, _, self.query = target.partition("?")
        item = description().find(self.path)
        self.operation = item.get(method.lower()) or (item.get("get") if method == "HEAD" else None)
        self.media_type = headers.get_content_type() if headers["Content-Type"] else None
        self.content = None
        self.events = collections.Counter()
        self.check_head(item)

    def refuse(self, why):
        refuse(self.method, self.target, self.status, why)

    def check_head(self, item):
        if not self.headers["X-Request-Id"]:
            self.refuse("has no X-Request-Id")
        if self.operation is None:
            allowed = BEFORE_ROUTES | ({405} if item else {404})
            if self.status not in allowed:
                self.refuse("this method is not described" if item else "this path is not described")
            if self.status == 405 and not self.headers["Allow"]:
                self.refuse("has no Allow")
            self.operation = None
            self.content = {
                "application/problem+json": {
                    "schema": description().document["components"]["schemas"][f"Problem{self.status}"]
                }
            }
        else:
            response = self.operation.response(self.status)
            if response is None:
                self.refuse("this status is not described")
            seen[self.operation.id, self.status] += 1
            if self.is_forwarded():
                return
            self.check_headers(response)
            self.content = response.get("content", {})
        if self.media_type is not None and self.media_type not in self.content and "*/*" not in self.content:
            self.refuse(f"this content type is not described: {self.media_type}")
        if self.media_type is None and self.content and self.method != "HEAD" and self.status != 101:
            self.refuse("has no content type")

    def is_forwarded(self):
        """Whether it is a service's in the sandbox, be its status what it will."""
        return self.operation.is_forwarded and self.media_type != "application/problem+json"

    def check_headers(self, response):
        for name, header in response.get("headers", {}).items():
            value = self.headers[name]
            if value is None and header.get("required"):
                self.refuse(f"has no {name}")
            if value is not None and (why := description().objection(header["schema"], json.dumps(value))):
                self.refuse(f"{name} {why}")

    def check_sent(self, body):
        """What the server took must be described as something that may be sent."""
        if self.operation is None or self.operation.is_forwarded or not 200 <= self.status < 300:
            return
        known = self.operation.queries()
        for name, _ in urllib.parse.parse_qsl(self.query, keep_blank_values=True):
            if name not in known and not ("metadata" in known and name.startswith("metadata.")):
                self.refuse(f"the parameter ?{name} is not described, and was taken")
        if self.operation.json_body and isinstance(body, bytes) and body.strip():
            text = json.dumps(without_nulls(json.loads(body)))
            if why := description().objection(self.operation.json_body["schema"], text):
                self.refuse(f"what was sent is not described, and was taken: {why}")

    def check_body(self, body: bytes):
        media = self.content and self.content.get(self.media_type)
        if media and self.media_type in ("application/json", "application/problem+json") and self.method != "HEAD":
            if why := description().objection(media["schema"], body):
                self.refuse(why)

    def check_event(self, name, data):
        """An event's data (JSON, parsed); of one kind the first ones, so that who reads a flood of them is not slow."""
        self.events[name] += 1
        if self.events[name] > EVENTS_CHECKED:
            return
        events = (self.content or {}).get("text/event-stream", {}).get("x-events", {})
        schema = events.get(name) or events.get("any")
        if schema is None:
            self.refuse(f"the event {name} is not described")
        if why := description().objection(schema, json.dumps(data)):
            self.refuse(f"event {name}: {why}")


class Unheld:
    """Stands for an exchange that nobody looks at."""

    def check_sent(self, body):
        pass

    check_body = check_sent

    def check_event(self, name, data):
        pass


def exchange(method, target, status, headers):
    return Exchange(method, target, status, headers) if is_on else Unheld()


def without_nulls(value):
    return (
        {key: without_nulls(each) for key, each in value.items() if each is not None}
        if isinstance(value, dict)
        else value
    )


class Connection(http.client.HTTPConnection):
    """One to the server: the head of each answer is held against the description, the rest is up to who reads it."""

    def putrequest(self, method, url, *rest, **more):
        self.asked, self.sent = (method, url), None
        super().putrequest(method, url, *rest, **more)

    def request(self, method, url, body=None, *rest, **more):
        super().request(method, url, body, *rest, **more)
        self.sent = body

    def getresponse(self):
        response = super().getresponse()
        self.exchange = exchange(*self.asked, response.status, response.headers)
        self.exchange.check_sent(self.sent)
        return response
