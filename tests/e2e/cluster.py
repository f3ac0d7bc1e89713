"""A cluster: daemons with networks of their own, on cables to one bridge in this run's network."""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import tempfile
import unittest

import nft
import own_network
from copies import SMALL, Copies
from harness import BUILD, Child, Client, Daemon, image_layout, kill_what_is_left, until, vmm
from leaks import idle_leaks, interfaces, machines, stopped_leaks

BRIDGE, HERE_ADDRESS, CONTROL_ADDRESS = "cluster-br", "10.9.0.254", "10.9.0.1"
CLUSTER_PORT, JOIN_PORT, API_PORT = 7000, 7001, 8000
#: A node that is not heard of is lost after 3 s, or 5 s where only its messages stop (docs/cluster.md); this machine is busy.
LOST = 10
#: It comes back after pauses of up to 5 s, each with a try that may take as long.
BACK = 60


class Member(Daemon):
    """A daemon of a cluster, not yet started; its host is 10.9.0.`number`."""

    def __init__(self, folder: pathlib.Path, name: str, number: int, control=None, flags=()):
        self.name, self.plug, self.control = name, f"plug{number}", control
        self.address = f"10.9.0.{number}"
        self.network = own_network.Network()
        own_network.ip("link", "add", self.plug, "type", "veth", "peer", "name", "eth0", "netns", self.network.path)
        own_network.ip("link", "set", self.plug, "master", BRIDGE, "up")
        self.network.ip("address", "add", f"{self.address}/24", "dev", "eth0")
        self.network.ip("link", "set", "eth0", "up")
        self.interfaces_before = self.network.run(interfaces)
        self.is_set_up = False
        (folder / name).mkdir()
        super().__init__(folder / name, flags=flags)
        self.is_set_up = True

    @property
    def epoch(self):
        return self.client.want(200, "GET", f"/nodes/{self.name}")["epoch"]

    @property
    def status(self):
        return self.client.want(200, "GET", f"/nodes/{self.name}")["status"]

    def launch(self, *flags):
        self.child = self.network.run(lambda: Child(
            [BUILD / "bin" / "nanoboxd", "--config", self.config, f"--agent.vmm={vmm()}", *self.flags, *flags],
            self.log, self.environment()))

    def start(self, *flags):
        """Waits until the control plane has it, as one that was started anew."""
        if not self.is_set_up:
            return
        before = self.epoch if self.is_known() else 0
        self.launch(*flags)
        try:
            until(f"{self.name} is ready", lambda: self.is_ready() and self.epoch > before and self.status != "lost", BACK)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.tail()}") from None

    def is_known(self):
        return self.client.call("GET", f"/nodes/{self.name}").status == 200

    def is_ready(self):
        if self.child.process.poll() is not None:
            raise AssertionError(f"{self.name} ended with {self.child.process.returncode}:\n{self.tail()}")
        return self.is_known()

    def token_file(self, token: str, mode=0o600):
        file = self.folder / "token"
        file.unlink(missing_ok=True)
        file.touch(mode)
        file.chmod(mode)
        file.write_text(token)
        return file

    def join_flags(self, token_file, at=f"{CONTROL_ADDRESS}:{JOIN_PORT}"):
        return ["--join", at, "--token-file", token_file]

    def fails_to_join(self, *flags):
        """Its exit code and what it said."""
        before = self.log.stat().st_size if self.log.exists() else 0
        self.launch(*flags)
        code = self.child.process.wait(60)
        return code, self.log.read_text()[before:]

    def cut(self):
        own_network.ip("link", "set", self.plug, "down")

    def mend(self):
        own_network.ip("link", "set", self.plug, "up")

    @contextlib.contextmanager
    def deaf(self):
        """Nothing reaches its host."""
        self.network.run(lambda: drop_all("eth0"))
        try:
            yield
        finally:
            self.network.run(lambda: nft.nft("delete table netdev cut"))

    @contextlib.contextmanager
    def mute(self):
        """Nothing of its host reaches others."""
        drop_all(self.plug)
        try:
            yield
        finally:
            nft.nft("delete table netdev cut")

    @contextlib.contextmanager
    def reset(self):
        """Its connections with the control plane are answered with resets, of which the control plane hears nothing."""
        with self.rule("output", f"tcp dport {CLUSTER_PORT} reject with tcp reset"):
            yield

    @contextlib.contextmanager
    def rule(self, hook: str, rule: str):
        """A rule of nftables on its host."""
        self.network.run(lambda: nft.nft(f"add table inet cut; add chain inet cut it {{ type filter hook {hook} priority 0; }}; "
                                         f"add rule inet cut it {rule}"))
        try:
            yield
        finally:
            self.network.run(lambda: nft.nft("delete table inet cut"))

    @contextlib.contextmanager
    def unplugged(self):
        self.cut()
        try:
            yield
        finally:
            self.mend()

    def machines(self):
        return machines(self.data)

    def sandboxes(self):
        """The ids of those that have a VM there."""
        return {id for id in self.machines() if id.startswith("sb-")}

    def listening(self):
        """The TCP ports on which its host takes connections."""
        def look():
            lines = pathlib.Path("/proc/thread-self/net/tcp").read_text().splitlines()[1:]
            return {int(line.split()[1].split(":")[1], 16) for line in lines if line.split()[3] == "0A"}
        return self.network.run(look)

    def leaks(self):
        return [f"{self.name}: {leak}" for leak in self.network.run(lambda: idle_leaks(self))]

    def end(self):
        code = self.child.end() if hasattr(self, "child") else 0
        left = self.network.run(lambda: stopped_leaks(self.folder, self.interfaces_before))
        return [f"{self.name}: {leak}" for leak in left] + ([f"{self.name} ended with {code}:\n{self.tail()}"] if code else [])

    def close(self):
        kill_what_is_left(self.folder)
        own_network.ip("link", "del", self.plug)
        self.network.close()


