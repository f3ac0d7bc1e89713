"""What end-to-end tests stand on: a registry with the test images, the daemon, a REST client, the CLI, and a look for leaks.
Everything started is ended by its own pid; everything written is below one temporary folder."""
import contextlib
import functools
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.parse

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(HERE), str(ROOT / "tests" / "images")]

import build_images  # noqa: E402
import contract  # noqa: E402
import own_network  # noqa: E402
import push_image  # noqa: E402
from leaks import idle_leaks, interfaces, machines, processes_of, stopped_leaks  # noqa: E402

BUILD = pathlib.Path(os.environ.get("NANOBOX_BUILD", ROOT / "build")).resolve()
IMAGES = pathlib.Path(os.environ.get("NANOBOX_TEST_IMAGES", BUILD / "test-images"))
KERNEL = os.environ.get("NANOBOX_KERNEL", "")


@functools.cache
def vmm() -> str:
    """What "auto" means here: found once, not by every daemon of the tests."""
    told = subprocess.run([BUILD / "bin" / "nanobox", "doctor"], capture_output=True, text=True).stdout
    chosen = re.search(r"^vmm +ok +uses (\S+)", told, re.MULTILINE)
    if not chosen:
        raise AssertionError(f"sandboxes cannot run here:\n{told}")
    return chosen.group(1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(what: str, condition, timeout=30.0, step=0.05):
    """Asks `condition` until it answers something true, which is the answer."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"after {timeout} s still not: {what}")
        time.sleep(step)


def image_layout(name: str) -> pathlib.Path:
    """The OCI layout of a test image, which is built the first time, with packages from the internet."""
    with own_network.outside():
        return build_images.build(name, IMAGES)


class Child:
    """A program that ends with us; its output is in `log`."""

    def __init__(self, args, log: pathlib.Path, env=None):
        self.log = log
        with open(log, "ab") as out:
            self.process = subprocess.Popen([str(arg) for arg in args], stdout=out, stderr=out, stdin=subprocess.DEVNULL,
                                            env=env, start_new_session=True)

    def end(self, number=signal.SIGTERM, timeout=30):
        """Sends the signal and waits; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


class Registry:
    """docker-registry on loopback, holding the test images under their usual names. Several may share one `folder`: what one
    was given, all have. `tls` is the configuration's http.tls, `auth` its auth section."""

    def __init__(self, folder: pathlib.Path, names=(), tls=None, auth=None):
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        config = folder / f"registry-{self.port}.yml"
        config.write_text(json.dumps({  # JSON is YAML
            "version": 0.1, "log": {"level": "warn"}, "storage": {"filesystem": {"rootdirectory": f"{folder}/registry"}},
            "http": {"addr": self.address, **({"tls": tls} if tls else {})}, **({"auth": auth} if auth else {})}))
        self.child = Child(["docker-registry", "serve", config], folder / f"registry-{self.port}.log",
                           {"PATH": os.environ["PATH"], "OTEL_TRACES_EXPORTER": "none"})
        until("docker-registry listens", self.listens, 20)
        self.digests = {name: push_image.push(image_layout(name), self.address, name) for name in names}

    def listens(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def blob_requests(self) -> int:
        return self.child.log.read_text(errors="replace").count("GET /v2/")

    def end(self):
        self.child.end()


class Answer:
    def __init__(self, response, body: bytes):
        self.status, self.headers, self.body = response.status, response.headers, body

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"{self.status} {self.body[:600]!r}"


class Client:
    """REST calls to one server; each answer is held against the API's description."""

    def __init__(self, address: str, key=None):
        self.address, self.key = address, key

    def call(self, method, path, body=None, headers=None, timeout=180) -> Answer:
        headers = dict(headers or {})
        if self.key and "Authorization" not in headers:
            headers["Authorization"] = f"Bearer {self.key}"
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
        if not path.startswith(("/healthz", "/readyz", "/metrics", "/openapi.json", "/api/")):
            path = "/api/v1" + path
        connection = contract.Connection(self.address, timeout=timeout)
        try:
            connection.request(method, path, body=body, headers=headers)
            response = connection.getresponse()
            answer = Answer(response, response.read())
            connection.exchange.check_body(answer.body)
            return answer
        finally:
            connection.close()

    def want(self, status, method, path, body=None, **more):
        """The JSON of an answer that must have `status`."""
        answer = self.call(method, path, body, **more)
        if answer.status != status:
            raise AssertionError(f"{method} {path}: wanted {status}, got {answer}")
        return answer.json if answer.body else None

    def warm_up(self, name, image, timeout=180, **more):
        """Warms up and waits; the template's last status."""
        answer = self.call("POST", "/templates/warmup", {"name": name, "image": image, "snapshot": False, **more})
        if answer.status not in (200, 202):
            raise AssertionError(f"warmup of {image}: {answer}")
        return self.settled(name, timeout)

    def settled(self, name, timeout=180):
        def look():
            status = self.want(200, "GET", f"/templates/{name}/status")
            return status if status["status"] in ("ready", "failed") else None
        return until(f"template {name} is ready or failed", look, timeout, 0.1)

    def ready(self, name, image, **more):
        status = self.warm_up(name, image, **more)
        if status["status"] != "ready":
            raise AssertionError(f"warmup of {image}: {json.dumps(status, indent=1)}")
        return status

    def running_stages(self, pipeline):
        """The names of the stages that run now, of all runs of that pipeline."""
        runs = self.want(200, "GET", f"/pipelines/runs?kind={pipeline}&status=running")["items"]
        return [stage["name"] for run in runs for stage in run["stages"] if stage["status"] == "running"]

    def create(self, template, **more):
        return self.want(201, "POST", "/sandboxes", {"template": template, **more})

    def exec(self, sandbox, command, *args, **more):
        return self.want(200, "POST", f"/sandboxes/{sandbox}/exec", {"command": command, "args": list(args), **more})


class Daemon:
    """nanoboxd with a data folder of its own. `restart` keeps the folder."""

    def __init__(self, folder: pathlib.Path, config="", flags=(), prefix=(), kernel=KERNEL, path=None, key=None,
                 local_roots=(), started="/readyz"):
        self.folder, self.flags, self.prefix, self.key = folder, list(flags), list(prefix), key
        self.path, self.started = path or os.environ["PATH"], started
        self.data = folder / "data"
        self.temporary = folder / "tmp"
        self.temporary.mkdir(exist_ok=True)
        roots = json.dumps([str(root) for root in (IMAGES, folder, *local_roots)])
        self.config = folder / "nanobox.toml"
        self.config.write_text(f'[api]\nlisten_addr = "127.0.0.1:{free_port()}"\n[firecracker]\nkernel = "{kernel}"\n'
                               f'[oci]\nlocal_roots = {roots}\ndocker_config = "{folder}/docker.json"\n'
                               '[log]\nlevel = "debug"\n' + config)
        (folder / "docker.json").write_text("{}")
        self.log = folder / "nanoboxd.log"
        self.start()

    def environment(self):
        return {"PATH": self.path, "HOME": str(self.folder), "NANOBOX_DATA": str(self.data), "TMPDIR": str(self.temporary)}

    def seen_data(self):
        """The data folder as the daemon sees it, be it in a mount namespace of its own."""
        return pathlib.Path(f"/proc/{self.child.process.pid}/root{self.data}")

    def start(self):
        self.child = Child([*self.prefix, BUILD / "bin" / "nanoboxd", "--config", self.config, f"--agent.vmm={vmm()}",
                            *self.flags], self.log, self.environment())
        address = next(line for line in self.config.read_text().splitlines() if line.startswith("listen_addr")).split('"')[1]
        self.client = Client(address, self.key)
        try:
            until("nanoboxd is ready", self.is_ready, 60)
        except AssertionError as error:
            self.child.end(signal.SIGKILL)
            raise AssertionError(f"{error}\n{self.tail()}") from None

    def is_ready(self):
        if self.child.process.poll() is not None:
            raise AssertionError(f"nanoboxd ended with {self.child.process.returncode}:\n{self.tail()}")
        try:
            return self.client.call("GET", self.started, timeout=5).status == 200
        except (OSError, http.client.HTTPException):
            return False

    def tail(self, lines=30):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def processes(self):
        """VMMs and helpers of this data folder: {pid: command line}."""
        return processes_of(str(self.data), but={self.child.process.pid, os.getpid()})

    def memory(self) -> int:
        """Bytes that are the daemon's own."""
        status = pathlib.Path(f"/proc/{self.child.process.pid}/status").read_text()
        return 1024 * sum(int(line.split()[1]) for line in status.splitlines() if line.startswith(("RssAnon", "RssShmem")))

    def vmm(self, sandbox):
        """The process id of a sandbox's VMM."""
        return machines(self.seen_data())[sandbox]["pid"]

    def cli(self, *args, timeout=180, **more):
        env = {**self.environment(), "NANOBOX_SERVER": f"http://{self.client.address}", "TERM": "dumb"}
        if self.key:
            env["NANOBOX_KEY"] = self.key
        return subprocess.run([BUILD / "bin" / "nanobox", *args], capture_output=True, text=True, timeout=timeout, env=env,
                              stdin=subprocess.DEVNULL, **more)

    def remove_everything(self):
        for sandbox in self.client.want(200, "GET", "/sandboxes?limit=1000")["items"]:
            self.client.call("DELETE", f"/sandboxes/{sandbox['id']}")

    def settle(self):
        """Deletes every sandbox and waits until nothing is left of any work."""
        self.remove_everything()
        try:
            until("nothing is left", lambda: not idle_leaks(self) or None, 15)
        except AssertionError:
            raise AssertionError("\n".join(["left behind:", *idle_leaks(self)])) from None

    def end(self):
        """An orderly stop after which nothing may be left."""
        if self.child.process.poll() is None:
            self.remove_everything()
        code = self.child.end()
        return code


def kill_what_is_left(folder: pathlib.Path):
    """After a test that failed, whose daemon may be unable to do it."""
    for pid in processes_of(str(folder), but={os.getpid()}):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


class Case(unittest.TestCase):
    """A test class with one daemon and one registry for all of its tests; each test begins and ends without sandboxes."""
    images = ("library/busybox:latest",)
    config, flags, prefix, key = "", (), (), None
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="nb-", dir="/tmp"))
        cls.folder.chmod(0o755)
        cls.interfaces_before = interfaces()
        cls.addClassCleanup(cls.tear_down)
        cls.registry = Registry(cls.folder, cls.images) if cls.images else None
        cls.daemon = Daemon(cls.folder, cls.config, cls.flags, cls.prefix, key=cls.key)

    @classmethod
    def tear_down(cls):
        failure = None
        try:
            if hasattr(cls, "daemon"):
                code = cls.daemon.end()
                if code != 0:
                    failure = f"nanoboxd ended with {code}:\n{cls.daemon.tail()}"
        finally:
            if getattr(cls, "registry", None):
                cls.registry.end()
            left = stopped_leaks(cls.folder, cls.interfaces_before)
            kill_what_is_left(cls.folder)
            keep = os.environ.get("NANOBOX_E2E_KEEP")
            if keep and hasattr(cls, "daemon"):
                shutil.copy(cls.daemon.log, f"{keep}/{cls.__name__}.log")
            shutil.rmtree(cls.folder, ignore_errors=True)
        if failure or left:
            raise AssertionError("\n".join(filter(None, [failure, *left])))

    def setUp(self):
        self.client = self.daemon.client
        self.addCleanup(self.look_for_leaks)

    def look_for_leaks(self):
        """After a test: its sandboxes deleted, nothing of what it did may be left."""
        if self.daemon.child.process.poll() is None:
            self.daemon.settle()

    def image(self, name):
        return f"{self.registry.address}/{name}"

    def busybox(self):
        self.client.ready("busybox", self.image("library/busybox:latest"))
        return "busybox"

    def sandbox(self, template=None, **more):
        return self.client.create(template or self.busybox(), **more)["id"]

    def problem(self, answer, status, code):
        """The problem of an answer that must be refused so."""
        self.assertEqual(answer.status, status, answer)
        self.assertEqual(answer.headers.get_content_type(), "application/problem+json")
        self.assertEqual(answer.json["code"], code, answer)
        self.assertEqual(answer.json["status"], status)
        self.assertTrue(answer.json["detail"])
        return answer.json


class OwnDaemon(unittest.TestCase):
    """Each test has a daemon of its own, oddly set up, after which nothing may be left."""
    maxDiff = None

    def setUp(self):
        keeper = tempfile.TemporaryDirectory(prefix="nb-", dir="/tmp")
        self.addCleanup(keeper.cleanup)
        self.folder = pathlib.Path(keeper.name)
        self.folder.chmod(0o755)
        self.addCleanup(kill_what_is_left, self.folder)
        before = interfaces()
        self.addCleanup(lambda: self.assertEqual(stopped_leaks(self.folder, before), []))
        self.busybox = f"oci:{image_layout('library/busybox:latest')}:latest"

    def daemon(self, config="", **more):
        daemon = Daemon(self.folder, config, **more)
        self.addCleanup(lambda: self.assertEqual(daemon.end(), 0, daemon.tail()))
        return daemon


def quote(text: str) -> str:
    return urllib.parse.quote(text, safe="")
