"""Saved states travel between nodes: copies of paused sandboxes, moves off drained nodes, forks that spread, templates
made from sandboxes."""
import contextlib
import os
import signal
import unittest

from cluster import BACK, ClusterCase
from harness import until


def kept(node):
    """The names of the saved states on a node: of its paused sandboxes, and what it keeps for others."""
    return {path.name for path in (node.data / "snapshots/sandboxes").glob("*")}


class Moving(ClusterCase):
    nodes_wanted = 2

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.first, cls.second = cls.nodes

    def setUp(self):
        super().setUp()
        self.ready()

    def copied(self, sandbox, to):
        """Waits until that node has the files of the paused sandbox."""
        until("its saved state is copied", lambda: any(name.startswith(sandbox) for name in kept(to)), 60)

    @contextlib.contextmanager
    def dead(self, node):
        node.child.process.send_signal(signal.SIGKILL)
        node.child.process.wait()
        until(f"{node.name} is lost", lambda: node.status == "lost", 20)
        try:
            yield
        finally:
            node.start()

    def test_a_paused_sandbox_goes_on_elsewhere_when_its_node_is_lost(self):
        sandbox = self.create_on(self.first)
        self.give_witness(sandbox)
        self.sh(sandbox, "mkdir -p /mem && mount -t tmpfs tmpfs /mem && echo in memory > /mem/mark && echo on disk > /root/mark")
        self.start(sandbox, "exec /root/witness /mem/lines")
        lines = self.more_lines(sandbox, 3)
        before = self.pause(sandbox)
        self.copied(sandbox, self.second)
        with self.dead(self.first):
            lost = until("it is lost", lambda: (lambda seen: seen if seen["status"] == "lost" else None)(self.seen(sandbox)))
            self.assertIn("n2 has a copy", lost["reason"])
            resumed = self.resume(sandbox)
            self.assertEqual((resumed["id"], resumed["node_id"], resumed["status"]), (sandbox, "n2", "running"))
            self.assertGreater(resumed["generation"], before["generation"])
            self.assertGreater(resumed["state_age_ms"], 0)
            self.assertEqual(self.sh(sandbox, "cat /mem/mark /root/mark"), "in memory\non disk\n")
            self.check_goes_on(self.more_lines(sandbox, len(lines)))
            self.check_clock(sandbox)
        # Its former node comes back and has it no more; the sandbox runs on.
        until("the former node has dropped it", lambda: not kept(self.first), BACK)
        self.assertEqual(self.seen(sandbox)["node_id"], "n2")
        self.assertEqual(self.sh(sandbox, "cat /root/mark"), "on disk\n")
        self.assertEqual(self.first.sandboxes() | self.second.sandboxes(), {sandbox})
        self.assertEqual(len(self.client.want(200, "GET", "/sandboxes")["items"]), 1)

    def test_a_copy_goes_once_its_sandbox_runs_or_is_deleted(self):
        sandbox = self.create_on(self.first)
        self.pause(sandbox)
        self.copied(sandbox, self.second)
        self.assertEqual(self.resume(sandbox)["node_id"], "n1")
        until("the copy is gone", lambda: not kept(self.second))
        self.pause(sandbox)
        self.copied(sandbox, self.second)
        self.assertEqual(self.client.call("DELETE", f"/sandboxes/{sandbox}").status, 204)
        until("the copy is gone", lambda: not kept(self.second))

    def test_what_ran_when_its_node_was_lost_never_comes_back_older(self):
        sandbox = self.create_on(self.first)
        self.pause(sandbox)
        self.copied(sandbox, self.second)
        self.resume(sandbox)
        self.sh(sandbox, "echo newer > /root/mark")
        with self.dead(self.first):
            until("it is lost", lambda: self.seen(sandbox)["status"] == "lost")
            answer = self.client.call("POST", f"/sandboxes/{sandbox}/resume", {})
            self.assertEqual((answer.status, answer.json["code"]), (409, "sandbox_lost"), answer)
        self.back(self.first, sandbox)
        self.assertEqual(self.sh(sandbox, "cat /root/mark"), "newer\n")

    def test_a_copy_is_known_after_the_control_plane_was_killed(self):
        sandbox = self.create_on(self.first)
        self.sh(sandbox, "echo kept > /root/mark")
        self.pause(sandbox)
        self.copied(sandbox, self.second)
        with self.dead(self.first):
            self.control.child.process.send_signal(signal.SIGKILL)
            self.control.child.process.wait()
            self.control.start()
            until("the other node is back", lambda: self.second.status == "ready", BACK)
            self.assertEqual(self.resume(sandbox)["node_id"], "n2")
            self.assertEqual(self.sh(sandbox, "cat /root/mark"), "kept\n")

    def test_a_sandbox_that_was_handed_on_as_the_control_plane_died_is_where_the_store_says(self):
        sandbox = self.create_on(self.first)
        self.sh(sandbox, "echo kept > /root/mark")
        self.pause(sandbox)
        self.copied(sandbox, self.second)
        with self.dead(self.first):
            self.second.child.process.send_signal(signal.SIGSTOP)
            with self.meanwhile("POST", f"/sandboxes/{sandbox}/resume", {}):
                until("it is handed on", lambda: any(sandbox in line and "node n2 has it from now on" in line
                                                     for line in self.control.log.read_text().splitlines()))
                self.second.child.end(signal.SIGKILL)  # before it has read of it
                self.control.child.end(signal.SIGKILL)
            self.control.start()
            self.second.start()
            until("it is there, paused", lambda: self.seen(sandbox)["status"] == "paused")
            self.assertEqual(self.resume(sandbox)["node_id"], "n2")
            self.assertEqual(self.sh(sandbox, "cat /root/mark"), "kept\n")

    def test_what_went_on_elsewhere_and_was_deleted_there_does_not_come_back_with_its_former_node(self):
        sandbox = self.create_on(self.first)
        self.pause(sandbox)
        self.copied(sandbox, self.second)
        with self.dead(self.first):
            self.assertEqual(self.resume(sandbox)["node_id"], "n2")
            self.client.want(204, "DELETE", f"/sandboxes/{sandbox}")
            self.control.child.process.send_signal(signal.SIGKILL)
            self.control.child.process.wait()
            self.control.start()
        self.back(self.first)
        until("nothing of it is left there", lambda: not kept(self.first), BACK)
        self.assertEqual(self.client.want(200, "GET", "/sandboxes")["items"], [])

    def test_a_drained_nodes_sandboxes_go_on_elsewhere(self):
        sandbox = self.create_on(self.first)
        self.sh(sandbox, "echo kept > /root/mark; mkdir -p /mem && mount -t tmpfs tmpfs /mem; echo alive > /mem/mark")
        self.start(sandbox, "exec sleep 1000")
        self.client.want(200, "POST", "/nodes/n1/drain", {"deadline_sec": 0})
        moved = until("it runs on the other", lambda: (
            lambda seen: seen if (seen["status"], seen["node_id"]) == ("running", "n2") else None)(self.seen(sandbox)), 60)
        self.assertEqual(moved["id"], sandbox)
        self.assertEqual(self.sh(sandbox, "cat /root/mark /mem/mark; pidof sleep | wc -w"), "kept\nalive\n1\n")
        until("nothing is left on the first", lambda: not self.first.sandboxes() and not kept(self.first))
        self.client.want(200, "POST", "/nodes/n1/uncordon", {})

    def test_a_template_made_from_a_sandbox_serves_on_other_nodes(self):
        sandbox = self.create_on(self.first)
        self.sh(sandbox, "echo own > /root/mark; mkdir -p /mem && mount -t tmpfs tmpfs /mem; echo alive > /mem/mark")
        self.start(sandbox, "exec sleep 1000")
        self.client.want(201, "POST", f"/sandboxes/{sandbox}/snapshot", {"name": "own"})
        self.addCleanup(lambda: self.client.call("DELETE", "/templates/own?force=1"))
        made = self.client.want(200, "GET", f"/sandboxes/{self.create_on(self.second, 'own')}")
        self.assertEqual(made["boot_path"], "snapshot")
        self.assertEqual(self.sh(made["id"], "cat /root/mark /mem/mark; pidof sleep | wc -w"), "own\nalive\n1\n")

    def test_a_snapshot_comes_along_with_its_template(self):
        with self.only(self.first):
            self.ready("travelling", snapshot=True)
            until("its snapshot is made", lambda: self.client.want(
                200, "GET", "/templates/travelling")["snapshot"]["status"] == "ready", 60)
        self.addCleanup(lambda: self.client.call("DELETE", "/templates/travelling?force=1"))
        sandbox = self.client.want(200, "GET", f"/sandboxes/{self.create_on(self.second, 'travelling')}")
        self.assertEqual(sandbox["boot_path"], "snapshot")
        self.assertEqual(self.sh(sandbox["id"], "hostname"), f"{sandbox['id']}\n")


