"""Events as they happen, the audit of what was asked for, webhooks."""
import re
import signal

from events import Events
from harness import ROOT, Case, Client, free_port, until
from webhook_receiver import Receiver

SECRET = "whsec-0123456789abcdef"


class Recorded(Case):
    """One daemon with two owners, a webhook that is told, and one whose receiver is down."""
    key = "key-of-admin-0123456789"

    @classmethod
    def setUpClass(cls):
        cls.receiver, cls.down = Receiver(SECRET), f"http://127.0.0.1:{free_port()}/nobody"
        cls.addClassCleanup(cls.receiver.end)
        cls.config = ('[auth]\nkeys = ["admin:key-of-admin-0123456789", "ann:key-of-ann-0123456789"]\n'
                      f'[[events.webhooks]]\nurl = "{cls.receiver.url}"\nsecret = "{SECRET}"\ntypes = ["sandbox."]\n'
                      f'[[events.webhooks]]\nurl = "{cls.down}"\nsecret = "{SECRET}"\ntypes = ["sandbox.ended"]\n')
        super().setUpClass()

    def setUp(self):
        super().setUp()
        self.admin, self.ann = (Client(self.daemon.client.address, key) for key in ("key-of-admin-0123456789", "key-of-ann-0123456789"))

    def kept(self, client, query=""):
        return list(Events(client, "GET", f"/events?follow=0{query}"))

    def audit(self, query, count):
        """The entries of that query once there are so many: they are written a moment later."""
        def look():
            items = self.admin.want(200, "GET", f"/audit?{query}&limit=1000")["items"]
            return items if len(items) >= count else None
        return until(f"{count} entries of {query}", look)

    def hook(self, url):
        return next(hook for hook in self.admin.want(200, "GET", "/webhooks")["items"] if hook["url"] == url)

    def test_a_sandbox_life_is_seen_while_it_happens(self):
        self.busybox()
        with Events(self.admin, "GET", "/events?type=sandbox.") as stream:
            sandbox = self.sandbox()
            name, data, identity = next(stream)
            self.assertEqual((name, data["subject"], data["id"]), ("sandbox.creating", sandbox, identity))
            name, data, _ = next(stream)
            self.assertEqual((name, data["data"]["template"], data["data"]["boot_path"]), ("sandbox.running", "busybox", "cold"))
            self.assertGreater(data["data"]["boot_time_ms"], 0)
            self.assertEqual((data["owner"], data["node_id"]), ("admin", self.admin.want(200, "GET", "/nodes")["items"][0]["id"]))
            self.client.want(204, "DELETE", f"/sandboxes/{sandbox}")
            names = []
            while "sandbox.ended" not in names:
                names.append(next(stream)[0])
            self.assertLessEqual(set(names), {"sandbox.stopping", "sandbox.ended"})

    def test_whoever_comes_back_misses_nothing_and_gets_nothing_twice(self):
        self.busybox()
        with Events(self.admin, "GET", "/events") as stream:
            sandbox = self.sandbox()
            first = next(event for event in stream if event[1]["subject"] == sandbox)
        self.client.want(204, "DELETE", f"/sandboxes/{sandbox}")
        until("its end is told", lambda: self.kept(self.admin, f"&type=sandbox.ended&subject={sandbox}"))
        every = [event[2] for event in self.kept(self.admin, f"&subject={sandbox}")]
        rest = [event[2] for event in self.kept(self.admin, f"&subject={sandbox}&since={first[2]}")]
        self.assertEqual(every, [first[2], *rest])
        self.assertEqual(every, sorted(set(every)))
        unknown = self.kept(self.admin, "&since=ev-00000000000000000000000000")
        self.assertEqual(unknown[0][0], "events.missed")

    def test_owners_see_their_own_events_only(self):
        self.busybox()
        sandbox = self.sandbox()
        until("it is told", lambda: self.kept(self.admin, f"&type=sandbox.running&subject={sandbox}"))
        self.assertEqual(self.kept(self.ann), [])
        self.problem(self.ann.call("GET", "/audit"), 403, "forbidden")
        self.problem(self.ann.call("GET", "/webhooks"), 403, "forbidden")
        types = {event[0] for event in self.kept(self.admin, "&type=node.,template.")}
        self.assertLessEqual({"node.joined", "node.ready", "template.queued", "template.ready"}, types)

    def test_the_audit_says_who_did_what(self):
        sandbox = self.sandbox()
        self.client.exec(sandbox, "sh", "-c", "cat; echo $PASS", env={"PASS": "planted-env"}, stdin="planted-stdin")
        path = f"/sandboxes/{sandbox}/files"
        self.assertEqual(self.client.call("PUT", f"{path}?path=/tmp/a", b"planted-content").status, 204)
        self.assertEqual(self.client.call("GET", f"{path}?path=/tmp/a").body, b"planted-content")
        self.client.call("POST", path, {"op": "rename", "path": "/tmp/a", "to": "/tmp/b"})
        self.client.call("PUT", f"/sandboxes/{sandbox}/network", {"mode": "isolated"})
        self.problem(self.ann.call("POST", f"/sandboxes/{sandbox}/exec", {"command": "id"}), 404, "sandbox_not_found")
        self.client.want(204, "DELETE", f"/sandboxes/{sandbox}")
        entries = self.audit(f"subject={sandbox}", 8)
        self.assertEqual([(entry["action"], entry["owner"]) for entry in entries],
                         [("sandbox.create", "admin"), ("sandbox.exec", "admin"), ("sandbox.files", "admin"),
                          ("sandbox.files", "admin"), ("sandbox.files", "admin"), ("sandbox.network", "admin"),
                          ("sandbox.exec", "ann"), ("sandbox.delete", "admin")])
        create, run, put, get, rename, network, refused, _ = entries
        self.assertEqual((create["detail"], create["status"], create["code"]), ({"template": "busybox"}, 201, None))
        self.assertEqual(run["detail"], {"command": "sh", "args": ["-c", "cat; echo $PASS"]})
        self.assertEqual([entry["detail"] for entry in (put, get, rename)],
                         [{"op": "write", "path": "/tmp/a"}, {"op": "read", "path": "/tmp/a"},
                          {"op": "rename", "path": "/tmp/a", "to": "/tmp/b"}])
        self.assertEqual(network["detail"]["mode"], "isolated")
        self.assertEqual((refused["status"], refused["code"]), (404, "sandbox_not_found"))
        self.assertEqual(create["peer"], "127.0.0.1")
        found = self.admin.want(200, "GET", f"/audit?subject={sandbox}&action=sandbox.exec&owner=ann&order=desc")["items"]
        self.assertEqual(found, [refused])
        self.check_nothing_secret("planted-env", "planted-stdin", "planted-content", "key-of-admin-0123456789", "key-of-ann-0123456789", SECRET)

    def check_nothing_secret(self, *planted):
        bytes_on_disk = b"".join(file.read_bytes() for file in self.daemon.data.glob("audit.db*"))
        for secret in planted:
            self.assertNotIn(secret.encode(), bytes_on_disk)

    def test_webhooks_are_signed_in_order_and_tried_again(self):
        self.busybox()
        self.receiver.fails = 2
        sandbox = self.sandbox()
        self.client.want(204, "DELETE", f"/sandboxes/{sandbox}")
        mine = lambda: [event for event in self.receiver.events if event["subject"] == sandbox]  # noqa: E731
        until("the receiver has its end", lambda: any(event["type"] == "sandbox.ended" for event in mine()))
        told = self.kept(self.admin, f"&subject={sandbox}")
        self.assertEqual(mine(), [event[1] for event in told])
        self.assertEqual(self.receiver.forged, 0)
        self.assertEqual(len(set(self.receiver.refused)), 1)
        good = until("the count is there", lambda: (hook := self.hook(self.receiver.url))["delivered"] and hook)
        self.assertEqual((good["failed_attempts"], good["dead_letters"], good["last_error"]), (2, 0, None))
        self.assertTrue(good["last_delivered_at"])
        down = until("the other was tried in vain", lambda: (hook := self.hook(self.down))["failed_attempts"] and hook)
        self.assertEqual((down["delivered"], down["last_delivered_at"]), (0, None))
        self.assertGreater(down["pending"], 0)
        self.assertTrue(down["last_error"])
        self.assertNotIn(SECRET, self.daemon.log.read_text(errors="replace"))

    def test_the_audit_and_events_after_a_kill(self):
        self.busybox()
        sandbox = self.sandbox()
        last = until("it is told", lambda: self.kept(self.admin, f"&type=sandbox.running&subject={sandbox}"))[0][2]
        self.audit(f"subject={sandbox}", 1)
        self.daemon.child.end(signal.SIGKILL)
        self.daemon.start()
        self.client = self.daemon.client
        self.assertEqual(self.audit(f"subject={sandbox}", 1)[0]["action"], "sandbox.create")
        self.assertEqual(self.kept(self.admin, f"&since={last}")[0][0], "events.missed")
        self.client.want(204, "DELETE", f"/sandboxes/{sandbox}")
        until("its end is told", lambda: self.kept(self.admin, f"&type=sandbox.ended&subject={sandbox}"))

    def test_the_documented_check_of_a_signature(self):
        snippet = re.search(r"```python\n(.*?)```", (ROOT / "docs/events.md").read_text(), re.DOTALL).group(1)
        scope = {}
        exec(snippet, scope)  # noqa: S102
        body, time = b'{"id":"ev-1"}', 1_700_000_000
        signature = f"t={time},v1=10ee5c825b0df83e073d45a4654433f40701bff8f7cfc992781c06eb063de106"
        self.assertTrue(scope["is_genuine"]("0123456789abcdef", signature, body, now=time + 10))
        self.assertFalse(scope["is_genuine"]("0123456789abcdef", signature, body, now=time + 3600))
        self.assertFalse(scope["is_genuine"]("another-secret-00", signature, body, now=time + 10))
        self.assertFalse(scope["is_genuine"]("0123456789abcdef", signature, body + b" ", now=time + 10))
