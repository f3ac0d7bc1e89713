"""The conventions every endpoint keeps: errors, keys, ids, lists, idempotency."""
import unittest

from harness import Case, Client


class Conventions(Case):
    def test_health_and_readiness(self):
        self.assertEqual(self.client.call("GET", "/healthz").status, 200)
        self.assertEqual(self.client.call("GET", "/readyz").status, 200)

    def test_errors_are_problems(self):
        self.problem(self.client.call("GET", "/templates/nothing"), 404, "template_not_found")
        self.problem(self.client.call("GET", "/sandboxes/sb-00000000000000000000000000"), 404, "sandbox_not_found")
        self.problem(self.client.call("GET", "/no/such/route"), 404, "route_not_found")
        self.problem(self.client.call("POST", "/sandboxes", {"template": "nothing"}), 404, "template_not_found")
        answer = self.client.call("PUT", "/sandboxes")
        self.problem(answer, 405, "method_not_allowed")
        self.assertEqual({method.strip() for method in answer.headers["Allow"].split(",")} & {"GET", "POST"}, {"GET", "POST"})

    def test_a_body_is_read_strictly(self):
        def create(body, **headers):
            return self.client.call("POST", "/sandboxes", body, headers)
        self.problem(create(b"{"), 400, "malformed_json")
        self.problem(create({"template": "x", "tempalte": "y"}), 400, "unknown_field")
        self.problem(create({"template": 1}), 400, "wrong_type")
        self.problem(create(b"template=x", **{"Content-Type": "text/plain"}), 415, "unsupported_media_type")
        answer = create({"template": self.busybox(), "resources": {"vcpu": 33}})
        self.assertEqual((answer.status, answer.json["errors"][0]["pointer"]), (422, "/resources/vcpu"), answer)

    def test_request_ids_are_echoed_or_made(self):
        self.assertEqual(self.client.call("GET", "/sandboxes", headers={"X-Request-Id": "abc-1"}).headers["X-Request-Id"], "abc-1")
        self.assertTrue(self.client.call("GET", "/sandboxes").headers["X-Request-Id"])

    def test_a_repeated_create_with_one_idempotency_key_is_one_sandbox(self):
        body, key = {"template": self.busybox()}, {"Idempotency-Key": "once"}
        first, second = (self.client.call("POST", "/sandboxes", body, key) for _ in range(2))
        self.assertEqual((first.status, second.status, first.json["id"]), (201, 201, second.json["id"]))
        self.assertEqual(len(self.client.want(200, "GET", "/sandboxes")["items"]), 1)
        other = self.client.call("POST", "/sandboxes", {**body, "timeout_sec": 9}, key)
        self.problem(other, 422, "idempotency_key_reused")

    def test_lists_come_in_pages_and_filtered(self):
        ids = {self.sandbox(metadata={"n": str(n)}) for n in range(3)}
        seen, cursor = set(), ""
        while cursor is not None:
            page = self.client.want(200, "GET", f"/sandboxes?limit=1{cursor and '&cursor=' + cursor}")
            seen |= {item["id"] for item in page["items"]}
            cursor = page["next_cursor"]
        self.assertEqual(seen, ids)
        found = self.client.want(200, "GET", "/sandboxes?metadata.n=1")["items"]
        self.assertEqual([item["metadata"] for item in found], [{"n": "1"}])

    def test_nodes_and_stats_count_what_is_there(self):
        self.sandbox()
        node = self.client.want(200, "GET", "/nodes")["items"][0]
        self.assertEqual((node["status"], node["sandboxes"]), ("ready", 1), node)
        self.assertEqual(self.client.want(200, "GET", f"/nodes/{node['id']}")["id"], node["id"])
        self.assertEqual(self.client.want(200, "GET", "/stats")["sandboxes"]["running"], 1)

    def test_the_console_is_in_the_logs(self):
        logs = self.client.call("GET", f"/sandboxes/{self.sandbox()}/logs")
        self.assertEqual(logs.status, 200)
        self.assertIn(b"NANOBOX_READY", logs.body)

    def test_without_a_key_a_web_page_gets_nothing(self):
        for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}):
            self.assertIn(self.client.call("GET", "/sandboxes", headers=headers).status, (401, 403))


class Keys(Case):
    config = '[auth]\nkeys = ["admin:admin-key-0123456789", "ann:ann-key-0123456789ab", "bob:bob-key-0123456789ab"]\n'

    def setUp(self):
        self.daemon.client = self.daemon.client if self.daemon.client.key else Client(self.daemon.client.address,
                                                                                    "admin-key-0123456789")
        super().setUp()

    def test_a_key_is_needed_and_a_wrong_one_refused(self):
        nobody = Client(self.client.address)
        answer = nobody.call("GET", "/sandboxes")
        self.problem(answer, 401, "unauthorized")
        self.assertEqual(answer.headers["WWW-Authenticate"].split()[0], "Bearer")
        self.problem(nobody.call("GET", "/sandboxes", headers={"Authorization": "Bearer wrong"}), 401, "unauthorized")
        self.assertEqual(nobody.call("GET", "/healthz").status, 200)

    def test_another_owners_things_are_not_found(self):
        ann, bob = (Client(self.client.address, f"{name}-key-0123456789ab") for name in ("ann", "bob"))
        ann.ready("mine", self.image("library/busybox:latest"))
        sandbox = ann.create("mine")["id"]
        self.assertEqual(bob.call("GET", f"/sandboxes/{sandbox}").status, 404)
        self.assertEqual(bob.call("GET", "/templates/mine").status, 404)
        self.assertEqual(bob.want(200, "GET", "/sandboxes")["items"], [])
        self.assertEqual(bob.call("GET", "/nodes").status, 403)
        self.assertEqual(ann.call("DELETE", f"/sandboxes/{sandbox}").status, 204)

    def test_no_key_is_in_the_log(self):
        self.client.call("GET", "/sandboxes", headers={"Authorization": "Bearer some-secret-key"})
        log = self.daemon.log.read_text()
        for secret in ("some-secret-key", "admin-key-0123456789", "ann-key-0123456789ab"):
            self.assertNotIn(secret, log)


if __name__ == "__main__":
    unittest.main()
