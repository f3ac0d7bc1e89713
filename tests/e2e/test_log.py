"""The daemon's log: what it says, what it never says, and how much of it there is."""
import crypt
import json

from harness import Case, Client, Registry, quote, until
from webhook_receiver import Receiver

ADMIN, ANN, UNKNOWN = "key-of-admin-0123456789", "key-of-ann-0123456789", "planted-unknown-key-01234"
WEBHOOK = "planted-webhook-secret-0123"
PASSWORD, WRONG = "planted-r0b0t-password", "planted-wrong-password"
FORGED = '{"time":"2026-11-27T00:00:00.000Z","level":"error","component":"daemon","message":"forged"}'


class Log(Case):
    """One daemon that logs everything as JSON, with two owners and a webhook."""
    key = ADMIN
    flags = ["--log.level=trace", "--log.format=json"]

    @classmethod
    def setUpClass(cls):
        cls.receiver = Receiver(WEBHOOK)
        cls.addClassCleanup(cls.receiver.end)
        cls.config = (f'[auth]\nkeys = ["admin:{ADMIN}", "ann:{ANN}"]\n'
                      f'[[events.webhooks]]\nurl = "{cls.receiver.url}"\nsecret = "{WEBHOOK}"\ntypes = ["sandbox."]\n')
        super().setUpClass()

    def lines(self):
        """All whole lines, each of which must be a JSON object of text that says when, how grave, who and what."""
        parsed = []
        for line in self.daemon.log.read_text().split("\n")[:-1]:
            entry = json.loads(line)
            self.assertLessEqual({"time", "level", "component", "message"}, entry.keys(), line)
            self.assertTrue(all(isinstance(value, str) for value in entry.values()), line)
            parsed.append(entry)
        return parsed

    def line(self, **fields):
        """The one that has these fields, once it is there."""
        return until(f"a line has {fields}", lambda: next((entry for entry in self.lines() if fields.items() <= entry.items()), None))

    def test_a_life_is_told_with_its_ids(self):
        sandbox = self.sandbox()
        start = self.line(component="daemon", message="nanoboxd starts")
        self.assertEqual((start["role"], start["data"]), ("all", str(self.daemon.data)))
        self.assertLessEqual({"version", "vmm", "kernel"}, start.keys())
        ready = self.line(component="warmup", message="template ready", template="busybox")
        self.assertTrue(ready["run"].startswith("op-"))
        running = self.line(component="sandbox", message="running", sandbox=sandbox)
        self.assertEqual((running["level"], running["boot_path"], running["template"]), ("info", "cold", "busybox"))
        self.assertGreater(int(running["boot_time_ms"]), 0)
        created = self.line(component="http", method="POST", path="/api/v1/sandboxes", sandbox=sandbox)
        self.assertEqual((created["level"], created["status"], created["owner"]), ("debug", "201", "admin"))
        answer = self.client.call("DELETE", f"/sandboxes/{sandbox}")
        self.line(component="http", method="DELETE", request=answer.headers["X-Request-Id"], sandbox=sandbox)
        self.assertEqual(self.line(component="sandbox", level="info", sandbox=sandbox, cause="asked")["node"], running["node"])
        self.assertEqual(sum(entry["message"] == "running" and entry.get("sandbox") == sandbox for entry in self.lines()), 1)

    def test_a_failed_run_is_told_with_why(self):
        failed = self.client.warm_up("absent", self.image("library/absent:latest"))
        self.addCleanup(self.client.call, "DELETE", "/templates/absent")
        told = self.line(level="warn", component="warmup", template="absent", code=failed["error"]["code"])
        self.assertIn("warmup failed in stage ", told["message"])
        self.assertIn("library/absent", told["message"])
        self.assertTrue(told["run"].startswith("op-"))

    def test_levels_change_while_it_runs(self):
        before = self.client.want(200, "GET", "/log")
        self.addCleanup(self.client.call, "PUT", "/log", {"level": before["level"], "levels": before["levels"]})
        self.assertEqual((before["level"], before["levels"]), ("trace", {}))
        self.problem(Client(self.client.address, ANN).call("PUT", "/log", {"level": "off"}), 403, "forbidden")
        self.problem(self.client.call("PUT", "/log", {"level": "loud"}), 422, "invalid_value")
        now = self.client.want(200, "PUT", "/log", {"level": "warn", "levels": {"http": "info"}})
        self.assertEqual((now["level"], now["levels"]), ("warn", {"http": "info"}))
        self.client.call("GET", "/nodes/while-it-is-quiet")
        self.client.want(200, "PUT", "/log", {"levels": {"http": "debug"}})
        self.client.call("GET", "/nodes/while-it-is-loud")
        self.line(path="/api/v1/nodes/while-it-is-loud")
        self.assertFalse(any(entry.get("path") == "/api/v1/nodes/while-it-is-quiet" for entry in self.lines()))

    def test_no_line_is_forged(self):
        evil = "a\n" + FORGED + "\r\n\x1b[31m\x85"
        sandbox = self.sandbox(metadata={evil: evil}, env={"EVIL": evil})
        self.client.exec(sandbox, "sh", "-c", f"echo '{FORGED}' > /dev/console", evil)
        self.client.call("POST", f"/sandboxes/{sandbox}/exec", {"command": evil, "cwd": "/" + evil, "user": evil})
        for path in (f"/sandboxes/{sandbox}/files?path={quote('/tmp/' + evil)}", f"/{quote(evil)}", f"/nodes/{quote(evil)}"):
            self.client.call("PUT", path, b"content")
            self.client.call("GET", path)
        for body in ({"name": evil, "image": "busybox"}, {"name": "evil", "image": "oci:/" + evil}):
            self.client.call("POST", "/templates/warmup", body)
        self.client.call("DELETE", "/templates/evil")
        last = self.client.call("GET", "/nodes", headers={"X-Request-Id": "last", "Authorization": f"Bearer {FORGED}"})
        self.line(component="http", request="last", status="401")
        self.assertEqual(last.status, 401)
        self.assertFalse([entry for entry in self.lines() if entry["message"] == "forged"])

    def test_nothing_secret_is_written(self):
        users = self.folder / "htpasswd"
        users.write_text(f"robot:{crypt.crypt(PASSWORD, crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16))}\n")
        closed = Registry(self.folder, auth={"htpasswd": {"realm": "tests", "path": str(users)}})
        self.addCleanup(closed.end)
        image = f"{closed.address}/library/busybox:latest"
        for password, status in ((WRONG, "failed"), (PASSWORD, "ready")):
            told = self.client.warm_up("closed", image, force=True, credentials={"username": "robot", "password": password})
            self.assertEqual(told["status"], status, told)
        sandbox = self.sandbox("closed", env={"PASS": "planted-sandbox-env"})
        planted = {"env": {"PASS": "planted-exec-env"}, "stdin": "planted-stdin"}
        self.client.exec(sandbox, "sh", "-c", "cat > /dev/null; true planted-command", **planted)
        path = f"/sandboxes/{sandbox}/files?path=/tmp/a"
        self.assertEqual(self.client.call("PUT", path, b"planted-content").status, 204)
        self.assertEqual(self.client.call("GET", path).body, b"planted-content")
        self.assertEqual(Client(self.client.address, UNKNOWN).call("GET", "/nodes?key=planted-query").status, 401)
        self.client.want(204, "DELETE", f"/sandboxes/{sandbox}")
        until("the webhook was told", lambda: any(event["type"] == "sandbox.ended" and event["subject"] == sandbox
                                                  for event in self.receiver.events))
        until("its audit is written", lambda: len(self.client.want(200, "GET", f"/audit?subject={sandbox}")["items"]) == 5)
        self.line(component="http", method="DELETE", sandbox=sandbox)
        keys = [ADMIN, ANN, UNKNOWN, WEBHOOK, PASSWORD, WRONG]
        contents = ["planted-exec-env", "planted-stdin", "planted-content", "planted-query"]
        self.absent([*keys, *contents, "planted-sandbox-env", "planted-command"], [self.daemon.log])
        audit = list(self.daemon.data.glob("audit.db*"))
        self.absent([*keys, *contents, "planted-sandbox-env"], audit)
        self.assertTrue(any(b"planted-command" in file.read_bytes() for file in audit))
        # The sandbox' environment is part of its record, its disk is gone with it: nothing else may hold anything.
        self.absent([*keys, *contents], [file for file in self.daemon.data.rglob("*") if self.is_small_file(file)])

    @staticmethod
    def is_small_file(path):
        """Not images and disks, which are made of what is in no secret."""
        return path.is_file() and path.stat().st_size < 16 << 20

    def absent(self, secrets, files):
        for file in files:
            written = file.read_bytes()
            for secret in secrets:
                self.assertNotIn(secret.encode(), written, f"{secret} in {file}")
