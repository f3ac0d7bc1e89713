"""A long random life of a cluster: sandboxes come, work and go while nodes, cables, VMs and the control plane fail and
come back; what a client was told must stay true (cluster_model.py).

NANOBOX_RANDOM_SEED repeats the steps of a run, though not its moments. NANOBOX_RANDOM_STEPS says how many steps there are; without
it there are as many as NANOBOX_RANDOM_SEC seconds (40) allow.
"""
import collections
import contextlib
import http.client
import ipaddress
import os
import random
import signal
import time
import unittest

from cluster import BACK, ClusterCase
from cluster_model import GONE, Model, Seen
from copies import Call
from harness import until
from leaks import node_store

#: Steps between two looks, and between two times at which all is mended and must be well.
LOOK, QUIET = 5, 30
#: As many sandboxes as this machine serves at ease.
MANY = 9
#: Until what nodes and control plane do in the background is done, here.
SETTLED = 60
#: A server that is there answers, if only that it cannot.
ANSWERED = 60
#: Tells what is written on disk and in memory, and writes something else.
MARK = ("mkdir -p /mem; grep -q ' /mem ' /proc/mounts || mount -t tmpfs tmpfs /mem; "
        "echo \"$(cat /root/mark 2>/dev/null):$(cat /mem/mark 2>/dev/null)\"; ")


def vmms_of(node):
    return {pid for pid, command in node.processes().items() if command.startswith("/vmm/")}


def addresses_of(node):
    """Those that its store says are held."""
    leases = node_store(node.data, "SELECT number FROM lease WHERE kind = 'ip'")
    return [str(ipaddress.ip_address(number)) for number, in leases]


