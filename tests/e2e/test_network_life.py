"""The network of sandboxes that are copied, paused, adopted or left behind, and of hosts that are odd."""
import concurrent.futures
import http.client
import itertools
import os
import signal
import subprocess
import unittest

import nft
import own_network
from copies import SMALL
from harness import Client, Daemon, until
from leaks import address_leases, interfaces, stopped_leaks, vm_links
from networks import ALL, DOWNLOAD, GATEWAY, UPLOAD, NetworkCase, NetworkHosts, link_of, warm_up_prober
from test_pool import pool_config
from uplink import FOREIGN_RESOLVER, OTHER, WEB


class CopiedNetworks(NetworkCase):
    config = pool_config(1, 1).replace('"busybox"', '"pooled"')

    def test_each_way_to_boot_leads_to_the_same_network(self):
        warm_up_prober(self.daemon, name="pooled")
        made = {}
        for way, template in ("cold", "net"), ("snapshot", "net"), ("pool", "pooled"):
            if way == "pool":
                until("one is ready", lambda: self.client.want(200, "GET", "/stats")["pools"][0]["ready"], 60)
            made[way] = self.make("internet", boot=way, template=template, allow_cidrs=[f"{WEB}/32"])
            self.assertEqual(made[way]["boot_path"], way)
            self.assertEqual(self.reached(made[way], WEB, OTHER, GATEWAY), {WEB: ALL})
        self.assertEqual(len({sandbox["ip"] for sandbox in made.values()}), 3)
        shown = "ip -4 addr show dev eth0; ip route; cat /etc/resolv.conf"
        self.assertEqual(len({self.sh(sandbox["id"], shown) for sandbox in made.values()}), 1)
        self.assertEqual(self.client.call("DELETE", "/templates/pooled?force=1").status, 204)

    def test_children_have_addresses_of_their_own_and_the_parents_group(self):
        parent = self.make("internal", group="g")
        children = self.client.want(201, "POST", f"/sandboxes/{parent['id']}/fork", {"count": 3})["items"]
        family = [parent, *children]
        self.assertEqual(len({member["ip"] for member in family}), 4)
        for member in family:
            self.assertEqual(member["network"], parent["network"])
            others = [other for other in family if other is not member]
            self.assertEqual(self.reached(member, *(other["ip"] for other in others)), {other["ip"]: ALL for other in others})
            self.assertEqual(self.known_as(member, others[0]["ip"]), member["ip"])
            self.assertEqual(self.lookup(member, f"{others[0]['id']}.nanobox.internal").addresses, [others[0]["ip"]])

    def test_a_copied_connection_stays_the_parents(self):
        parent = self.make("internet", deny_cidrs=[f"{OTHER}/32"], rate_limit_mbps=20)
        flow, process = self.stream(parent)
        before = len(self.uplink.servers.connections)
        child, = self.client.want(201, "POST", f"/sandboxes/{parent['id']}/fork", {})["items"]
        until("the child's has ended", lambda: self.process(child["id"], process)["state"] == "exited")
        self.check_flows(flow)
        self.assertEqual(len(self.uplink.servers.connections), before)
        self.assertEqual(self.reached(child, WEB, OTHER), {WEB: ALL})
        self.check_rate(child, 20, DOWNLOAD)

    def test_a_change_of_the_parent_is_none_of_the_childs(self):
        parent = self.make("internet")
        child, = self.client.want(201, "POST", f"/sandboxes/{parent['id']}/fork", {})["items"]
        self.change(parent, "isolated")
        self.assertEqual((self.reached(parent, WEB), self.reached(child, WEB)), ({}, {WEB: ALL}))

    def test_a_snapshots_sandboxes_have_networks_of_their_own(self):
        first = self.make("internet")
        self.client.want(201, "POST", f"/sandboxes/{first['id']}/snapshot", {"name": "taken"})
        second, third = self.make("internet", template="taken"), self.client.create("taken")
        self.assertEqual(len({first["ip"], second["ip"], third["ip"]}), 3)
        self.assertEqual([self.reached(each, WEB) for each in (first, second)], [{WEB: ALL}] * 2)
        self.assertEqual((third["network"]["mode"], self.reached(third, WEB)), ("isolated", {}))
        self.assertEqual(self.client.call("DELETE", "/templates/taken?force=1").status, 204)

    def test_a_resumed_one_has_its_address_and_rules_again(self):
        web = self.make("internet", deny_cidrs=[f"{OTHER}/32"], rate_limit_mbps=20)
        peer, friend = (self.make("internal", group="g") for _ in range(2))
        for sandbox in web, peer:
            self.pause(sandbox["id"])
        self.assertEqual(self.reached(friend, peer["ip"]), {})
        for sandbox in web, peer:
            resumed = self.resume(sandbox["id"])
            self.assertEqual((resumed["ip"], resumed["network"]), (sandbox["ip"], sandbox["network"]))
        self.assertEqual(self.reached(web, WEB, OTHER), {WEB: ALL})
        self.check_rate(web, 20, UPLOAD)
        self.assertEqual(self.reached(friend, peer["ip"]), {peer["ip"]: ALL})
        self.assertEqual(self.lookup(friend, f"{peer['id']}.nanobox.internal").addresses, [peer["ip"]])


