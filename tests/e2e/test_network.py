"""What sandboxes reach and who reaches them, by mode, lists and names: docs/network.md, seen from inside of guests."""
import concurrent.futures
import ipaddress
import socket
import struct
import unittest

import dns_server
from harness import until
from networks import (ALL, DOWNLOAD, GATEWAY, GUEST, INNER_GATEWAY, UPLOAD, NetworkCase, arp_frame, ipv4_frame,
                      ipv6_frame, link_of)
from uplink import (ALSO_HOST, FOREIGN_RESOLVER, HOST, OTHER, PORT, PRIVATE, RESOLVER, WEB, Servers, Sniffer)


class Interfaces(NetworkCase):
    def test_a_sandbox_has_an_address_of_its_own_and_says_so(self):
        made = [self.make("isolated"), self.make("internal", group="g"), self.make("internet", rate_limit_mbps=100)]
        addresses = [sandbox["ip"] for sandbox in made]
        self.assertEqual(len(set(addresses)), 3)
        for sandbox in made:
            self.assertIn(ipaddress.ip_address(sandbox["ip"]), ipaddress.ip_network("10.100.0.0/16"))
            self.assertNotEqual(sandbox["ip"], GATEWAY)
            self.assertEqual(self.seen(sandbox["id"])["ip"], sandbox["ip"])
            self.assertEqual(self.seen(sandbox["id"])["network"], sandbox["network"])
        networks = [sandbox["network"] for sandbox in made]
        self.assertEqual([network["mode"] for network in networks], ["isolated", "internal", "internet"])
        self.assertEqual((networks[1]["group"], networks[2]["rate_limit_mbps"]), ("g", 100))
        for network in networks:
            self.assertEqual(set(network), {"mode", "group", "rate_limit_mbps", "allow_domains", "allow_cidrs", "deny_cidrs"})

    def test_the_inside_is_the_same_in_every_mode(self):
        for mode in "isolated", "internal", "internet":
            with self.subTest(mode):
                sandbox = self.make(mode)["id"]
                shown = self.sh(sandbox, "ip -4 addr show dev eth0; ip link show dev eth0; ip route; cat /etc/resolv.conf")
                self.assertIn(f"inet {GUEST}/30", shown)
                self.assertIn("link/ether 02:6e:62:00:00:01", shown)
                self.assertIn(f"default via {INNER_GATEWAY}", shown)
                self.assertIn(f"nameserver {GATEWAY}\n", shown)

    def test_without_a_word_it_is_isolated(self):
        sandbox = self.client.create("net")
        self.assertEqual(sandbox["network"]["mode"], "isolated")
        self.assertEqual(self.reached(sandbox, WEB, GATEWAY), {})

    def test_ipv6_is_off(self):
        web = self.make("internet")
        self.assertEqual(self.sh(web["id"], "ip -6 addr show dev eth0"), "")
        self.uplink.dns.names[self.www] = [WEB]
        self.assertEqual(self.lookup(web, self.www, kind=dns_server.AAAA), ("NOERROR", [], []))

    def test_what_makes_no_sense_is_refused(self):
        sandbox = self.make("internal", group="g")
        for network in ({"mode": "public"}, {"mode": "internet", "rate_limit_mbps": -1},
                        {"mode": "internal", "allow_domains": ["www.example"]}, {"mode": "internal", "deny_cidrs": ["8.8.8.8"]},
                        {"mode": "isolated", "allow_cidrs": ["8.8.8.8"]}, {"mode": "internet", "allow_cidrs": [f"{WEB}/24"]},
                        {"mode": "internet", "deny_cidrs": ["everything"]}, {"mode": "internet", "allow_domains": ["no name"]},
                        {"mode": "internet", "allow_domains": ["a.*.example"]}):
            with self.subTest(network):
                answer = self.client.call("POST", "/sandboxes", {"template": "net", "network": network})
                self.problem(answer, 422, "invalid_value")
                answer = self.client.call("PUT", f"/sandboxes/{sandbox['id']}/network", network)
                self.problem(answer, 422, "invalid_value")
        answer = self.client.call("PUT", f"/sandboxes/{sandbox['id']}/network", {"mode": "internet", "speed": 1})
        self.problem(answer, 400, "unknown_field")
        self.assertEqual(self.seen(sandbox["id"])["network"], sandbox["network"])
        self.problem(self.client.call("PUT", "/sandboxes/sb-00000000000000000000000000/network", {"mode": "isolated"}), 404,
                     "sandbox_not_found")


    def test_many_at_once_have_addresses_of_their_own(self):
        with concurrent.futures.ThreadPoolExecutor(8) as workers:
            made = list(workers.map(lambda _: self.make("internal"), range(8)))
        self.assertEqual(len({sandbox["ip"] for sandbox in made}), 8)
        others = [sandbox["ip"] for sandbox in made[1:]]
        self.assertEqual(self.reached(made[0], *others), {address: ALL for address in others})