class Control(Member):
    """A control plane without a node."""
    role = "control"

    def __init__(self, folder, name="control", number=1, flags=(), keys=None):
        """With `keys`, {owner: key}, each request needs one; `client` is the admin's."""
        super().__init__(folder, name, number)
        self.flags = ["--role", self.role, f"--cluster.listen_addr={self.address}:{CLUSTER_PORT}",
                      f"--api.listen_addr={self.address}:{API_PORT}", *flags]
        if keys:
            with self.config.open("a") as config:
                config.write(f"[auth]\nkeys = {json.dumps([f'{owner}:{key}' for owner, key in keys.items()])}\n")
        else:
            self.flags.append("--auth.allow_unauthenticated=true")
        self.client = Client(f"{self.address}:{API_PORT}", keys and keys["admin"])

    def start(self, *flags):
        if not self.is_set_up:
            return
        self.launch(*flags)
        until(f"{self.name} is ready", lambda: Daemon.is_ready(self), BACK)

    def token(self, lifetime_sec=3600):
        return self.client.want(201, "POST", "/nodes/tokens", {"lifetime_sec": lifetime_sec})


class Node(Member):
    def __init__(self, folder, name, number, control, node_id=None):
        super().__init__(folder, name, number, control, ["--role", "node", f"--agent.node_id={node_id or name}"])
        self.client = control.client

    def join(self):
        self.token = self.control.token()["token"]
        self.start(*self.join_flags(self.token_file(self.token)))


def drop_all(device: str):
    nft.nft("add table netdev cut; add chain netdev cut everything "
            f'{{ type filter hook ingress device "{device}" priority 0; policy drop; }}')