class Spreading(ClusterCase):
    """Nodes that have room for few."""
    nodes_wanted = 2

    node_flags = ("--agent.memory_mb=640",)

    def setUp(self):
        super().setUp()
        self.ready()

    def test_children_go_to_other_nodes_where_the_parents_is_full(self):
        first, second = self.nodes
        parent = self.create_on(first)
        self.sh(parent, "echo kept > /root/mark; mkdir -p /mem && mount -t tmpfs tmpfs /mem; echo alive > /mem/mark")
        self.start(parent, "exec sleep 1000")
        answer = self.client.want(201, "POST", f"/sandboxes/{parent}/fork", {"count": 6})
        self.assertGreater(answer["pause_ms"], 0)
        children = answer["items"]
        self.assertEqual({child["node_id"] for child in children}, {"n1", "n2"})
        self.assertEqual(len({child["ip"] for child in children}), 6)
        for child in children:
            self.assertEqual(child["parent"], parent)
            self.assertEqual(self.sh(child["id"], "cat /root/mark /mem/mark; pidof sleep | wc -w; hostname"),
                             f"kept\nalive\n1\n{child['id']}\n")
        random = {self.sh(child["id"], "head -c 16 /dev/urandom | md5sum") for child in children}
        self.assertEqual(len(random), 6)
        self.assertEqual(self.sh(parent, "cat /mem/mark"), "alive\n")

    def test_where_there_is_no_room_for_all_there_are_none(self):
        parent = self.create_on(self.nodes[0])
        answer = self.client.call("POST", f"/sandboxes/{parent}/fork", {"count": 20})
        self.assertEqual((answer.status, answer.json["code"]), (503, "no_capacity"), answer)
        until("and nobody is told of one",
              lambda: [item["id"] for item in self.client.want(200, "GET", "/sandboxes")["items"]] == [parent])
        self.assertEqual(self.sh(parent, "echo well"), "well\n")
        self.client.want(201, "POST", f"/sandboxes/{parent}/fork", {"count": 2})

    def test_a_node_that_hangs_amid_a_fork_leaves_no_half(self):
        first, second = self.nodes
        parent = self.create_on(first)
        os.kill(second.child.process.pid, signal.SIGSTOP)
        answer = self.client.call("POST", f"/sandboxes/{parent}/fork", {"count": 6}, timeout=120)
        self.assertEqual(answer.status, 503, answer)
        os.kill(second.child.process.pid, signal.SIGCONT)
        self.back(second)
        until("no child is left", lambda: first.sandboxes() | second.sandboxes() == {parent})
        until("nor what they came from", lambda: not kept(first) and not kept(second))
        until("and nobody is told of one",
              lambda: [item["id"] for item in self.client.want(200, "GET", "/sandboxes")["items"]] == [parent])
        self.assertEqual(self.sh(parent, "echo well"), "well\n")


if __name__ == "__main__":
    unittest.main()