class Modes(NetworkCase):
    def test_isolated_reaches_nothing_and_nobody_reaches_it(self):
        sandbox, sibling = self.make("isolated"), self.make("isolated")
        internal, web = self.make("internal"), self.make("internet")
        before = self.uplink.mark()
        with Servers() as host:
            self.assertEqual(self.reached(sandbox, WEB, OTHER, GATEWAY, INNER_GATEWAY, HOST, ALSO_HOST, *PRIVATE, sibling["ip"],
                                          internal["ip"], web["ip"]), {})
            self.assertEqual(host.connections, [])
        for server in GATEWAY, RESOLVER:
            self.assertIsNone(self.lookup(sandbox, self.www, server, patience=1))
        self.assertEqual(self.uplink.seen(before), [])
        for other in sibling, internal, web:
            self.assertEqual(self.reached(other, sandbox["ip"]), {})
        self.check_closed(sandbox)

    def test_internal_reaches_its_group_and_nothing_else(self):
        sandbox, friend = self.make("internal", group="g"), self.make("internal", group="g")
        stranger, lonely, web = self.make("internal", group="h"), self.make("internal"), self.make("internet")
        before = self.uplink.mark()
        with Servers() as host:
            self.assertEqual(self.reached(sandbox, friend["ip"], stranger["ip"], lonely["ip"], web["ip"], WEB, OTHER, GATEWAY,
                                          INNER_GATEWAY, HOST, ALSO_HOST, *PRIVATE), {friend["ip"]: ALL})
            self.assertEqual(host.connections, [])
        self.assertEqual(self.uplink.seen(before), [])
        self.assertEqual(self.reached(friend, sandbox["ip"]), {sandbox["ip"]: ALL})
        self.assertEqual(self.known_as(sandbox, friend["ip"]), sandbox["ip"])
        for other in stranger, lonely, web:
            self.assertEqual(self.reached(other, sandbox["ip"]), {})
        self.check_closed(sandbox)

    def test_sandboxes_without_a_group_share_one(self):
        first, second = self.make("internal"), self.make("internal")
        self.assertEqual(self.reached(first, second["ip"]), {second["ip"]: ALL})

    def test_internet_reaches_public_addresses_as_the_host(self):
        web = self.make("internet")
        self.assertEqual(self.reached(web, WEB, OTHER), {WEB: ALL, OTHER: ALL})
        self.assertEqual(self.known_as(web, WEB), HOST)
        self.assertEqual(self.sh(web["id"], f"wget -q -O - http://{OTHER}:{PORT}/"), HOST)

    def test_internet_never_reaches_the_host_siblings_or_private_networks(self):
        web, sibling = self.make("internet"), self.make("internet")
        internal, isolated = self.make("internal"), self.make("isolated")
        named = self.make("internet", allow_cidrs=["0.0.0.0/0", "10.0.0.0/8", "169.254.169.254/32", f"{HOST}/32"])
        forbidden = [HOST, ALSO_HOST, GATEWAY, INNER_GATEWAY, *PRIVATE, "10.100.255.255", "255.255.255.255", "203.0.113.255",
                     sibling["ip"], internal["ip"], isolated["ip"]]
        with Servers() as host:
            for sandbox in web, named:
                before = self.uplink.mark()
                self.assertEqual(self.reached(sandbox, *forbidden), {})
                self.assertEqual(self.uplink.seen(before), [])
                self.assertEqual(self.reached(sandbox, WEB), {WEB: ALL})
            self.assertEqual(host.connections, [])

    def test_nobody_outside_reaches_sandboxes_or_the_resolver(self):
        web = self.make("internet")
        self.uplink.dns.names[self.www] = [WEB]
        self.assertEqual(self.lookup(web, self.www).addresses, [WEB])
        self.check_closed(web)
        self.assertEqual(self.uplink.from_outside(socket.SOCK_DGRAM, GATEWAY, 53, dns_server.question(self.www)), b"")

    def test_services_are_forwarded_in_every_mode(self):
        for mode in "isolated", "internal", "internet":
            with self.subTest(mode):
                sandbox = self.make(mode)["id"]
                self.start(sandbox, "mkdir /srv; echo served > /srv/page; exec httpd -f -p 8000 -h /srv")
                page = f"/sandboxes/{sandbox}/ports/8000/page"
                until("it is served", lambda: self.client.call("GET", page).body == b"served\n")


