"""The wire format of DNS as far as the tests speak it (RFC 1035), and a server that answers what it is told to."""
import collections
import select
import socket
import struct
import threading

A, AAAA, OPT = 1, 28, 41
CODES = ("NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED")
Answer = collections.namedtuple("Answer", "code addresses ttls")
Asked = collections.namedtuple("Asked", "server name type")


def written_name(name: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


def read_name(message: bytes, at: int):
    """The name in lower case, and where what follows it begins."""
    labels = []
    while message[at]:
        if message[at] >= 0xC0:
            pointed, _ = read_name(message, struct.unpack_from(">H", message, at)[0] & 0x3FFF)
            return ".".join([*labels, pointed]), at + 2
        labels.append(message[at + 1:at + 1 + message[at]].decode().lower())
        at += 1 + message[at]
    return ".".join(labels), at + 1


def question(name: str, kind=A) -> bytes:
    return struct.pack(">6H", 0x6E62, 0x0100, 1, 0, 0, 0) + written_name(name) + struct.pack(">2H", kind, 1)


def answer_of(message: bytes) -> Answer:
    """Its A records."""
    _, flags, questions, answers, _, _ = struct.unpack_from(">6H", message)
    at, addresses, ttls = 12, [], []
    for _ in range(questions):
        at = read_name(message, at)[1] + 4
    for _ in range(answers):
        _, at = read_name(message, at)
        kind, _, ttl, size = struct.unpack_from(">2HIH", message, at)
        if kind == A:
            addresses.append(socket.inet_ntoa(message[at + 10:at + 14]))
            ttls.append(ttl)
        at += 10 + size
    return Answer(CODES[flags & 15], addresses, ttls)


class DnsServer:
    """Answers by UDP on port 53 of these addresses: A records of `names`, {name: [address]}, each for `ttl` seconds. What was
    asked for is kept in `asked`."""

    def __init__(self, network, addresses):
        self.names, self.asked, self.ttl = {}, [], 60
        self.sockets = {network.run(lambda: self.bound(address)): address for address in addresses}
        self.stopping, self.stop = socket.socketpair()
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    @staticmethod
    def bound(address):
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind((address, 53))
        return made

    def serve(self):
        while self.stopping not in (ready := select.select([self.stopping, *self.sockets], [], [])[0]):
            for each in ready:
                message, peer = each.recvfrom(4096)
                each.sendto(self.reply(message, self.sockets[each]), peer)

    def reply(self, message: bytes, server: str) -> bytes:
        name, end = read_name(message, 12)
        kind, = struct.unpack_from(">H", message, end)
        self.asked.append(Asked(server, name, kind))
        found = self.names.get(name)
        addresses = found if found and kind == A else []
        record = b"\xc0\x0c" + struct.pack(">2HIH", A, 1, self.ttl, 4)
        head = struct.pack(">2s5H", message[:2], 0x8180 | (0 if found else 3), 1, len(addresses), 0, 0)
        return head + message[12:end + 4] + b"".join(record + socket.inet_aton(address) for address in addresses)

    def close(self):
        self.stop.close()
        self.thread.join()
        for each in (self.stopping, *self.sockets):
            each.close()