class Restarts(NetworkCase):
    flags = ("--api.drain_sec=1",)

    def end(self, number):
        code = self.daemon.child.end(number)
        self.assertEqual(code, 0 if number == signal.SIGTERM else -number, self.daemon.tail())

    def start_again(self):
        self.daemon.start()
        self.client = self.daemon.client

    def test_networks_outlive_the_daemon(self):
        self.uplink.dns.names[self.www] = [WEB]
        for number in signal.SIGTERM, signal.SIGKILL:
            with self.subTest(signal.Signals(number).name):
                web = self.make("internet", deny_cidrs=[f"{OTHER}/32"], rate_limit_mbps=20)
                isolated = self.make("isolated")
                named = self.make("internet", allow_domains=[self.www])
                peers = [self.make("internal", group="g") for _ in range(2)]
                flow, _ = self.stream(web)
                self.end(number)
                self.check_flows(flow)
                self.start_again()
                self.check_flows(flow)
                for sandbox in web, isolated, named, *peers:
                    seen = self.seen(sandbox["id"])
                    self.assertEqual((seen["ip"], seen["network"]), (sandbox["ip"], sandbox["network"]))
                self.assertEqual(self.reached(web, WEB, OTHER), {WEB: ALL})
                self.check_rate(web, 20, UPLOAD)
                self.assertEqual(self.reached(isolated, WEB, peers[0]["ip"]), {})
                self.assertEqual(self.reached(peers[0], peers[1]["ip"], WEB), {peers[1]["ip"]: ALL})
                self.assertEqual(self.lookup(peers[0], f"{peers[1]['id']}.nanobox.internal").addresses, [peers[1]["ip"]])
                self.assertEqual(self.lookup(named, self.www).addresses, [WEB])
                self.assertEqual(self.reached(named, WEB, OTHER), {WEB: ALL})
                self.change(isolated, "internal", group="g")
                self.assertEqual(self.reached(isolated, peers[0]["ip"]), {peers[0]["ip"]: ALL})
                fresh = self.make("internal", group="g")
                self.assertNotIn(fresh["ip"], [sandbox["ip"] for sandbox in (web, isolated, named, *peers)])
                self.assertEqual(self.reached(fresh, peers[0]["ip"]), {peers[0]["ip"]: ALL})
                self.daemon.settle()

    def test_a_daemon_killed_amid_changes_says_what_holds(self):
        sandbox, peer = self.make("internet"), self.make("internal", group="g")
        reached = {"isolated": {}, "internal": {peer["ip"]: ALL}, "internet": {WEB: ALL}}
        for count in 5, 8:
            def change():
                for number in itertools.count():
                    mode = {"mode": list(reached)[number % 3], **({"group": "g"} if number % 3 == 1 else {})}
                    try:
                        self.client.call("PUT", f"/sandboxes/{sandbox['id']}/network", mode)
                    except (OSError, http.client.HTTPException):
                        return  # the daemon is gone
                    done.append(number)
            done = []
            with concurrent.futures.ThreadPoolExecutor(1) as worker:
                ended = worker.submit(change)
                until("it changes", lambda: len(done) >= count, step=0.001)
                self.end(signal.SIGKILL)
                ended.result()
            self.start_again()
            mode = self.seen(sandbox["id"])["network"]["mode"]
            self.assertEqual(self.reached(sandbox, WEB, peer["ip"]), reached[mode], mode)

    def test_what_a_dead_sandbox_left_is_removed(self):
        for number in signal.SIGTERM, signal.SIGKILL:
            with self.subTest(signal.Signals(number).name):
                dead, alive = self.make("internet"), self.make("internet")
                link, vmm = link_of(dead), self.daemon.vmm(dead["id"])
                self.end(number)
                os.kill(vmm, signal.SIGKILL)
                self.start_again()
                until("its link is gone", lambda: link not in vm_links())
                until("its rules are gone", lambda: dead["ip"] not in nft.nft("list table inet nanobox"))
                until("its address is free", lambda: address_leases(self.daemon.seen_data()) == [alive["id"]])
                self.assertEqual(self.reached(alive, WEB), {WEB: ALL})
                self.daemon.settle()

    def test_a_killed_vmms_network_is_removed(self):
        dead = self.make("internet")
        link = link_of(dead)
        os.kill(self.daemon.vmm(dead["id"]), signal.SIGKILL)
        until("it is failed", lambda: self.seen(dead["id"])["status"] == "failed")
        until("its link is gone", lambda: link not in vm_links())
        until("its rules are gone", lambda: dead["ip"] not in nft.nft("list table inet nanobox"))

    def test_a_deleted_ones_network_is_removed(self):
        gone, stays = self.make("internal", group="g"), self.make("internal", group="g")
        link = link_of(gone)
        self.client.call("DELETE", f"/sandboxes/{gone['id']}")
        until("its link is gone", lambda: link not in vm_links())
        until("its rules are gone", lambda: gone["ip"] not in nft.nft("list table inet nanobox"))
        self.assertIn(stays["ip"], nft.nft("list table inet nanobox"))

    def test_a_paused_one_of_a_daemon_that_was_killed_comes_back(self):
        sandbox = self.make("internet")
        self.pause(sandbox["id"])
        self.end(signal.SIGKILL)
        self.start_again()
        self.assertEqual(self.resume(sandbox["id"])["network"], sandbox["network"])
        self.assertEqual(self.reached(sandbox, WEB), {WEB: ALL})

    def test_other_rules_are_left_alone_and_ours_come_back(self):
        nft.nft("add table inet foreign")
        self.addCleanup(nft.nft, "delete table inet foreign")
        web, peer, stranger = self.make("internet"), self.make("internal", group="g"), self.make("internal", group="h")
        nft.nft("delete table inet nanobox")
        until("it is there again", lambda: web["ip"] in nft.nft("list ruleset"), 60)
        until("it works again", lambda: self.reached(web, WEB, peer["ip"]) == {WEB: ALL}, 60)
        self.assertEqual(self.reached(peer, stranger["ip"]), {})
        self.assertIn("table inet foreign", nft.tables())


    def test_rules_that_were_lost_while_the_daemon_was_away_are_made_again(self):
        web, peers = self.make("internet"), [self.make("internal", group="g") for _ in range(2)]
        for number in signal.SIGTERM, signal.SIGKILL:
            with self.subTest(signal.Signals(number).name):
                self.end(number)
                nft.nft("delete table inet nanobox")
                self.start_again()
                self.assertEqual(self.reached(web, WEB, peers[0]["ip"]), {WEB: ALL})
                self.assertEqual(self.reached(peers[0], peers[1]["ip"], WEB), {peers[1]["ip"]: ALL})