class Lists(NetworkCase):
    def test_allowed_and_denied_networks(self):
        for wanted, lists in (({WEB: ALL}, {"allow_cidrs": ["203.0.113.0/24"]}),
                              ({OTHER: ALL}, {"deny_cidrs": ["203.0.113.0/24"]}),
                              ({OTHER: ALL}, {"allow_cidrs": [f"{WEB}/32", "198.51.100.0/24"], "deny_cidrs": ["203.0.113.0/28"]}),
                              ({}, {"allow_cidrs": ["192.0.2.1"]})):
            with self.subTest(lists):
                sandbox = self.make("internet", **lists)
                for key, value in lists.items():
                    self.assertEqual([text.removesuffix("/32") for text in sandbox["network"][key]],
                                     [text.removesuffix("/32") for text in value])
                self.assertEqual(self.reached(sandbox, WEB, OTHER, HOST), wanted)

    def test_a_list_of_networks_lets_no_name_be_asked_for(self):
        self.uplink.dns.names[self.www] = [WEB]
        narrowed = self.make("internet", allow_cidrs=[f"{WEB}/32"])
        self.assertEqual(self.lookup(narrowed, self.www).code, "REFUSED")
        self.assertEqual(self.uplink.dns.asked, [])
        wide = self.make("internet", deny_cidrs=[f"{OTHER}/32"])
        self.assertEqual(self.lookup(wide, self.www).addresses, [WEB])

    def test_allowed_names_open_what_they_stand_for(self):
        below, apex = f"a.wild.{self.domain}", f"wild.{self.domain}"
        self.uplink.dns.names.update({self.www: [WEB], below: [OTHER], apex: ["198.51.100.8"]})
        sandbox = self.make("internet", allow_domains=[self.www.upper(), f"*.{apex}"])
        self.assertEqual(self.reached(sandbox, WEB, OTHER), {})
        self.assertEqual(self.lookup(sandbox, self.www).addresses, [WEB])
        self.assertEqual(self.reached(sandbox, WEB, OTHER), {WEB: ALL})
        self.assertEqual(self.lookup(sandbox, below).addresses, [OTHER])
        self.assertEqual(self.reached(sandbox, WEB, OTHER), {WEB: ALL, OTHER: ALL})
        for other in apex, self.domain, f"x{self.www}", f"{self.www}.evil.example":
            self.assertEqual(self.lookup(sandbox, other).code, "REFUSED", other)
        self.assertEqual({asked.name for asked in self.uplink.dns.asked}, {self.www, below})

    def test_names_and_networks_add_up_and_what_is_denied_stays_so(self):
        self.uplink.dns.names[self.www] = [WEB]
        sandbox = self.make("internet", allow_domains=[self.www], allow_cidrs=[f"{OTHER}/32"])
        self.lookup(sandbox, self.www)
        self.assertEqual(self.reached(sandbox, WEB, OTHER, FOREIGN_RESOLVER), {WEB: ALL, OTHER: ALL})
        denied = self.make("internet", allow_domains=[self.www], deny_cidrs=[f"{WEB}/32"])
        self.lookup(denied, self.www)
        self.assertEqual(self.reached(denied, WEB), {})

    def test_one_sandbox_lookup_opens_nothing_for_another(self):
        self.uplink.dns.names[self.www] = [WEB]
        first, second = (self.make("internet", allow_domains=[self.www]) for _ in range(2))
        self.lookup(first, self.www)
        self.assertEqual(self.reached(second, WEB), {})

    def test_an_answer_that_changes_takes_its_address_along(self):
        self.uplink.dns.names[self.www] = [WEB]
        self.uplink.dns.ttl = 1
        self.addCleanup(setattr, self.uplink.dns, "ttl", 60)
        sandbox = self.make("internet", allow_domains=[self.www])
        self.assertEqual(self.lookup(sandbox, self.www).addresses, [WEB])
        flow, _ = self.stream(sandbox)
        self.uplink.dns.names[self.www] = [OTHER]
        until("the new answer is known", lambda: self.lookup(sandbox, self.www).addresses == [OTHER])
        self.assertEqual(self.reached(sandbox, OTHER), {OTHER: ALL})
        until("the old address is closed", lambda: self.reached(sandbox, WEB) == {}, 20)
        self.check_flows(flow)


