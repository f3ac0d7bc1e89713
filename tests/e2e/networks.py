"""What tests of sandboxes' networks share: a host with an uplink, a template with a prober inside, and what that reaches."""
import functools
import itertools
import pathlib
import re
import socket
import struct
import subprocess
import tempfile
import unittest

import dns_server
import own_network
from copies import SMALL, Copies
from harness import HERE, Case, OwnDaemon, until
from make_default_image import CONFIG, busybox_layer
from oci_layout import LayerTar, OciLayout
from uplink import PORT, SINK, SOURCE, WEB, Uplink, ask

GATEWAY, INNER_GATEWAY = "10.100.0.1", "169.254.100.1"
GUEST, GUEST_MAC, TAP_MAC = "169.254.100.2", "026e62000001", "026e62000002"
ALL = {"udp", "tcp", "icmp"}
PRIME = {"command": "/root/prober", "args": ["serve", str(PORT)], "background": True, "ready": {"port": PORT}}

#: What a transfer sends of payload, and of an Ethernet frame with TCP in it, how much that is.
BYTES, FRAME, PAYLOAD = 3_000_000, 1514, 1448
UPLOAD, DOWNLOAD = f"head -c {BYTES} /dev/zero | nc {WEB} {SINK}", f"echo {BYTES} | nc {WEB} {SOURCE} > /dev/null"

numbers = itertools.count()
needs_own_network = unittest.skipUnless(own_network.enter(), "making networks needs root")


@functools.cache
def prober() -> bytes:
    with tempfile.TemporaryDirectory(prefix="nb-", dir="/tmp") as folder:
        subprocess.run(["gcc", "-O1", "-static", "-Wall", "-o", f"{folder}/prober", HERE / "prober.c"], check=True)
        return pathlib.Path(folder, "prober").read_bytes()


def warm_up_prober(daemon, name="net", **more):
    """Its template of busybox with a prober, which serves on PORT in what comes from the snapshot."""
    layout = OciLayout(daemon.folder / "prober")
    layer = LayerTar()
    layer.file("root/prober", prober(), mode=0o755)
    layers = [layout.add_layer(tar, level=1) for tar in (busybox_layer("/bin/busybox", also_in_bin=True), layer.end())]
    layout.add_image("latest", layers, CONFIG)
    layout.finish()
    daemon.client.ready(name, f"oci:{layout.folder}:latest", resources=SMALL, snapshot=True, prime=PRIME, **more)


def begin_uplink(case) -> Uplink:
    """An uplink for a test, or for a class of tests."""
    clean_up = case.addClassCleanup if isinstance(case, type) else case.addCleanup
    keeper = tempfile.TemporaryDirectory(prefix="nb-", dir="/tmp")
    clean_up(keeper.cleanup)
    uplink = Uplink(pathlib.Path(keeper.name))
    clean_up(uplink.close)
    return uplink


def link_of(sandbox) -> str:
    """The host's end of a sandbox's network."""
    route = subprocess.run(["ip", "route", "get", sandbox["ip"]], capture_output=True, text=True, check=True).stdout
    return re.search(r" dev (\S+)", route).group(1)


def udp(text: bytes) -> bytes:
    """A datagram to PORT without a checksum."""
    return struct.pack(">4H", 4000, PORT, 8 + len(text), 0) + text


def ipv6_frame(source: str, target: str, text: bytes) -> str:
    addresses = b"".join(socket.inet_pton(socket.AF_INET6, address) for address in (source, target))
    return TAP_MAC + GUEST_MAC + "86dd" + (struct.pack(">IHBB", 6 << 28, 8 + len(text), 17, 64) + addresses + udp(text)).hex()


def arp_frame(sender: str, target: str, text: bytes) -> str:
    """Who has `target`? `sender` wants to know; and a text behind it."""
    asked = struct.pack(">HHBBH", 1, 0x0800, 6, 4, 1).hex() + GUEST_MAC + socket.inet_aton(sender).hex()
    return "f" * 12 + GUEST_MAC + "0806" + asked + "0" * 12 + socket.inet_aton(target).hex() + text.hex()


