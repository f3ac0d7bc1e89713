"""An internet of the tests' own: hosts with public and private addresses behind the default route of the run's network."""
import collections
import fcntl
import ipaddress
import pathlib
import select
import socket
import struct
import termios
import threading
import time

import own_network
from dns_server import DnsServer

HOST = "203.0.113.2"  # the run's network, in which daemons are
ALSO_HOST = "198.51.100.200"
WEB, OTHER, FOREIGN_RESOLVER = "203.0.113.10", "198.51.100.7", "8.8.8.8"
RESOLVER = "198.51.100.53"
PRIVATE = ("10.9.9.9", "100.64.1.1", "169.254.169.254", "172.20.0.1", "192.168.77.1", "198.18.0.1")
PORT, SINK, SOURCE = 7000, 7001, 7002  # answer with who asks · swallow · send as many bytes as a line says

Seen = collections.namedtuple("Seen", "protocol source target payload")
PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp"}


class Sniffer:
    """Every frame that a network's links see, or one of them does: in `frames`, and IPv4 packets in `packets`."""

    def __init__(self, link=None):
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        if link:
            self.socket.bind((link, 3))
        self.frames = []
        self.stopping, self.stop = socket.socketpair()
        self.thread = threading.Thread(target=self.listen)
        self.thread.start()

    def listen(self):
        while self.stopping not in (ready := select.select([self.stopping, self.socket], [], [])[0]):
            if ready:
                self.frames.append(self.socket.recv(256))

    def packets(self, since=0):
        found = []
        for frame in self.frames[since:]:
            if frame[12:14] == b"\x08\x00":
                end = 14 + 4 * (frame[14] & 15)
                source, target = (str(ipaddress.IPv4Address(frame[at:at + 4])) for at in (26, 30))
                found.append(Seen(PROTOCOLS.get(frame[23], frame[23]), source, target, frame[end:]))
        return found

    def close(self):
        self.stop.close()
        self.thread.join()
        self.stopping.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Connection:
    """A connection that was accepted: who made it, what came, how long it took from the first byte to the end."""

    def __init__(self, peer):
        self.peer, self.received, self.began, self.ended = peer, 0, time.monotonic(), None
        self.error = None

    @property
    def seconds(self):
        return self.ended - self.began


class Servers:
    """Answer on every address of the network in which this is made: on PORT TCP and UDP, on SINK and SOURCE TCP."""

    def __init__(self):
        self.connections = []
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.setsockopt(socket.IPPROTO_IP, 8, 1)  # IP_PKTINFO: the answer comes from where the question went
        self.udp.bind(("0.0.0.0", PORT))
        self.tcp = {socket.create_server(("0.0.0.0", port)): work for port, work in
                    ((PORT, self.answer), (SINK, self.swallow), (SOURCE, self.send))}
        self.stopping, self.stop = socket.socketpair()
        self.threads, self.open = [], set()
        self.begin(self.serve)

    def begin(self, work, *args):
        thread = threading.Thread(target=work, args=args)
        self.threads.append(thread)
        thread.start()

    def serve(self):
        while self.stopping not in (ready := select.select([self.stopping, self.udp, *self.tcp], [], [])[0]):
            for each in ready:
                if each is self.udp:
                    _, info, _, peer = self.udp.recvmsg(4096, 64)
                    self.udp.sendmsg([peer[0].encode()], info[:1], 0, peer)
                else:
                    accepted, peer = each.accept()
                    self.open.add(accepted)
                    connection = Connection(peer[0])
                    self.connections.append(connection)
                    self.begin(self.talk, self.tcp[each], accepted, connection)

    def talk(self, work, accepted, connection):
        try:
            work(accepted, connection)
        except OSError as error:
            connection.error = error
        connection.ended = time.monotonic()
        self.open.discard(accepted)
        accepted.close()

    @staticmethod
    def answer(accepted, connection):
        asked = accepted.recv(4096)
        head = b"HTTP/1.0 200 OK\r\n\r\n" if asked.startswith(b"GET ") else b""
        accepted.sendall(head + connection.peer.encode())

    @staticmethod
    def swallow(accepted, connection):
        while got := accepted.recv(1 << 16):
            if not connection.received:
                connection.began = time.monotonic()
            connection.received += len(got)

    @staticmethod
    def send(accepted, connection):
        size = int(accepted.makefile().readline())
        connection.began = time.monotonic()
        accepted.sendall(bytes(size))
        while struct.unpack("i", fcntl.ioctl(accepted, termios.TIOCOUTQ, bytes(4))) != (0,):
            time.sleep(0.002)  # what the other side has acknowledged has arrived

    def close(self):
        self.stop.close()
        self.threads[0].join()
        for accepted in list(self.open):
            try:
                accepted.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # its peer was faster
        for thread in self.threads[1:]:
            thread.join()
        for each in (self.stopping, self.udp, *self.tcp):
            each.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Uplink:
    """`resolv_conf` names its resolver, `seen` is what came out of the run's network."""

    def __init__(self, folder: pathlib.Path):
        self.internet = inside = own_network.Network()
        self.resolv_conf = folder / "resolv.conf"
        self.resolv_conf.write_text(f"nameserver {RESOLVER}\n")
        own_network.ip("link", "add", "up0", "type", "veth", "peer", "name", "up1", "netns", inside.path)
        own_network.ip("address", "add", f"{HOST}/24", "dev", "up0")
        own_network.ip("address", "add", f"{ALSO_HOST}/32", "dev", "up0")
        own_network.ip("link", "set", "up0", "up")
        own_network.ip("route", "add", "default", "via", "203.0.113.1")
        for address in ("203.0.113.1/24", f"{WEB}/32", f"{OTHER}/32", f"{FOREIGN_RESOLVER}/32", f"{RESOLVER}/32", *PRIVATE):
            inside.ip("address", "add", address, "dev", "up1")
        inside.ip("link", "set", "up1", "up")
        # Back to the host for everything: what leaves without NAT is answered too.
        inside.ip("route", "add", "default", "via", HOST)
        self.sniffer = inside.run(lambda: Sniffer("up1"))
        self.servers = inside.run(Servers)
        self.dns = DnsServer(inside, (RESOLVER, FOREIGN_RESOLVER))

    def from_outside(self, kind, address: str, port: int, text=b"ask", patience=0.4) -> bytes:
        """What a host of the internet is answered; nothing where nobody answers."""
        return self.internet.run(lambda: ask(kind, address, port, text, patience))

    def mark(self) -> int:
        """For `seen`: from now on."""
        return len(self.sniffer.frames)

    def seen(self, since: int):
        return [packet for packet in self.sniffer.packets(since) if packet.target != HOST]

    def daemon_prefix(self):
        """Starts a program for which the host's resolver is this internet's."""
        return ["unshare", "-m", "sh", "-c", f'mount --bind {self.resolv_conf} /etc/resolv.conf && exec "$@"', "sh"]

    def close(self):
        self.servers.close()
        self.dns.close()
        self.sniffer.close()
        own_network.ip("link", "del", "up0")
        self.internet.close()


def ask(kind, address: str, port: int, text=b"ask", patience=0.4) -> bytes:
    """The answer by UDP or TCP (SOCK_DGRAM, SOCK_STREAM) of this thread's network; nothing where nobody answers."""
    with socket.socket(socket.AF_INET, kind) as asking:
        asking.settimeout(patience)
        try:
            asking.connect((address, port))
            asking.send(text)
            return asking.recv(4096)
        except OSError:
            return b""