class Names(NetworkCase):
    def test_sandboxes_of_a_group_have_names(self):
        sandbox, friend = self.make("internal", group="g"), self.make("internal", group="g")
        name = f"{friend['id']}.nanobox.internal"
        self.assertEqual(self.lookup(sandbox, name).addresses, [friend["ip"]])
        self.assertIn(friend["ip"], self.sh(sandbox["id"], f"nslookup -type=a {name}"))
        for other in self.make("internal", group="h"), self.make("internet"):
            self.assertEqual(self.lookup(other, name).code, "NXDOMAIN")
            self.assertEqual(self.lookup(sandbox, f"{other['id']}.nanobox.internal").code, "NXDOMAIN")
        self.assertEqual(self.client.call("DELETE", f"/sandboxes/{friend['id']}").status, 204)
        self.assertEqual(self.lookup(sandbox, name).code, "NXDOMAIN")
        self.assertEqual(self.uplink.dns.asked, [])

    def test_internal_asks_nobody_outside(self):
        self.uplink.dns.names[self.www] = [WEB]
        self.assertEqual(self.lookup(self.make("internal"), self.www).code, "REFUSED")
        self.assertEqual(self.uplink.dns.asked, [])

    def test_internet_is_answered_by_the_hosts_resolver(self):
        self.uplink.dns.names[self.www] = [WEB, OTHER]
        web = self.make("internet")
        self.assertEqual(self.lookup(web, self.www).addresses, [WEB, OTHER])
        self.assertIn(WEB, self.sh(web["id"], f"nslookup -type=a {self.www}"))
        self.assertEqual(self.lookup(web, f"nothing.{self.domain}").code, "NXDOMAIN")
        self.assertEqual({asked.server for asked in self.uplink.dns.asked}, {RESOLVER})

    def test_another_servers_questions_are_ours(self):
        self.uplink.dns.names[self.www] = [WEB]
        web, internal = self.make("internet"), self.make("internal")
        self.assertEqual(self.lookup(web, self.www, FOREIGN_RESOLVER).addresses, [WEB])
        self.assertEqual({asked.server for asked in self.uplink.dns.asked}, {RESOLVER})
        name = f"{internal['id']}.nanobox.internal"
        self.assertEqual(self.lookup(internal, name, FOREIGN_RESOLVER).addresses, [internal["ip"]])
        question = dns_server.question(self.www)
        target = f"tcp:{FOREIGN_RESOLVER}:53:{(struct.pack('>H', len(question)) + question).hex()}"
        self.assertEqual(dns_server.answer_of(self.probe(web, target)[target][2:]).addresses, [WEB])
        denied = self.make("internet", deny_cidrs=[f"{FOREIGN_RESOLVER}/32"])
        self.assertEqual(self.lookup(denied, self.www, FOREIGN_RESOLVER).addresses, [WEB])

    def test_a_public_name_has_no_private_address(self):
        web, sibling = self.make("internet"), self.make("internet")
        named = self.make("internet", allow_domains=[f"*.{self.domain}"])
        before = self.uplink.mark()
        for number, addresses in enumerate([*([address] for address in PRIVATE), ["127.0.0.1"], [GATEWAY], [sibling["ip"]],
                                            [WEB, PRIVATE[0]]]):
            name = f"n{number}.{self.domain}"
            self.uplink.dns.names[name] = addresses
            for sandbox in web, named:
                answer = self.lookup(sandbox, name)
                self.assertEqual((answer.code, answer.addresses), ("REFUSED", []), addresses)
        self.assertEqual(self.reached(named, *PRIVATE, GATEWAY, sibling["ip"], WEB), {})
        self.assertEqual([packet for packet in self.uplink.seen(before) if packet.target != RESOLVER], [])

    def test_an_answer_that_turns_private_later_is_dropped(self):
        self.uplink.dns.names[self.www] = [WEB]
        self.uplink.dns.ttl = 1
        self.addCleanup(setattr, self.uplink.dns, "ttl", 60)
        sandbox = self.make("internet", allow_domains=[self.www])
        self.assertEqual(self.lookup(sandbox, self.www).addresses, [WEB])
        self.uplink.dns.names[self.www] = [PRIVATE[0]]
        until("it is refused", lambda: self.lookup(sandbox, self.www).code == "REFUSED")
        self.assertEqual(self.reached(sandbox, PRIVATE[0]), {})