def ipv4_frame(source: str, target: str, text: bytes, source_mac=GUEST_MAC, target_mac=TAP_MAC, tag="") -> str:
    """A UDP datagram to PORT in an Ethernet frame, in hex, as prober.c takes it."""
    body = udp(text)
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, 64, 17, 0)
    head += socket.inet_aton(source) + socket.inet_aton(target)
    total = sum(struct.unpack(">10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    head = head[:10] + struct.pack(">H", ~total & 0xFFFF) + head[12:]
    return target_mac + source_mac + tag + "0800" + (head + body).hex()


class Networks(Copies):
    """Mixed into a Case or an OwnDaemon with `client` and `uplink`."""

    def draw_names(self):
        """No two tests have a name in common: the daemon keeps answers."""
        self.domain = f"{next(numbers)}.example"
        self.www = f"www.{self.domain}"

    def make(self, mode, boot="auto", template="net", **network):
        """A sandbox of that mode."""
        return self.client.create(template, boot=boot, network={"mode": mode, **network})

    def change(self, sandbox, mode, **network):
        return self.client.want(200, "PUT", f"/sandboxes/{sandbox['id']}/network", {"mode": mode, **network})

    def probe(self, sandbox, *targets, patience=1.2):
        """{target: answer} of those that answer in that time; they are written as prober.c has them."""
        lines = self.sh(sandbox["id"], f"/root/prober {int(patience * 1000)} {' '.join(targets)}").splitlines()
        return {what: bytes.fromhex(answer) for what, answer in (line.split(" ") for line in lines)}

    def reached(self, sandbox, *addresses, patience=1.2):
        """{address: ways} of those among the addresses that answer at all, of "udp", "tcp" and "icmp"."""
        found = {}
        targets = [f"{kind}:{address}:{0 if kind == 'icmp' else PORT}" for address in addresses for kind in sorted(ALL)]
        for target in self.probe(sandbox, *targets, patience=patience):
            kind, address, _ = target.split(":")
            found.setdefault(address, set()).add(kind)
        return found

    def lookup(self, sandbox, name, server=GATEWAY, kind=dns_server.A, patience=3.0):
        """What the sandbox is answered; None where nobody answers."""
        answers = self.probe(sandbox, f"udp:{server}:53:{dns_server.question(name, kind).hex()}", patience=patience)
        return dns_server.answer_of(*answers.values()) if answers else None

    def known_as(self, sandbox, target):
        """The address that the target says it was asked from."""
        return self.probe(sandbox, f"udp:{target}:{PORT}")[f"udp:{target}:{PORT}"].decode()

    def check_closed(self, sandbox):
        """Nobody on the host or outside is answered by it."""
        for kind in socket.SOCK_STREAM, socket.SOCK_DGRAM:
            self.assertEqual(ask(kind, sandbox["ip"], PORT), b"")
            self.assertEqual(self.uplink.from_outside(kind, sandbox["ip"], PORT), b"")

    def stream(self, sandbox, address=WEB):
        """A connection of the sandbox on which something comes ten times a second, as its server sees it; and its process."""
        before = len(self.uplink.servers.connections)
        process = self.start(sandbox["id"], f"while echo tick; do sleep 0.1; done | nc {address} {SINK}")
        until("it is connected", lambda: len(self.uplink.servers.connections) > before)
        connection = self.uplink.servers.connections[-1]
        self.check_flows(connection)
        return connection, process

    def check_flows(self, connection, patience=10):
        before = connection.received
        until("more comes", lambda: connection.received > before or connection.ended, patience)
        self.assertIsNone(connection.ended, "the connection has ended")

    def check_stopped(self, connection, meanwhile):
        """Nothing comes from after a moment until `meanwhile` has returned, which takes its time."""
        before = connection.received
        meanwhile()
        self.assertEqual(connection.received, before)

    def megabits(self, sandbox, transfer):
        """A second, frames included, of the connection that the command makes."""
        before = len(self.uplink.servers.connections)
        self.sh(sandbox["id"], transfer)
        connection, = self.uplink.servers.connections[before:]
        until("its server knows the end", lambda: connection.ended)
        return BYTES * FRAME / PAYLOAD * 8 / connection.seconds / 1e6

    def check_rate(self, sandbox, rate, *transfers):
        """It is never more, and comes near it; not at once where the machine is busy."""
        def near(transfer):
            measured = self.megabits(sandbox, transfer)
            self.assertLess(measured, 1.15 * rate)
            return measured > 0.85 * rate
        for transfer in transfers or (UPLOAD, DOWNLOAD):
            until(f"it comes to {rate} Mbit/s: {transfer}", lambda: near(transfer), 20)


@needs_own_network
class NetworkCase(Case, Networks):
    """One daemon and one uplink for all tests of the class."""
    images = ()

    @classmethod
    def setUpClass(cls):
        cls.uplink = begin_uplink(cls)
        cls.prefix = cls.uplink.daemon_prefix()
        super().setUpClass()
        warm_up_prober(cls.daemon)

    def setUp(self):
        super().setUp()
        self.uplink.dns.names = {}
        self.uplink.dns.asked.clear()
        self.draw_names()


@needs_own_network
class NetworkHosts(OwnDaemon, Networks):
    """Each test has an uplink and daemons of its own."""

    def setUp(self):
        self.uplink = begin_uplink(self)
        self.draw_names()
        super().setUp()