@unittest.skipUnless(own_network.enter(), "making networks needs root")
class ClusterCase(unittest.TestCase, Copies):
    """A control plane and nodes n1, n2, … for all tests of the class; each test begins and ends with all of them at work and
    without sandboxes."""
    nodes_wanted = 2
    node_flags, control_flags, keys = (), (), None
    control_kind = Control
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="nb-", dir="/tmp"))
        cls.folder.chmod(0o755)
        cls.members, cls.nodes = [], []
        interfaces_before = interfaces()
        cls.addClassCleanup(cls.tear_down, interfaces_before)
        own_network.ip("link", "add", BRIDGE, "type", "bridge")
        own_network.ip("address", "add", f"{HERE_ADDRESS}/24", "dev", BRIDGE)
        own_network.ip("link", "set", BRIDGE, "up")
        cls.control = cls.control_kind(cls.folder, flags=cls.control_flags, keys=cls.keys)
        cls.members.append(cls.control)
        cls.control.start()
        cls.client = cls.control.client
        for number in range(1, cls.nodes_wanted + 1):
            cls.add_node(f"n{number}", 10 + number)

    @classmethod
    def add_node(cls, name, number, kind=Node, flags=None):
        node = kind(cls.folder, name, number, cls.control)
        node.flags += cls.node_flags if flags is None else flags
        cls.members.append(node)
        cls.nodes.append(node)
        node.join()
        return node

    @classmethod
    def tear_down(cls, interfaces_before):
        left = []
        try:
            if cls.members and cls.control.child.process.poll() is None:
                cls.control.remove_everything()
            for member in reversed(cls.members):
                left += member.end()
        finally:
            for member in cls.members:
                keep = os.environ.get("NANOBOX_E2E_KEEP")
                if keep and member.log.exists():
                    shutil.copy(member.log, f"{keep}/{cls.__name__}-{member.name}.log")
                member.close()
            own_network.ip("link", "del", BRIDGE)
            shutil.rmtree(cls.folder, ignore_errors=True)
        left += [f"interface {name}" for name in interfaces() - interfaces_before]
        if left:
            raise AssertionError("\n".join(left))

    def setUp(self):
        self.addCleanup(self.settle)

    def settle(self):
        """Starts what a failed test left ended, takes back what it changed, and looks for leaks."""
        for member in self.members:
            if not hasattr(member, "child"):
                continue
            if member.child.process.poll() is not None:
                if member is self.control or member in self.nodes:
                    member.start()
            else:
                os.kill(member.child.process.pid, signal.SIGCONT)
            member.mend()
        for node in self.nodes:
            self.back(node)
            self.client.want(200, "POST", f"/nodes/{node.name}/uncordon", {})
        self.control.remove_everything()
        leaks = lambda: [leak for member in (self.control, *self.nodes) for leak in member.leaks()]  # noqa: E731
        try:
            until("nothing is left", lambda: not leaks() or None, 30)
        except AssertionError:
            raise AssertionError("\n".join(["left behind:", *leaks()])) from None

    def ready(self, name="busybox", **more):
        self.client.ready(name, f"oci:{image_layout('library/busybox:latest')}:latest", **{"resources": SMALL, **more})
        return name

    @contextlib.contextmanager
    def only(self, *nodes):
        """New sandboxes go to these alone."""
        others = [node for node in self.nodes if node not in nodes]
        for node in others:
            self.client.want(200, "POST", f"/nodes/{node.name}/cordon", {})
        try:
            yield
        finally:
            for node in others:
                self.client.want(200, "POST", f"/nodes/{node.name}/uncordon", {})

    def create_on(self, node, template="busybox", **more):
        """The id of a new sandbox there."""
        with self.only(node):
            made = self.client.create(template, **more)
        self.assertEqual((made["node_id"], made["status"]), (node.name, "running"))
        return made["id"]

    def check_lost(self, node, *sandboxes):
        """It is, in time, and so are its sandboxes, with a reason."""
        until(f"{node.name} is lost", lambda: node.status == "lost", LOST)
        for sandbox in sandboxes:
            seen = until("its sandbox is lost", lambda: (lambda s: s if s["status"] == "lost" else None)(self.seen(sandbox)), 2)
            self.assertIn(node.name, seen["reason"])
            self.assertEqual(seen["node_id"], node.name)
            answer = self.client.call("POST", f"/sandboxes/{sandbox}/exec", {"command": "true"})
            self.assertEqual(answer.status, 409, answer)
            self.assertIn("lost", answer.json["detail"])
        self.assertTrue(self.client.want(200, "GET", f"/nodes/{node.name}")["reason"])

    def back(self, node, *sandboxes):
        """It comes back, with these sandboxes at work."""
        until(f"{node.name} is back", lambda: node.status in ("ready", "draining"), BACK)
        for sandbox in sandboxes:
            until("its sandbox runs", lambda: self.seen(sandbox)["status"] == "running")
            self.assertEqual(self.sh(sandbox, "echo well"), "well\n")