class Changes(NetworkCase):
    def test_a_mode_holds_from_the_next_packet_on(self):
        peer, sandbox = self.make("internal", group="g"), self.make("internet")
        flow, _ = self.stream(sandbox)
        changed = self.change(sandbox, "isolated")
        self.assertEqual((changed["id"], changed["ip"], changed["network"]["mode"]), (sandbox["id"], sandbox["ip"], "isolated"))
        self.assertEqual(self.seen(sandbox["id"])["network"], changed["network"])
        self.check_stopped(flow, lambda: self.assertEqual(self.reached(sandbox, WEB, peer["ip"]), {}))
        self.change(sandbox, "internal", group="g")
        self.assertEqual(self.reached(sandbox, WEB, peer["ip"]), {peer["ip"]: ALL})
        self.assertEqual(self.reached(peer, sandbox["ip"]), {sandbox["ip"]: ALL})
        self.change(sandbox, "internal", group="h")
        self.assertEqual(self.reached(sandbox, WEB, peer["ip"]), {})
        self.assertEqual(self.reached(peer, sandbox["ip"]), {})
        self.change(sandbox, "internet")
        self.assertEqual(self.reached(sandbox, WEB, peer["ip"]), {WEB: ALL})

    def test_names_follow_a_change(self):
        peer, sandbox = self.make("internal", group="g"), self.make("isolated")
        name = f"{sandbox['id']}.nanobox.internal"
        self.assertEqual(self.lookup(peer, name).code, "NXDOMAIN")
        self.change(sandbox, "internal", group="g")
        self.assertEqual(self.lookup(peer, name).addresses, [sandbox["ip"]])
        self.change(sandbox, "internet")
        self.assertEqual(self.lookup(peer, name).code, "NXDOMAIN")

    def test_lists_change_and_end_what_they_do_not_allow(self):
        self.uplink.dns.names[self.www] = [WEB]
        sandbox = self.make("internet")
        flow, _ = self.stream(sandbox)
        self.change(sandbox, "internet", deny_cidrs=[f"{WEB}/32"])
        self.check_stopped(flow, lambda: self.assertEqual(self.reached(sandbox, WEB, OTHER), {OTHER: ALL}))
        self.change(sandbox, "internet", allow_cidrs=[f"{WEB}/32"])
        self.assertEqual(self.reached(sandbox, WEB, OTHER), {WEB: ALL})
        changed = self.change(sandbox, "internet", allow_domains=[self.www])
        self.assertEqual((changed["network"]["allow_domains"], changed["network"]["allow_cidrs"]), ([self.www], []))
        self.assertEqual(self.reached(sandbox, WEB, OTHER), {})
        self.lookup(sandbox, self.www)
        flow, _ = self.stream(sandbox)
        self.change(sandbox, "internet", allow_domains=[f"other.{self.domain}"])
        self.check_stopped(flow, lambda: self.assertEqual(self.reached(sandbox, WEB, OTHER), {}))

    def test_a_change_of_one_leaves_another_alone(self):
        first, second = self.make("internet"), self.make("internet")
        flow, _ = self.stream(second)
        self.change(first, "isolated")
        self.check_flows(flow)


    def test_the_last_of_many_changes_holds(self):
        sandbox = self.make("internet")
        with concurrent.futures.ThreadPoolExecutor(8) as workers:
            list(workers.map(lambda mode: self.change(sandbox, mode), ["isolated", "internal", "internet"] * 8))
        mode = self.seen(sandbox["id"])["network"]["mode"]
        self.assertEqual(self.reached(sandbox, WEB), {WEB: ALL} if mode == "internet" else {})
        self.change(sandbox, "isolated")
        self.assertEqual(self.reached(sandbox, WEB), {})

    def test_a_paused_one_is_not_changed(self):
        sandbox = self.make("internet")
        self.pause(sandbox["id"])
        answer = self.client.call("PUT", f"/sandboxes/{sandbox['id']}/network", {"mode": "isolated"})
        self.problem(answer, 409, "sandbox_paused")
        self.resume(sandbox["id"])
        self.assertEqual(self.reached(sandbox, WEB), {WEB: ALL})