class Life(ClusterCase):
    nodes_wanted = 3

    def setUp(self):
        super().setUp()
        self.ready(snapshot=True)
        for node in self.nodes:  # each has the template, whichever fail
            self.client.want(204, "DELETE", f"/sandboxes/{self.create_on(node)}")
        self.seed = int(os.environ.get("NANOBOX_RANDOM_SEED") or random.SystemRandom().randrange(1 << 32))
        self.random = random.Random(self.seed)
        self.model, self.complaints, self.trail = Model(), [], []
        self.numbers = collections.Counter()
        self.troubles, self.troubled, self.cordoned, self.drained = {}, set(), [], set()
        self.addCleanup(self.mend_all)

    def test_what_the_client_was_told_stays_true(self):
        steps = int(os.environ.get("NANOBOX_RANDOM_STEPS") or 0)
        end = time.monotonic() + float(os.environ.get("NANOBOX_RANDOM_SEC") or 40)
        print(f"\n    NANOBOX_RANDOM_SEED={self.seed}", flush=True)
        done = 0
        try:
            while done < steps if steps else time.monotonic() < end:
                self.step()
                done += 1
                if done % QUIET == 0:
                    self.check_quiet()
                elif done % LOOK == 0:
                    self.check(self.contradictions(is_quiet=False))
            self.check_quiet()
        except BaseException:
            print(f"\n    step {done} of NANOBOX_RANDOM_SEED={self.seed}; the last ones:", *self.trail[-40:], sep="\n", flush=True)
            raise
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.numbers.most_common() if kind != "name")
        print(f"    {done} steps: {kinds}", flush=True)

    # --- Steps

    def step(self):
        """One drawn from those that are possible now; half of those that ask for something big are disturbed."""
        there = self.model.there("running", "paused")
        running, paused = self.model.there("running"), [known for known in there if "paused" in known.may]
        healthy = [node for node in self.nodes if node.name not in self.troubles]
        may_trouble = len(self.troubles) < 2
        asks = [(14, self.create, len(self.model.there()) < MANY), (8, self.delete, there), (22, self.mark, there),
                (9, self.pause, running), (10, self.resume, paused),
                (4, self.fork, running if len(self.model.there()) < MANY - 1 else []), (5, self.keep, there)]
        others = [(2, self.kill_vm, running), (12 * may_trouble, self.trouble, healthy), (14, self.mend, self.troubles),
                  (2, self.kill_control, True), (2, self.cordon, not self.cordoned), (2, self.drain, not self.cordoned),
                  (6, self.uncordon, self.cordoned)]
        draws = [(weight, what, among) for weight, what, among in asks + others if among]
        _, what, among = self.random.choices(draws, [weight for weight, _, _ in draws])[0]
        one = self.random.choice(list(among)) if isinstance(among, list) else None
        self.numbers[what.__name__] += 1
        self.relax_drained()
        if what in {other for _, other, _ in others}:
            what(*([one] if one is not None else []))
            return
        disturbance = None
        if may_trouble and healthy and self.random.random() < 0.15:
            node = self.random.choice(healthy)
            disturbance = self.random.choice([lambda: self.trouble(node), lambda: self.trouble(node), self.kill_control])
        what(one, disturbance)
        self.check(self.complaints)

    def ask(self, what, method, path, body=None, disturbance=None):
        """The answer, None where there was none; what disturbs the call happens a moment after its beginning."""
        begin, said = time.monotonic(), len(self.trail)
        self.trail.append("")
        call = Call(self.client, method, path, body, timeout=ANSWERED)
        if disturbance:
            time.sleep(self.random.choice((0, 0.02, 0.1, 0.3)))
            disturbance()
        call.join()
        is_answer = not isinstance(call.outcome, Exception)
        outcome = call.outcome if is_answer else type(call.outcome).__name__
        self.trail[said] = f"    {begin:.2f} +{time.monotonic() - begin:.2f} s {what}: {str(outcome)[:230]}"
        if not is_answer and not isinstance(call.outcome, (OSError, http.client.HTTPException)):
            raise call.outcome
        if isinstance(call.outcome, TimeoutError) or (is_answer and call.outcome.status == 500):
            self.complaints.append(f"{what}: {call.outcome}")
        return call.outcome if is_answer else None

    def ask_of(self, known, what, method, path, body=None, disturbance=None, wanted=(200,), at_rest="running"):
        """As `ask`, of a sandbox that is known to be there, and in calm times known to have that status."""
        was_surely = known.is_there and known.may == {at_rest}
        answer = self.ask(f"{what} {known.name}", method, f"/sandboxes/{known.id}{path}", body, disturbance)
        if answer and answer.status == 404 and known.is_there:
            self.complaints.append(f"{what} {known.name} ({known.id}): {answer}")
        elif was_surely and self.is_calm() and (not answer or answer.status not in wanted):
            self.complaints.append(f"{what} {known.name} ({known.id}), though all was well: {answer}")
        return answer

    def is_calm(self):
        return not self.troubled and not self.cordoned

    def name(self):
        self.numbers["name"] += 1
        return f"s{self.numbers['name']}"

    def create(self, _, disturbance):
        name = self.name()
        answer = self.ask(f"create {name}", "POST", "/sandboxes",
                          {"template": "busybox", "metadata": {"tag": name}, "timeout_sec": 7200}, disturbance)
        if not answer:
            self.model.unanswered.add(name)
        elif answer.status != 201:
            self.model.refused.add(name)
            if self.is_calm():
                self.complaints.append(f"create {name}, though all was well: {answer}")
        else:
            self.mark(self.model.made(answer.json["id"], name, expires_at=answer.json["expires_at"]))

    def mark(self, known, disturbance=None):
        mark = f"{known.name}-{self.name()}"
        answer = self.ask_of(known, f"mark {mark}", "POST", "/exec", {
            "command": "sh", "args": ["-c", MARK + f"echo {mark} > /root/mark; echo {mark} > /mem/mark"], "timeout_ms": 20000},
            disturbance)
        known.marks.add(mark)
        if answer and answer.status == 200 and answer.json["exit_code"] == 0:
            written = answer.json["stdout"].strip().split(":")
            if not set(written) <= known.marks:
                self.complaints.append(f"{known.name} ({known.id}) had {written} written in it, "
                                       f"should be of {sorted(known.marks)}")
            known.marks = {mark}
        elif answer and answer.status == 200 and self.is_calm():
            self.complaints.append(f"mark {known.name}: {answer}")

    def delete(self, known, disturbance=None):
        was_there = known.is_there
        known.may.add(GONE)  # a request that breaks may have done it
        answer = self.ask(f"delete {known.name}", "DELETE", f"/sandboxes/{known.id}", None, disturbance)
        if answer and answer.status in (204, 404):
            known.may = {GONE}
            if answer.status == 404 and was_there:
                self.complaints.append(f"delete {known.name} ({known.id}): {answer}")
        elif self.is_calm():
            self.complaints.append(f"delete {known.name} ({known.id}), though all was well: {answer}")

    def pause(self, known, disturbance):
        self.change(known, "pause", "running", "paused", disturbance)

    def resume(self, known, disturbance):
        self.change(known, "resume", "paused", "running", disturbance)

    def change(self, known, what, before, after, disturbance):
        answer = self.ask_of(known, what, "POST", f"/{what}", {}, disturbance, at_rest=before)
        if answer and answer.status == 200:
            known.may = {after}
        else:
            known.may.add(after)

    def fork(self, known, disturbance):
        count = self.random.choice((1, 2))
        answer = self.ask_of(known, f"fork {count} of", "POST", "/fork", {"count": count}, disturbance, wanted=(201,))
        if not answer or (answer.status == 503 and answer.json["code"] == "node_lost"):
            self.model.unanswered.add(known.id)
        elif answer.status == 201:
            made = [self.model.made(child["id"], f"{known.name}-{self.name()}", marks=set(known.marks))
                    for child in answer.json["items"]]
            for child in made:
                self.mark(child)

    def keep(self, known, disturbance):
        wanted = {"timeout_sec": self.random.choice((7200, 9000))}
        answer = self.ask_of(known, "keep", "POST", "/keepalive", wanted, disturbance)
        if answer and answer.status == 200:
            known.expires_at = answer.json["expires_at"]
        else:
            known.expires_at = ""

    def kill_vm(self, known):
        for node in self.nodes:
            machine = node.machines().get(known.id)
            if machine:
                self.say(f"kill the VM of {known.name} on {node.name}")
                with contextlib.suppress(ProcessLookupError):
                    os.kill(machine["pid"], signal.SIGKILL)
                known.may = {"running", "failed", GONE}  # until its node has told; a quiet cluster shows no VM of it

    def trouble(self, node):
        kind = self.random.choices(("dead", "stopped", "unplugged", "deaf", "mute"), (4, 2, 3, 1, 1))[0]
        if kind == "mute" and "mute" in {kind for kind, _ in self.troubles.values()}:
            kind = "unplugged"
        self.say(f"{node.name} is {kind}")
        self.troubled.add(node.name)
        process, undo = node.child.process, contextlib.ExitStack()
        if kind == "dead":
            node.child.end(signal.SIGKILL)
            undo.callback(node.launch)
        elif kind == "stopped":
            process.send_signal(signal.SIGSTOP)
            undo.callback(process.send_signal, signal.SIGCONT)
        else:
            undo.enter_context(getattr(node, kind)())
        self.troubles[node.name] = kind, undo

    def mend(self):
        name = self.random.choice(sorted(self.troubles))
        kind, undo = self.troubles.pop(name)
        self.say(f"{name} is {kind} no more")
        undo.close()

    def kill_control(self):
        self.say("kill the control plane")
        self.troubled.update(node.name for node in self.nodes)
        self.control.child.end(signal.SIGKILL)
        self.control.start()
        self.say("the control plane is back")

    def cordon(self):
        self.cordoned = [self.random.choice(self.nodes)]
        self.say(f"cordon {self.cordoned[0].name}")
        self.client.want(200, "POST", f"/nodes/{self.cordoned[0].name}/cordon", {})

    def drain(self):
        self.cordoned = [self.random.choice(self.nodes)]
        self.drained.add(self.cordoned[0].name)
        self.say(f"drain {self.cordoned[0].name}")
        self.relax_drained()
        wanted = {"deadline_sec": self.random.choice((0, 1))}
        self.client.want(200, "POST", f"/nodes/{self.cordoned[0].name}/drain", wanted)

    def uncordon(self, node):
        self.say(f"uncordon {node.name}")
        self.client.want(200, "POST", f"/nodes/{node.name}/uncordon", {})
        self.cordoned = []

    def relax_drained(self):
        """What is on a drained node is paused some time, and goes on elsewhere where that is possible."""
        if not self.drained:
            return
        for item in self.listed():
            known = self.model.sandboxes.get(item["id"])
            if known and item["node_id"] in self.drained and known.may & {"running", "paused"}:
                known.may |= {"running", "paused"}

    def mend_all(self):
        while self.troubles:
            self.mend()

    def say(self, text):
        self.trail.append(f"    {time.monotonic():.2f} {text}")

    # --- Looking

    def listed(self):
        return self.client.want(200, "GET", "/sandboxes?limit=1000")["items"]

    def look(self, with_marks=False):
        listed = self.listed()
        nodes = {node.name: node for node in self.nodes}
        running = [item["id"] for item in listed if item["status"] == "running"]
        return Seen(
            listed=listed,
            machines={name: {id: machine["pid"] for id, machine in node.machines().items()} for name, node in nodes.items()},
            vmms={name: vmms_of(node) for name, node in nodes.items()},
            addresses={name: addresses_of(node) for name, node in nodes.items()},
            marks={id: self.written(id) for id in running if with_marks},
            troubled=frozenset(self.troubled))

    def written(self, id):
        return self.sh(id, MARK).strip().split(":")

    def contradictions(self, is_quiet, **more):
        return self.model.contradictions(self.look(**more), is_quiet)

    def check(self, contradictions):
        self.assertEqual(contradictions, [])

    def check_quiet(self):
        """All is mended; then what the client knows is what is there, to the last process."""
        self.say("quiet")
        self.mend_all()
        for node in self.nodes:
            until(f"{node.name} is back", lambda: node.is_ready() and node.status in ("ready", "draining"), BACK)
            self.client.want(200, "POST", f"/nodes/{node.name}/uncordon", {})
        self.cordoned = []
        try:
            until("all is well", lambda: not self.contradictions(is_quiet=True), SETTLED, 0.3)
        except AssertionError:
            self.check(self.contradictions(is_quiet=True))
        seen = self.look(with_marks=True)
        self.check(self.model.contradictions(seen, is_quiet=False))
        self.learn(seen)

    def learn(self, seen):
        """From here on more is known for sure."""
        self.troubled, self.drained = set(), set()
        listed = {item["id"]: item for item in seen.listed}
        for id, item in listed.items():
            if id not in self.model.sandboxes:
                self.model.made(id, self.name(), marks=set(seen.marks.get(id, [""])))
        for known in list(self.model.sandboxes.values()):
            known.may = {listed[known.id]["status"]} if known.id in listed else {GONE}
            if known.may == {"failed"}:
                self.delete(known)
        self.model.unanswered, self.model.refused = set(), set()
        self.check(self.complaints)