class Hosts(NetworkHosts):
    def begin(self, config="", **more):
        daemon = self.daemon(config, **{"prefix": self.uplink.daemon_prefix(), **more})
        self.client = daemon.client
        warm_up_prober(daemon)
        return daemon

    def test_no_address_is_told_and_passes(self):
        daemon = self.begin(flags=["--network.subnet=10.101.0.0/29"])
        made = [self.make("internet") for _ in range(5)]
        self.assertEqual({sandbox["ip"] for sandbox in made}, {f"10.101.0.{number}" for number in range(2, 7)})
        for mode in "internet", "isolated":
            answer = self.client.call("POST", "/sandboxes", {"template": "net", "network": {"mode": mode}})
            self.assertEqual((answer.status, answer.json["code"]), (503, "no_address"), answer)
            self.assertGreater(int(answer.headers["Retry-After"]), 0)
        answer = self.client.call("POST", f"/sandboxes/{made[0]['id']}/fork", {})
        self.assertEqual((answer.status, answer.json["code"]), (503, "no_address"), answer)
        paused, other, freed = made[:3]
        for sandbox in paused, other:
            self.pause(sandbox["id"])
        self.client.want(204, "DELETE", f"/sandboxes/{freed['id']}")
        takers = [until("an address is free", self.created, 120) for _ in range(2)]
        left = {sandbox["ip"] for sandbox in made[:3]} - {taker["ip"] for taker in takers}
        self.assertEqual(self.reached(takers[0], WEB), {WEB: ALL})
        resumed = until("another is free", lambda: self.resumed(paused), 120)
        self.assertEqual({resumed["ip"]}, left)
        self.assertEqual(self.reached(resumed, WEB, takers[0]["ip"]), {WEB: ALL})
        answer = self.client.call("POST", f"/sandboxes/{other['id']}/resume", {})
        self.assertEqual((answer.status, answer.json["code"]), (503, "no_address"), answer)
        self.assertEqual(self.seen(other["id"])["status"], "paused")
        daemon.settle()

    def created(self):
        answer = self.client.call("POST", "/sandboxes", {"template": "net", "network": {"mode": "internet"}})
        return answer.json if answer.status == 201 else None

    def resumed(self, sandbox):
        answer = self.client.call("POST", f"/sandboxes/{sandbox['id']}/resume", {})
        return answer.json if answer.status == 200 else None

    def test_a_host_that_may_make_no_networks(self):
        daemon = self.begin(prefix=["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"])
        sandbox = self.client.create("net")
        self.assertEqual((sandbox["ip"], sandbox["network"]["mode"]), (None, "isolated"))
        self.assertEqual(self.sh(sandbox["id"], "echo works"), "works\n")
        for mode in "internal", "internet":
            for answer in (self.client.call("POST", "/sandboxes", {"template": "net", "network": {"mode": mode}}),
                           self.client.call("PUT", f"/sandboxes/{sandbox['id']}/network", {"mode": mode})):
                self.assertEqual((answer.status, answer.json["code"]), (503, "network_unavailable"), answer)
        self.assertEqual(vm_links(), [])
        daemon.settle()

    def test_a_subnet_that_the_host_uses_is_refused_with_a_free_one(self):
        with self.assertRaises(AssertionError) as refused:
            self.daemon(flags=["--network.subnet=203.0.113.0/24"])
        for word in "network.subnet", "203.0.113.0/24", "up0", "10.100.0.0/24":
            self.assertIn(word, str(refused.exception))

    def test_a_bridge_that_was_lost_while_the_daemon_was_away_is_made_again(self):
        daemon = self.begin()
        self.uplink.dns.names[self.www] = [WEB]
        web = self.make("internet")
        daemon.child.end(signal.SIGTERM)
        own_network.ip("link", "del", "nanobox-br0")
        self.addCleanup(subprocess.run, ["ip", "route", "del", "unreachable", "10.100.0.0/16"], stderr=subprocess.DEVNULL)
        daemon.start()
        self.assertEqual(self.lookup(web, self.www).addresses, [WEB])
        self.assertEqual(self.reached(web, WEB), {WEB: ALL})

    def test_the_default_mode_and_the_resolver_that_guests_are_told(self):
        daemon = self.begin('[network]\ndefault_mode = "internet"\n', flags=[f"--oci.dns_server={FOREIGN_RESOLVER}"])
        self.uplink.dns.names[self.www] = [WEB]
        sandbox = self.client.create("net")
        self.assertEqual(sandbox["network"]["mode"], "internet")
        self.assertEqual(self.reached(sandbox, WEB), {WEB: ALL})
        self.assertIn(f"nameserver {FOREIGN_RESOLVER}\n", self.sh(sandbox["id"], "cat /etc/resolv.conf"))
        self.assertIn(WEB, self.sh(sandbox["id"], f"nslookup -type=a {self.www}"))
        daemon.settle()

    def test_owners_share_no_group(self):
        daemon = self.begin('[auth]\nkeys = ["alice:alice-alice-alice", "bobby:bobby-bobby-bobby"]\n', key="alice-alice-alice")
        alice, bobby = daemon.client, Client(daemon.client.address, "bobby-bobby-bobby")
        bobby.ready("net", f"oci:{daemon.folder}/prober:latest", resources=SMALL)
        for group in {}, {"group": "g"}:
            network = {"network": {"mode": "internal", **group}}
            first, second, third = alice.create("net", **network), alice.create("net", **network), bobby.create("net", **network)
            self.assertEqual(self.reached(first, second["ip"], third["ip"]), {second["ip"]: ALL})
            self.assertEqual(self.lookup(first, f"{third['id']}.nanobox.internal").code, "NXDOMAIN")
            answer = bobby.call("PUT", f"/sandboxes/{first['id']}/network", {"mode": "isolated"})
            self.assertEqual(answer.status, 404, answer)
            for client, sandbox in (alice, first), (alice, second), (bobby, third):
                client.want(204, "DELETE", f"/sandboxes/{sandbox['id']}")