class Guests(NetworkCase):
    """Guests that send what they must not."""

    def test_only_its_own_frames_leave_a_guest(self):
        sandbox, victim = self.make("internet"), self.make("internet")
        lie, truth = b"a lie", b"the truth"
        frames = [*(ipv4_frame(source, OTHER, lie) for source in
                    (WEB, HOST, sandbox["ip"], victim["ip"], GATEWAY, INNER_GATEWAY, "127.0.0.1", "0.0.0.0", "169.254.100.3")),
                  ipv4_frame(GUEST, OTHER, lie, source_mac="026e62000009"), ipv4_frame(GUEST, OTHER, lie, target_mac="f" * 12),
                  *(ipv4_frame(GUEST, OTHER, lie, tag=tag) for tag in ("81000001", "88a80001")),
                  ipv6_frame("2001:db8::1", "2001:db8::2", lie), arp_frame(WEB, INNER_GATEWAY, lie),
                  ipv4_frame(GUEST, OTHER, truth)]
        before = self.uplink.mark()
        with Sniffer(link_of(sandbox)) as link:
            self.sh(sandbox["id"], f"/root/prober frames {' '.join(frames)}")
            until("the last one has come", lambda: [seen for seen in self.uplink.seen(before) if truth in seen.payload])
            self.assertEqual([frame for frame in link.frames if lie in frame], [])
        self.assertEqual([seen for seen in self.uplink.seen(before) if lie in seen.payload], [])

    def test_an_address_that_a_guest_gives_itself_is_worth_nothing(self):
        sandbox, victim = self.make("internal", group="g"), self.make("internal", group="g")
        stranger = self.make("internal", group="h")
        self.sh(stranger["id"], f"ip addr add {victim['ip']}/32 dev eth0; ip addr add {sandbox['ip']}/16 dev eth0")
        self.assertEqual(self.reached(stranger, victim["ip"].rpartition(".")[0] + ".200", GATEWAY), {})
        self.assertEqual(self.reached(sandbox, victim["ip"]), {victim["ip"]: ALL})
        self.assertEqual(self.known_as(victim, sandbox["ip"]), victim["ip"])

    def test_another_mac_address_leads_nowhere(self):
        sandbox = self.make("internet")
        self.sh(sandbox["id"], "ip link set eth0 down; ip link set eth0 address 02:6e:62:00:00:09; ip link set eth0 up;"
                               f" ip route add default via {INNER_GATEWAY}")
        self.assertEqual(self.reached(sandbox, WEB), {})
        self.sh(sandbox["id"], "ip link set eth0 down; ip link set eth0 address 02:6e:62:00:00:01; ip link set eth0 up;"
                               f" ip route add default via {INNER_GATEWAY}")
        until("it is back", lambda: self.reached(sandbox, WEB) == {WEB: ALL})


class Rates(NetworkCase):
    def test_a_rate_holds_both_ways_and_changes(self):
        sandbox = self.make("internet", rate_limit_mbps=10)
        self.check_rate(sandbox, 10)
        self.change(sandbox, "internet", rate_limit_mbps=20)
        self.check_rate(sandbox, 20)
        self.change(sandbox, "internet")
        for command in UPLOAD, DOWNLOAD:
            self.assertGreater(self.megabits(sandbox, command), 25)


if __name__ == "__main__":
    unittest.main()