class Checker(unittest.TestCase):
    """It sees what must not be."""

    def setUp(self):
        self.model = Model()
        self.model.made("sb-1", "s1", marks={"one"})
        self.model.made("sb-2", "s2", may={"paused"})

    @staticmethod
    def item(id, status="running", node="n1", **more):
        return {"id": id, "status": status, "node_id": node, "ip": f"10.0.0.{id[3:]}", "metadata": {}, "reason": None,
                "expires_at": "2026-01-01T00:00:00.000Z", **more}

    def seen(self, **more):
        usual = {"listed": [self.item("sb-1"), self.item("sb-2", "paused", "n2")],
                 "machines": {"n1": {"sb-1": 11}, "n2": {"st-7": 12}}, "vmms": {"n1": {11}, "n2": {12}},
                 "addresses": {"n1": ["10.0.0.1"], "n2": ["10.0.0.7"]}, "marks": {"sb-1": ["one", "one"]}}
        return Seen(**{**usual, **more})

    def check(self, seen, *words, is_quiet=True):
        found = self.model.contradictions(seen, is_quiet)
        self.assertEqual(len(found), len(words), found)
        for sentence, word in zip(found, words):
            self.assertIn(word, sentence)

    def test_what_agrees_is_no_contradiction(self):
        self.check(self.seen())
        self.check(self.seen(), is_quiet=False)

    def test_an_id_that_is_listed_twice(self):
        seen = self.seen()
        seen.listed.append(self.item("sb-1", ip=None))
        self.check(seen, "sb-1 is listed 2 times")

    def test_an_id_with_two_vms(self):
        machines, vmms = {"n1": {"sb-1": 11}, "n2": {"sb-1": 12}}, {"n1": {11}, "n2": {12}}
        self.check(self.seen(machines=machines, vmms=vmms), "sb-1 has VMs on n1 and n2", "sb-1 has a VM on n2")
        self.check(self.seen(machines=machines, vmms=vmms), "sb-1 has VMs on n1 and n2", is_quiet=False)
        self.check(self.seen(machines=machines, vmms=vmms, troubled=frozenset({"n2"})), is_quiet=False)

    def test_one_that_was_replaced_by_a_fresh_vm_or_an_older_state(self):
        for written in ["", ""], ["one", ""], ["another's", "another's"]:
            self.check(self.seen(marks={"sb-1": written}), "should be one of ['one']")

    def test_one_that_is_gone_or_lost(self):
        paused = self.item("sb-2", "paused", "n2")
        empty = {"machines": {"n1": {}, "n2": {}}, "vmms": {"n1": set(), "n2": set()}, "marks": {}}
        self.check(self.seen(listed=[paused], **empty), "s1 (sb-1) is gone")
        listed = [paused, self.item("sb-1", "lost", reason="n1 is lost")]
        lost = self.seen(listed=listed, **empty, troubled=frozenset({"n1"}))
        self.check(lost, "s1 (sb-1) is lost on n1")
        self.check(lost, is_quiet=False)
        lost.troubled = frozenset({"n2"})
        self.check(lost, "s1 (sb-1) is lost on n1", is_quiet=False)

    def test_one_that_was_deleted_and_is_there(self):
        self.model.sandboxes["sb-1"].may = {GONE}
        self.check(self.seen(), "s1 (sb-1) was deleted")
        self.model.sandboxes["sb-1"].may = {"running", GONE}  # the answer did not come
        self.check(self.seen())

    def test_one_that_nobody_made(self):
        seen = self.seen()
        seen.listed.append(self.item("sb-3", "paused", metadata={"tag": "s3"}))
        self.check(seen, "that the client did not make")
        self.model.refused.add("s3")
        self.check(seen, "whose create was refused")
        self.model.unanswered.add("s3")
        self.check(seen)

    def test_a_vm_without_an_owner(self):
        self.check(self.seen(vmms={"n1": {11, 13}, "n2": {12}}), "the VMM 13 on n1 is nobody's")
        machines = {"n1": {"sb-1": 11, "sb-9": 13}, "n2": {"st-7": 12}}
        self.check(self.seen(machines=machines, vmms={"n1": {11, 13}, "n2": {12}}), "sb-9 has a VM on n1")

    def test_one_that_runs_without_a_vm(self):
        self.check(self.seen(machines={"n1": {}, "n2": {"st-7": 12}}, vmms={"n1": set(), "n2": {12}}), "sb-1 has no VM on n1")
        self.check(self.seen(vmms={"n1": set(), "n2": {12}}), "sb-1 has no process")

    def test_an_address_that_is_given_twice(self):
        self.model.sandboxes["sb-2"].may = {"running", "paused"}
        seen = self.seen(listed=[self.item("sb-1"), self.item("sb-2", "running", "n2", ip="10.0.0.1")])
        self.check(seen, "the address 10.0.0.1 is given 2 times", is_quiet=False)
        seen = self.seen(listed=[self.item("sb-1"), self.item("sb-2", "paused", "n2", ip="10.0.0.1")])
        self.check(seen)
        self.check(self.seen(addresses={"n1": ["10.0.0.7"], "n2": ["10.0.0.7"]}), "the address 10.0.0.7 is given 2 times")

    def test_a_promised_time_that_is_not_kept(self):
        self.model.sandboxes["sb-1"].expires_at = "2026-01-01T00:00:01.000Z"
        self.check(self.seen(), "was promised 2026-01-01T00:00:01.000Z")


if __name__ == "__main__":
    unittest.main()
