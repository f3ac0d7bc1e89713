"""Real registries that ask who is there: TLS by a CA of one's own, user and password, tokens."""
import base64
import crypt
import http.server
import json
import pathlib
import tempfile
import threading
import unittest
import urllib.parse

from certificates import Authority, token_claims
from harness import Case, Registry

IMAGE = "library/busybox:latest"


class TokenServer:
    """Gives tokens for any scope to `user` with `password`, others 401; counts what it gave."""

    def __init__(self, authority: Authority, user: str, password: str):
        self.given, self.authority = [], authority
        expected = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
                right = self.headers["Authorization"] == expected
                body = json.dumps({"token": server.token(user, query)} if right else {"errors": []}).encode()
                self.send_response(200 if right else 401)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def token(self, user, query):
        self.given += query.get("scope", [])
        return self.authority.sign(token_claims("nanobox-tests", query["service"][0], user, query.get("scope", [])))

    def end(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class Registries(Case):
    """One daemon and one plain registry; what each test adds shares the plain one's storage."""
    images = (IMAGE,)

    @classmethod
    def setUpClass(cls):
        keeper = tempfile.TemporaryDirectory(prefix="nb-", dir="/tmp")
        cls.addClassCleanup(keeper.cleanup)
        cls.authority = Authority(pathlib.Path(keeper.name))
        cls.flags = [f"--oci.ca_file={cls.authority.ca}"]
        super().setUpClass()

    def registry_with(self, **how):
        registry = Registry(self.folder, **how)
        self.addCleanup(registry.end)
        return f"{registry.address}/{IMAGE}"

    def fails(self, image, code, **more):
        status = self.client.warm_up("bad", image, force=True, **more)
        self.addCleanup(self.client.call, "DELETE", "/templates/bad")
        self.assertEqual((status["status"], (status["error"] or {}).get("code")), ("failed", code), status)
        return status["error"]


class Tls(Registries):
    def test_a_registry_whose_ca_is_named_is_trusted(self):
        image = self.registry_with(tls={"certificate": str(self.authority.certificate), "key": str(self.authority.key)})
        self.client.ready("trusted", image)

    def test_one_of_another_ca_is_not_and_the_mend_names_the_key(self):
        with tempfile.TemporaryDirectory() as folder:
            other = Authority(pathlib.Path(folder))
            image = self.registry_with(tls={"certificate": str(other.certificate), "key": str(other.key)})
            error = self.fails(image, "registry_unreachable")
        self.assertIn("certificate", error["detail"])
        self.assertIn("[oci] ca_file", error["detail"])


class PasswordsAndTokens(Registries):
    right, wrong = ({"username": "robot", "password": password} for password in ("r0b0t-password", "not-the-password"))

    def test_user_and_password(self):
        users = self.folder / "htpasswd"
        users.write_text(f"robot:{crypt.crypt(self.right['password'], crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16))}\n")
        image = self.registry_with(auth={"htpasswd": {"realm": "tests", "path": str(users)}})
        self.fails(image, "registry_unauthorized")
        self.fails(image, "registry_unauthorized", credentials=self.wrong)
        self.client.ready("basic", image, credentials=self.right)
        self.not_told(self.right["password"])

    def test_a_token(self):
        tokens = TokenServer(self.authority, self.right["username"], self.right["password"])
        self.addCleanup(tokens.end)
        image = self.registry_with(auth={"token": {"realm": f"http://{tokens.address}/token", "service": "tests",
                                                   "issuer": "nanobox-tests", "rootcertbundle": str(self.authority.ca)}})
        self.fails(image, "registry_unauthorized")
        self.fails(image, "registry_unauthorized", credentials=self.wrong)
        self.client.ready("token", image, credentials=self.right)
        self.assertIn("repository:library/busybox:pull", tokens.given)
        self.not_told(self.right["password"])

    def test_credentials_of_dockers_config(self):
        users = self.folder / "htpasswd-docker"
        users.write_text(f"robot:{crypt.crypt('from-docker', crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16))}\n")
        image = self.registry_with(auth={"htpasswd": {"realm": "tests", "path": str(users)}})
        auth = base64.b64encode(b"robot:from-docker").decode()
        config = self.folder / "docker.json"
        config.write_text(json.dumps({"auths": {image.partition("/")[0]: {"auth": auth}}}))
        self.addCleanup(config.write_text, "{}")
        self.client.ready("docker", image)
        self.not_told("from-docker", auth)

    def test_a_cached_image_is_no_permission(self):
        self.client.ready("plain", self.image(IMAGE))
        users = self.folder / "htpasswd-nobody"
        users.write_text("")
        self.fails(self.registry_with(auth={"htpasswd": {"realm": "tests", "path": str(users)}}), "registry_unauthorized")

    def not_told(self, *secrets):
        """In no log and in no file that others may read."""
        for secret in secrets:
            self.assertNotIn(secret, self.daemon.log.read_text())
        for path in self.daemon.data.rglob("*"):
            if path.is_file() and path.stat().st_mode & 0o044 and path.stat().st_size < 1 << 20:
                self.assertFalse(any(secret.encode() in path.read_bytes() for secret in secrets), path)


if __name__ == "__main__":
    unittest.main()
