"""Network groups over several nodes: what reaches what by address and by name, and who does not; addresses that run low."""
import hashlib
import ipaddress
import re
import signal
import socket
import struct
import subprocess
import unittest

from cluster import BACK, LOST, SMALL, ClusterCase
from harness import Client, image_layout, until
from networks import ALL, GUEST, Networks, ipv4_frame, link_of, prober
from uplink import PORT, Sniffer

OVERLAY = ["--cluster.overlay_iface=eth0"]
VXLAN_PORT = 4789
BIG = 8_000_000


def vxlan_frame(vni: int, sender: str, receiver: str, frame: str) -> bytes:
    """As the host `sender` of the underlay would wrap a sandbox's frame; MACs say their hosts' addresses."""
    macs = b"".join(b"\x02\x6e" + socket.inet_aton(host) for host in (receiver, sender))
    return struct.pack(">II", 0x08 << 24, vni << 8) + macs + bytes.fromhex(frame)[12:]


def command_line(*words) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


class Groups(ClusterCase, Networks):
    """n1 and n2 have an overlay, plain has none. A node's part of the subnet has five addresses."""
    nodes_wanted, node_flags = 2, OVERLAY
    control_flags = ["--network.subnet=10.100.0.0/25"]
    keys = {"admin": "admin-key-0123456789", "bob": "bob-key-0123456789ab"}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.first, cls.second = cls.nodes
        cls.plain = cls.add_node("plain", 30, flags=[])
        cls.bob = Client(cls.client.address, cls.keys["bob"])
        for client in cls.client, cls.bob:
            client.ready("busybox", f"oci:{image_layout('library/busybox:latest')}:latest", resources=SMALL, snapshot=True)

    def setUp(self):
        super().setUp()
        self.bobs = set()
        self.addCleanup(self.remove_bobs)

    def remove_bobs(self):
        for sandbox in self.bobs:
            self.bob.call("DELETE", f"/sandboxes/{sandbox}")

    def sh(self, sandbox, script, **more):
        owner = self.bob if sandbox in self.bobs else self.client
        return owner.exec(sandbox, "sh", "-c", script, **more)["stdout"]

    def member(self, node, group="g", client=None, **more):
        """A sandbox of that group there, in which somebody answers at PORT."""
        client = client or self.client
        with self.only(node):
            made = client.create("busybox", network={"mode": "internal", "group": group}, **more)
        self.assertEqual(made["node_id"], node.name)
        if client is self.bob:
            self.bobs.add(made["id"])
        answer = client.call("PUT", f"/sandboxes/{made['id']}/files?path=/root/prober&mode=0755", prober(),
                             {"Content-Type": "application/octet-stream"})
        self.assertEqual(answer.status, 204, answer)
        self.sh(made["id"], f"/root/prober serve {PORT} > /dev/null 2>&1 < /dev/null &")
        return made

    def group(self, *places):
        """One at each place: a node, and what else `member` takes."""
        return [self.member(*place) for place in places]

    def check_reach(self, one, other):
        """They reach each other in every way, and by name."""
        for here, there in (one, other), (other, one):
            until("it is reached", lambda: self.reached(here, there["ip"]) == {there["ip"]: ALL}, BACK)
            answer = self.lookup(here, f"{there['id']}.nanobox.internal")
            self.assertEqual((answer.code, answer.addresses), ("NOERROR", [there["ip"]]))

    def check_apart(self, one, other):
        for here, there in (one, other), (other, one):
            self.assertEqual(self.reached(here, there["ip"]), {})
            self.assertEqual(self.lookup(here, f"{there['id']}.nanobox.internal").code, "NXDOMAIN")

    def dry_run(self, group):
        return self.client.want(200, "POST", "/sandboxes?dry_run=1",
                                {"template": "busybox", "network": {"mode": "internal", "group": group}})

    def overlay_of(self, node):
        """The name of its VXLAN device and the number of its frames."""
        shown = node.network.run(lambda: command_line("ip", "-d", "link", "show", "type", "vxlan"))
        return re.search(r"^\d+: (nv[0-9a-f]{6}):", shown).group(1), int(re.search(r"vxlan id (\d+)", shown).group(1))

    def knows(self, node):
        """The hosts to which it sends sandboxes' frames."""
        device, _ = self.overlay_of(node)
        shown = node.network.run(lambda: command_line("ip", "route", "show", "dev", device)
                                 + command_line("ip", "neigh", "show", "dev", device)
                                 + command_line("bridge", "fdb", "show", "dev", device))
        return set(re.findall(r"10\.9\.0\.\d+", shown))

    def test_a_group_spans_nodes_and_nobody_else_is_in_it(self):
        one, two, stranger, bobs = self.group((self.first, "g"), (self.second, "g"), (self.second, "h"),
                                              (self.second, "g", self.bob))
        self.check_reach(one, two)
        self.assertEqual(self.known_as(one, two["ip"]), one["ip"])
        for other in stranger, bobs:
            self.check_apart(one, other)
        self.check_big_things_pass(one, two)
        self.check_lies_are_dropped(one, two, stranger)
        self.check_strangers_cannot_inject(one, two)
        # A change holds at once: its own node is enough.
        self.change(one, "internal", group="h")
        self.assertEqual(self.reached(two, one["ip"]), {})
        self.check_reach(one, stranger)
        self.change(one, "isolated")
        self.assertEqual(self.reached(stranger, one["ip"]), {})

    def check_big_things_pass(self, one, two):
        content = f"yes {'0123456789' * 20} | head -c {BIG}"
        self.start(two["id"], "nc -l -p 7005 > /root/got; touch /root/done")
        until("it listens", lambda: ":7005 " in self.sh(two["id"], "netstat -ltn"))
        self.sh(one["id"], f"{content} | nc {two['ip']} 7005", timeout_ms=60_000)
        until("all has come", lambda: self.sh(two["id"], "cat /root/done 2>&1") == "")
        wanted = (("0123456789" * 20 + "\n") * (BIG // 201 + 1)).encode()[:BIG]
        self.assertEqual(self.sh(two["id"], "md5sum < /root/got").split()[0], hashlib.md5(wanted).hexdigest())
        # A datagram that is larger than what the overlay carries in one piece.
        large = f"udp:{two['ip']}:{PORT}:{'61' * 1480}"
        self.assertEqual(self.probe(one, large, patience=4), {large: one["ip"].encode()})

    def check_lies_are_dropped(self, one, two, stranger):
        truth, lie = b"truth", b"lie"
        neighbour = str(ipaddress.ip_address(one["ip"]) + 1)
        frames = [*(ipv4_frame(source, two["ip"], lie) for source in (one["ip"], neighbour, two["ip"], stranger["ip"], "10.9.0.11")),
                  ipv4_frame(GUEST, stranger["ip"], lie), ipv4_frame(GUEST, "10.9.0.12", lie), ipv4_frame(GUEST, two["ip"], truth)]
        device, _ = self.overlay_of(self.second)
        with self.second.network.run(lambda: Sniffer(device)) as overlay:
            self.sh(one["id"], f"/root/prober frames {' '.join(frames)}")
            until("the last one has come", lambda: [frame for frame in overlay.frames if truth in frame])
            self.assertEqual([frame for frame in overlay.frames if lie in frame], [])

    def check_strangers_cannot_inject(self, one, two):
        _, vni = self.overlay_of(self.second)
        link = self.second.network.run(lambda: link_of(two))

        def inject(text, sender):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as underlay:
                frame = vxlan_frame(vni, sender, self.second.address, ipv4_frame(one["ip"], two["ip"], text))
                underlay.sendto(frame, (self.second.address, VXLAN_PORT))
        with self.second.network.run(lambda: Sniffer(link)) as seen:
            # From here, which is no node; from a node without an overlay; from one that has it.
            inject(b"stranger", self.first.address)
            self.plain.network.run(lambda: inject(b"plain", self.first.address))
            self.first.network.run(lambda: inject(b"friend", self.first.address))
            until("the friend's has come", lambda: [frame for frame in seen.frames if b"friend" in frame])
            self.assertEqual([frame for frame in seen.frames if b"stranger" in frame or b"plain" in frame], [])

    def test_a_group_outlives_the_death_of_a_daemon(self):
        one, two = self.group((self.first, "g"), (self.second, "g"))
        self.check_reach(one, two)
        self.second.child.process.send_signal(signal.SIGKILL)
        self.second.child.process.wait()
        until("it is lost", lambda: self.second.status == "lost", LOST)
        # Its sandboxes run on, and so does their network.
        self.assertEqual(self.probe(one, f"tcp:{two['ip']}:{PORT}"), {f"tcp:{two['ip']}:{PORT}": one["ip"].encode()})
        self.second.start()
        self.check_reach(one, two)
        self.check_stream_outlives(one, two, self.second)
        self.check_stream_outlives(one, two, self.control)
        self.check_reach(one, two)

    def check_stream_outlives(self, one, two, member):
        """A connection goes on while a daemon is killed and started again, and nothing of it is lost."""
        file = f"/root/of-{member.name}"
        self.start(two["id"], f"nc -l -p 7006 > {file}")
        until("it listens", lambda: ":7006 " in self.sh(two["id"], "netstat -ltn"))
        count = f"i=0; while echo $i; do i=$((i+1)); sleep 0.1; done | nc {two['ip']} 7006"
        process = self.start(one["id"], count)
        numbers = lambda: [int(line) for line in self.sh(two["id"], f"cat {file}").split()]  # noqa: E731
        until("it flows", lambda: numbers())
        member.child.process.send_signal(signal.SIGKILL)
        member.child.process.wait()
        member.start()
        for node in self.nodes:
            self.back(node)
        before = numbers()
        self.assertEqual(before, list(range(len(before))))
        until("it goes on", lambda: len(numbers()) > len(before), BACK)
        self.client.call("DELETE", f"/sandboxes/{one['id']}/processes/{process}")

    def test_a_node_that_is_removed_is_forgotten(self):
        leaving = self.add_node("leaving", 40)
        try:
            one, two = self.group((self.first, "g"), (leaving, "g"))
            self.check_reach(one, two)
            self.assertLessEqual({self.second.address, leaving.address}, self.knows(self.first))
            self.client.want(204, "DELETE", f"/sandboxes/{two['id']}")
            until("its name is forgotten",
                  lambda: self.lookup(one, f"{two['id']}.nanobox.internal").code == "NXDOMAIN")
            self.assertEqual(leaving.end(), [])
            until("it is lost", lambda: leaving.status == "lost", LOST)
            self.assertIn(leaving.address, self.knows(self.first))
            self.client.want(204, "DELETE", "/nodes/leaving")
            until("its peers forget it", lambda: leaving.address not in self.knows(self.first) | self.knows(self.second))
            self.assertIn(self.second.address, self.knows(self.first))
        finally:
            self.nodes.remove(leaving)
            self.members.remove(leaving)
            leaving.close()

    def test_a_group_of_a_node_without_an_overlay_stays_there(self):
        one = self.member(self.plain, "alone")
        told = self.dry_run("alone")
        self.assertEqual(told["node_id"], "plain")
        self.assertTrue([why for why in told["because"] if "network group is there" in why and "no overlay" in why], told)
        for other in told["others"]:
            self.assertFalse(other["fits"])
            self.assertIn("its network group is on plain, which has no overlay", other["why"])
        two = self.client.create("busybox", network={"mode": "internal", "group": "alone"})
        self.assertEqual(two["node_id"], "plain")
        self.assertEqual(self.lookup(one, f"{two['id']}.nanobox.internal").addresses, [two["ip"]])

        self.member(self.first, "wide")
        told = self.dry_run("wide")
        self.assertIn(told["node_id"], ("n1", "n2"))
        why = {other["node_id"]: other for other in told["others"]}
        self.assertIn("without an overlay", why["plain"]["why"])
        self.assertFalse(why["plain"]["fits"])
        with self.only(self.plain):
            answer = self.client.call("POST", "/sandboxes", {"template": "busybox", "network": {"mode": "internal", "group": "wide"}})
        self.assertEqual((answer.status, answer.json["code"]), (503, "no_capacity"), answer)
        # Nor does one that runs there get into it.
        answer = self.client.call("PUT", f"/sandboxes/{one['id']}/network", {"mode": "internal", "group": "wide"})
        self.assertEqual((answer.status, answer.json["code"]), (409, "conflict"), answer)
        self.assertIn("plain has no overlay", answer.json["detail"])

    def test_a_node_that_runs_out_of_addresses_gets_more(self):
        shown = lambda: self.client.want(200, "GET", f"/nodes/{self.first.name}")  # noqa: E731
        two = self.member(self.second, "many")
        with self.only(self.first):
            made = [self.client.create("busybox", network={"mode": "internal", "group": "many"}) for _ in range(6)]
        parts = [ipaddress.ip_network(part) for part in shown()["subnet_parts"]]
        self.assertGreaterEqual(len(parts), 2)
        self.assertEqual(shown()["subnet_part"], shown()["subnet_parts"][0])
        addresses = [ipaddress.ip_address(sandbox["ip"]) for sandbox in made]
        self.assertEqual(len(set(addresses)), 6)
        for address in addresses:
            self.assertEqual(len([part for part in parts if address in part]), 1)
        # The other node knows the way to all of them.
        targets = [f"icmp:{address}:0" for address in addresses]
        until("all are reached", lambda: set(self.probe(two, *targets)) == set(targets))
        # What is leased stays so over a restart.
        self.first.child.process.send_signal(signal.SIGKILL)
        self.first.child.process.wait()
        self.first.start()
        self.back(self.first, *(sandbox["id"] for sandbox in made))
        until("all are reached", lambda: set(self.probe(two, *targets)) == set(targets), BACK)
        self.assertEqual([ipaddress.ip_network(part) for part in shown()["subnet_parts"]][:len(parts)], parts)


class Exhausted(ClusterCase):
    """The smallest subnet that can be shared: 16 parts of one address."""
    nodes_wanted, control_flags = 1, ["--network.subnet=10.100.0.0/26"]

    def test_when_no_address_is_left_creates_say_so(self):
        self.ready(snapshot=True)
        node, = self.nodes
        made = [self.client.create("busybox") for _ in range(16)]
        self.assertEqual(len({sandbox["ip"] for sandbox in made}), 16)
        self.assertEqual(len(self.client.want(200, "GET", f"/nodes/{node.name}")["subnet_parts"]), 16)
        answer = self.client.call("POST", "/sandboxes", {"template": "busybox"})
        self.assertEqual((answer.status, answer.json["code"]), (503, "no_address"), answer)
        self.assertIn("network.subnet", answer.json["detail"])
        self.client.want(204, "DELETE", f"/sandboxes/{made[0]['id']}")
        again = until("its address has rested",
                      lambda: (lambda answer: answer.json if answer.status == 201 else None)(
                          self.client.call("POST", "/sandboxes", {"template": "busybox"})))
        self.assertEqual(again["ip"], made[0]["ip"])


if __name__ == "__main__":
    unittest.main()