class SideBySide(NetworkHosts):
    def begin(self, name, **settings):
        folder = self.folder / name
        folder.mkdir()
        before = interfaces()
        self.addCleanup(lambda: self.assertEqual(stopped_leaks(folder), []))
        flags = [f"--network.{key}={value}" for key, value in settings.items()]
        daemon = Daemon(folder, flags=flags, prefix=self.uplink.daemon_prefix())
        self.addCleanup(lambda: self.assertEqual(daemon.end(), 0, daemon.tail()))
        warm_up_prober(daemon)
        self.assertTrue(interfaces() - before)
        return daemon

    def test_two_daemons_do_not_disturb_each_other(self):
        daemons = [self.begin("one"), self.begin("two", bridge_name="other-br", subnet="10.101.0.0/16")]
        made = []
        for daemon in daemons:
            self.client = daemon.client
            made.append([self.make("internal", group="g"), self.make("internal", group="g"), self.make("internet")])
        flows = []
        for daemon, (first, second, web), others in zip(daemons, made, reversed(made)):
            self.client = daemon.client
            theirs = [other["ip"] for other in others]
            self.assertEqual(self.reached(first, second["ip"], *theirs), {second["ip"]: ALL})
            self.assertEqual(self.reached(web, WEB, GATEWAY, "10.101.0.1", *theirs), {WEB: ALL})
            flows.append(self.stream(web)[0])
        self.assertEqual(made[1][0]["ip"].rpartition(".")[0], "10.101.0")
        for number in signal.SIGKILL, signal.SIGTERM:  # the first one's end and start are none of the second's business
            daemons[0].child.end(number)
            self.check_flows(flows[1])
            daemons[0].start()
            self.check_flows(flows[1])
        self.assertEqual(daemons[0].end(), 0, daemons[0].tail())
        self.assertEqual([table for table in nft.tables() if "nanobox" in table], ["table inet nanobox-other-br"])
        self.check_flows(flows[1])
        self.client = daemons[1].client
        self.assertEqual(self.reached(made[1][0], made[1][1]["ip"]), {made[1][1]["ip"]: ALL})


if __name__ == "__main__":
    unittest.main()
