"""docs/openapi.json against the real server: each operation is asked, each limit tried."""

import email.message
import json
import unittest
import urllib.parse

import contract
import probes
from copies import SMALL, Copies
from events import Events, bytes_of
from harness import BUILD, KERNEL, Case, Child, free_port, until, vmm
from websocket import BINARY, TEXT, WebSocket

SERVICE = "while true; do printf 'HTTP/1.0 200 OK\\r\\n\\r\\nhello' | nc -l -p 8000 > /dev/null; done"
PORT = free_port()


class Checks(unittest.TestCase):
    """What a server would be caught at that does not do as it is described."""

    pool = {"template": "web", "ready": 1, "min_ready": 1, "max_ready": 2}
    stats = {
        "nodes": 1,
        "sandboxes": dict.fromkeys(
            ("creating", "running", "pausing", "paused", "resuming", "stopping", "failed", "lost"), 0
        ),
        "templates": 1,
        "pools": [pool],
        "cache_bytes": 0,
        "snapshot_bytes": 0,
    }

    def look(self, method, target, status=200, body=stats, sent=None, **headers):
        head = email.message.Message()
        for name, value in {"X-Request-Id": "rq-1", "Content-Type": "application/json", **headers}.items():
            if value is not None:
                head[name] = value
        exchange = contract.Exchange(method, target, status, head)
        exchange.check_sent(sent)
        exchange.check_body(json.dumps(body).encode())
        return exchange

    def caught(self, words, *arguments, **more):
        with self.assertRaisesRegex(contract.NotAsDescribed, words):
            self.look(*arguments, **more)
        contract.found.pop()

    def test_what_is_as_described_passes(self):
        before = contract.seen["getStats", 200]
        self.look("GET", "/api/v1/stats")
        self.look("HEAD", "/api/v1/stats", body=None)
        self.look("GET", "/api/v1/sandboxes/sb-1/ports/80/any/thing?at=all", 418, **{"Content-Type": "a/b"})
        self.assertEqual(contract.seen["getStats", 200] - before, 2)

    def test_every_example_is_as_its_schema_says(self):
        described = contract.description()
        examples = [
            (name, schema, example)
            for name, schema in described.document["components"]["schemas"].items()
            for example in schema.get("examples", ())
        ]
        examples += [
            (str(operation), operation.json_body["schema"], example["value"])
            for operation in described.all()
            if operation.json_body
            for example in operation.json_body["examples"].values()
        ]
        self.assertGreater(len(examples), 20)
        for name, schema, example in examples:
            with self.subTest(name):
                self.assertIsNone(described.objection(schema, json.dumps(example)))

    def test_what_is_not_described_is_caught(self):
        self.caught("path is not described", "GET", "/api/v1/statistics")
        self.caught("method is not described", "DELETE", "/api/v1/stats")
        self.caught("status is not described", "GET", "/api/v1/stats", 201)
        self.caught("has no X-Request-Id", "GET", "/api/v1/stats", **{"X-Request-Id": None})
        self.caught("content type is not described", "GET", "/api/v1/stats", **{"Content-Type": "text/html"})
        self.caught("has no Retry-After", "GET", "/api/v1/stats", 503, **{"Content-Type": "application/problem+json"})
        self.caught("'more' was unexpected", "GET", "/api/v1/stats", body={**self.stats, "more": 1})
        self.caught(
            "/pools/0: '[a-z_]+' is a required",
            "GET",
            "/api/v1/stats",
            body={**self.stats, "pools": [{"template": "web"}]},
        )

    def test_a_problem_has_a_code_of_its_status(self):
        problem = {
            "type": "about:blank",
            "title": "Not Found",
            "status": 404,
            "code": "node_not_found",
            "detail": "none",
            "instance": "/api/v1/nodes/x",
            "request_id": "rq-1",
        }
        as_problem = {"Content-Type": "application/problem+json"}
        self.look("GET", "/api/v1/nodes/x", 404, problem, **as_problem)
        self.caught("/code", "GET", "/api/v1/nodes/x", 404, {**problem, "code": "conflict"}, **as_problem)
        self.caught("/code", "GET", "/api/v1/nodes/x", 404, {**problem, "code": "lost_count"}, **as_problem)

    def test_what_is_taken_must_be_described(self):
        self.look(
            "POST",
            "/api/v1/sandboxes/sb-1/keepalive",
            body={"expires_at": "2030-01-01T00:00:00.000Z"},
            sent=b'{"timeout_sec":null}',
        )
        self.caught("greater than", "POST", "/api/v1/sandboxes/sb-1/keepalive", sent=b'{"timeout_sec":604801}')
        self.caught(r"\?much is not described", "GET", "/api/v1/stats?much=1")

    def test_an_event_that_is_not_described_is_caught(self):
        follow = self.look("GET", "/api/v1/sandboxes/sb-1/logs?follow=1", **{"Content-Type": "text/event-stream"})
        follow.check_event("console", {"data": "a", "encoding": "utf-8"})
        for name, data in ("exit", {}), ("console", {"data": "a"}):
            with self.assertRaises(contract.NotAsDescribed):
                follow.check_event(name, data)
            contract.found.pop()


class Described(Case, Copies):
    config = f'[cluster]\nlisten_addr = "127.0.0.1:{PORT}"\n'

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.daemon.client.ready("busybox", f"{cls.registry.address}/library/busybox:latest", resources=SMALL)

    def test_every_operation_is_as_described(self):
        before = contract.seen.copy()
        self.use_server()
        self.use_templates()
        self.use_sandboxes()
        self.use_cluster()
        self.use_inspection()
        succeeded = {name for name, status in contract.seen - before if status < 400}
        missing = [
            str(operation)
            for operation in contract.description().all()
            if operation.id not in succeeded
        ]
        self.assertEqual(missing, [], "never succeeded")

    def ask(self, method, path, *body, status=200):
        return self.client.want(status, method, path, *body)

    def use_server(self):
        for path in "/healthz", "/readyz", "/openapi.json":
            self.client.want(200, "GET", path)
        self.assertEqual(self.client.call("GET", "/metrics").status, 200)
        self.problem(self.client.call("GET", "/no/such/path"), 404, "route_not_found")
        self.problem(self.client.call("PATCH", "/sandboxes"), 405, "method_not_allowed")

    def use_templates(self):
        self.client.ready("other", self.image("library/busybox:latest"), resources=SMALL)
        self.assertIn("other", [item["name"] for item in self.ask("GET", "/templates")["items"]])
        self.ask("GET", "/templates/other")
        with Events(self.client, "GET", "/templates/other/status?watch=1") as events:
            self.assertEqual([name for name, _, _ in events], ["status"])
        self.ask("DELETE", "/templates/other", status=204)

    def use_sandboxes(self):
        self.ask("POST", "/sandboxes?dry_run=1", {"template": "busybox"})
        sandbox = self.client.create("busybox", metadata={"a": "b"})["id"]
        path = f"/sandboxes/{sandbox}"
        self.assertEqual([item["id"] for item in self.ask("GET", "/sandboxes?metadata.a=b")["items"]], [sandbox])
        self.ask("POST", f"{path}/keepalive", {"timeout_sec": 300})
        self.ask("PUT", f"{path}/network", {"mode": "isolated"})
        self.use_processes(path)
        self.use_files(path)
        self.use_ports(sandbox)
        self.client.call("GET", f"{path}/logs?source=init")
        with Events(self.client, "GET", f"{path}/logs?follow=1") as events:
            self.assertEqual(next(events)[0], "console")
        self.ask("POST", f"{path}/snapshot", {"name": "copy"}, status=201)
        self.ask("DELETE", "/templates/copy", status=204)
        child = self.ask("POST", f"{path}/fork", {"count": 1}, status=201)["items"][0]["id"]
        self.ask("DELETE", f"/sandboxes/{child}", status=204)
        self.ask("POST", f"{path}/pause", {})
        self.ask("POST", f"{path}/resume", {})
        self.ask("GET", path)
        self.ask("DELETE", path, status=204)
        self.ask("GET", f"{path}/death")

    def use_processes(self, path):
        self.client.want(200, "POST", f"{path}/exec", {"command": "true"})
        with Events(
            self.client,
            "POST",
            f"{path}/exec",
            {"command": "sh", "args": ["-c", "echo out; echo err >&2"], "stdin": ""},
        ) as events:
            self.assertEqual({name for name, _, _ in events}, {"started", "stdout", "stderr", "exit"})
        process = self.client.want(202, "POST", f"{path}/exec", {"command": "cat", "detached": True})["process_id"]
        self.assertIn(process, [item["process_id"] for item in self.ask("GET", f"{path}/processes")["items"]])
        self.ask("POST", f"{path}/processes/{process}/stdin?eof=1", b"word", status=204)
        until("it has ended", lambda: self.ask("GET", f"{path}/processes/{process}")["state"] == "exited")
        with Events(self.client, "GET", f"{path}/processes/{process}/output") as events:
            self.assertEqual(b"".join(bytes_of(data) for name, data, _ in events if name == "stdout"), b"word")
        self.ask("DELETE", f"{path}/processes/{process}", status=204)
        with WebSocket(self.client.address, f"/api/v1{path}/terminal?command=sh&arg=-c&arg=exit+3") as terminal:
            self.assertEqual(terminal.closing()[1:], (1000, "exit 3"))

    def use_files(self, path):
        self.ask("POST", f"{path}/files", {"op": "mkdir", "path": "/srv/d", "parents": True}, status=204)
        self.client.want(204, "PUT", f"{path}/files?path=/srv/d/f", b"text", headers={"Content-Type": "text/plain"})
        for rest in "/f", "", "&archive=tar":
            self.assertEqual(self.client.call("GET", f"{path}/files?path=/srv/d{rest}").status, 200)
        self.assertEqual(self.client.call("HEAD", f"{path}/files?path=/srv/d").status, 200)
        self.ask("DELETE", f"{path}/files?path=/srv/d&recursive=1", status=204)

    def use_ports(self, sandbox):
        path = f"/sandboxes/{sandbox}/ports/8000"
        self.start(sandbox, SERVICE)
        for method in contract.METHODS:
            for rest in "", "/below/it":
                answer = lambda: self.client.call(method.upper(), path + rest).status == 200  # noqa: B023, E731
                until(f"the service answers {method}", answer)
        self.start(sandbox, "nc -l -p 9000 -e cat")
        until("it listens", lambda: ":9000 " in self.sh(sandbox, "netstat -ltn"))
        with WebSocket(self.client.address, f"/api/v1/sandboxes/{sandbox}/tcp/9000") as connection:
            connection.send(BINARY, b"bytes")
            connection.read_until(b"bytes")
            connection.send(TEXT, json.dumps({"end": True}).encode())
            self.assertEqual(connection.closing()[1], 1000)

    def use_cluster(self):
        node = self.ask("GET", "/nodes")["items"][0]["id"]
        self.ask("GET", f"/nodes/{node}")
        for change, body in ("cordon", {}), ("uncordon", {}), ("drain", {"deadline_sec": 600}), ("uncordon", {}):
            self.ask("POST", f"/nodes/{node}/{change}", body)
        token = self.ask("POST", "/nodes/tokens", {"lifetime_sec": 60}, status=201)
        file = self.folder / "token"
        file.touch(0o600)
        file.write_text(token["token"])
        child = Child(
            [
                BUILD / "bin" / "nanoboxd",
                "--role",
                "node",
                "--agent.node_id=leaving",
                f"--agent.vmm={vmm()}",
                f"--firecracker.kernel={KERNEL}",
                "--network.bridge_name=leaving-br",
                "--join",
                token["join_addr"],
                "--token-file",
                file,
            ],
            self.folder / "leaving.log",
            {**self.daemon.environment(), "NANOBOX_DATA": str(self.folder / "leaving")},
        )
        try:
            until("it has joined", lambda: self.client.call("GET", "/nodes/leaving").status == 200)
        finally:
            child.end()
        self.problem(self.client.call("DELETE", f"/nodes/{node}"), 409, "conflict")
        until("it is lost", lambda: self.client.call("GET", "/nodes/leaving").json["status"] == "lost")
        self.ask("DELETE", "/nodes/leaving", status=204)

    def use_inspection(self):
        self.ask("GET", "/stats")
        self.ask("GET", "/pipelines")
        run = self.ask("GET", "/pipelines/runs?limit=1000")["items"][0]["id"]
        self.ask("GET", f"/pipelines/runs/{run}")
        for path in "/actors", "/audit", "/webhooks", "/deaths":
            self.ask("GET", path)
        levels = self.ask("GET", "/log")
        self.ask("PUT", "/log", {"level": levels["level"]})
        with Events(self.client, "GET", "/events?follow=0") as events:
            self.assertTrue(list(events))
        self.client.want(200, "GET", "/events", headers={"Accept": "application/json"})

    def places(self):
        """What stands for the names of paths."""
        sandbox = self.sandbox("busybox")
        process = self.start(sandbox, "true")
        node = self.client.want(200, "GET", "/nodes")["items"][0]["id"]
        until("it has ended", lambda: self.process(sandbox, process)["state"] == "exited")

        def filled(operation, **more):
            identity = sandbox if operation.template.startswith("/api/v1/sandboxes/") else node
            return operation.template.format(
                **{"id": identity, "name": "busybox", "process_id": process, "port": "8000", **more}
            )

        return filled

    def pointers(self, answer):
        """The fields that an answer complains of."""
        body = answer.json if answer.headers.get_content_type() == "application/problem+json" else {}
        return [field["pointer"] for field in body.get("errors", [])]

    def test_a_body_is_refused_beyond_the_limits_and_not_within(self):
        place = self.places()
        for operation in contract.description().all():
            if not operation.json_body or operation.is_forwarded:
                continue
            schema, path = operation.json_body["schema"], place(operation)
            examples = [example["value"] for example in operation.json_body["examples"].values()]
            for body, pointer in probes.refused_bodies(schema, examples):
                answer = self.client.call(operation.method, path, body)
                with self.subTest(operation=str(operation), pointer=pointer, body=json.dumps(body)[:300]):
                    self.assertIn(answer.status, (400, 422), answer)
                    self.assertIn(pointer, self.pointers(answer), answer)
            for body, pointer in probes.taken_bodies(schema, examples):
                answer = self.client.call(operation.method, path, body)
                with self.subTest(operation=str(operation), within=pointer, body=json.dumps(body)[:300]):
                    self.assertEqual(answer.status, 400, answer)
                    self.assertIn("/" + probes.UNKNOWN, self.pointers(answer), answer)
                    self.assertNotIn(pointer, self.pointers(answer), answer)

    def test_a_parameter_is_refused_beyond_the_limits_and_not_within(self):
        place = self.places()
        for operation in contract.description().all():
            if operation.is_forwarded or operation.method == "HEAD":
                continue
            required = {name: "/etc" for name, each in operation.queries().items() if each.get("required")}
            for name, parameter in operation.queries().items():
                for value in probes.refused_queries(parameter):
                    queries = {**required, name: value} if value is not None else {}
                    self.check_refused(operation, f"{place(operation)}?{urllib.parse.urlencode(queries)}", f"?{name}")
                if operation.method != "GET" or parameter["schema"].get("type") != "integer":
                    continue
                for value in probes.within(parameter["schema"]):
                    path = f"{place(operation)}?{urllib.parse.urlencode({**required, name: value})}"
                    answer = self.client.call("GET", path, headers={"Accept": "application/json"})
                    with self.subTest(operation=str(operation), within=name, value=value):
                        self.assertNotIn(f"?{name}", self.pointers(answer), answer)
            if "{port}" in operation.template:
                for value in "0", "65536", "x":
                    self.check_refused(operation, place(operation, port=value), "/port")

    def check_refused(self, operation, path, pointer):
        answer = self.client.call(operation.method, path, headers={"Accept": "application/json"})
        with self.subTest(operation=str(operation), path=path):
            self.assertIn(answer.status, (400, 422), answer)
            self.assertIn(pointer, self.pointers(answer), answer)

    def test_the_description_is_served_with_the_servers_version(self):
        served = self.client.want(200, "GET", "/openapi.json")
        self.assertIn(served["info"]["version"], self.daemon.cli("--version").stdout)
        committed = json.loads((contract.ROOT / "docs/openapi.json").read_text())
        self.assertEqual({**served, "info": {}}, {**committed, "info": {}})


if __name__ == "__main__":
    unittest.main()
