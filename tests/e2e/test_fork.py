"""Fork and snapshot, clause by clause as docs/fork.md has them."""
import concurrent.futures
import contextlib
import json
import os
import signal
import time
import unittest

import contract
from copies import CLOCK_NS, SMALL, Copies
from events import Events, gather
from harness import Case, Client, OwnDaemon, until
from leaks import files_below
from websocket import WebSocket


class Forked(Case, Copies):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        image = f"{cls.registry.address}/library/busybox:latest"
        cls.daemon.client.ready("cold", image, resources=SMALL)
        cls.daemon.client.ready("warm", image, resources=SMALL, snapshot=True)

    def layers(self):
        return list((self.daemon.seen_data() / "rootfs/.layers").glob("*"))

    def restart(self, number):
        code = self.daemon.child.end(number)
        self.assertEqual(code, 0 if number == signal.SIGTERM else -number, self.daemon.tail())
        self.daemon.start()
        self.client = self.daemon.client

    def check_family(self, parent, children, file="/mem/lines"):
        """The witness went on in everybody from one instant, under each one's own name and with random bytes of its own."""
        seen = {member: self.more_lines(member, 0, file) for member in (parent, *children)}
        for member, lines in seen.items():
            self.check_goes_on(lines)
        at_fork = {child: sum(line.host != child for line in seen[child]) for child in children}
        self.assertEqual(len(set(at_fork.values())), 1)
        count = at_fork[children[0]]
        for child in children:
            # The line that was being written then may have the old name and new bytes.
            self.assertEqual([line[:3] for line in seen[child][:count - 1]], [line[:3] for line in seen[parent][:count - 1]])
            self.assertEqual({line.host for line in seen[child][count:]} | {child}, {child})
        drawn = [line.random for member in seen for line in seen[member][count:]]
        self.assertEqual(len(drawn), len(set(drawn)))
        return count


class Children(Forked):
    def check_one_instant(self, template, **more):
        parent = self.with_witness(template, **more)
        self.sh(parent, "echo on-disk > /root/mark; echo in-memory > /mem/mark; mkfifo /mem/pipe")
        reader = self.start(parent, "exec 3< /root/mark; read line < /mem/pipe; echo $line; cat <&3")
        forked = self.client.want(201, "POST", f"/sandboxes/{parent}/fork", {"count": 3})
        children = [child["id"] for child in forked["items"]]
        self.assertEqual(len(set(children)), 3)
        self.assertEqual({child["status"] for child in forked["items"]}, {"running"})
        for member in (parent, *children):
            for file in "/mem/lines", "/root/lines":
                self.more_lines(member, self.lines(member, file)[-1].number + 50, file)
            self.assertEqual(self.sh(member, "cat /mem/mark /root/mark"), "in-memory\non-disk\n")
            self.sh(member, f"echo {member} > /mem/pipe")
            until("the reader has ended", lambda: self.process(member, reader)["state"] == "exited")
            self.assertEqual(self.output(member, reader), f"{member}\non-disk\n")
            self.check_clock(member)
        for file in "/mem/lines", "/root/lines":
            self.check_family(parent, children, file)

    def test_a_child_has_memory_processes_files_and_tmpfs_of_one_instant(self):
        for name, template, more in (("from a snapshot", "warm", {}), ("booted cold", "cold", {}),
                                     ("with two virtual CPUs", "warm", {"resources": {**SMALL, "vcpu": 2}})):
            with self.subTest(name):
                self.check_one_instant(template, **more)
                self.daemon.settle()

    def test_nobody_sees_what_another_writes_afterwards(self):
        parent = self.client.create("warm")["id"]
        self.sh(parent, "mkdir /mem; mount -t tmpfs tmpfs /mem; seq 100000 > /root/all; seq 100000 > /mem/all")
        family = [parent, *self.fork(parent, 2)]
        for member in family:
            self.sh(member, f"echo {member} > /root/mine; echo {member} > /mem/mine; sed -i s/^5/x{member[-4:]}/ /root/all /mem/all; sync")
        for member in family:
            self.sh(member, "echo 3 > /proc/sys/vm/drop_caches")
            self.assertEqual(self.sh(member, "cat /root/mine /mem/mine"), f"{member}\n" * 2)
            self.assertEqual(self.sh(member, f"grep -vc ^[0-9] /root/all; grep -c ^x{member[-4:]} /root/all; cmp /root/all /mem/all"),
                             "11111\n11111\n")

    def test_the_parents_commands_go_on_in_the_child_as_detached_ones(self):
        parent = self.client.create("warm")["id"]
        asked = self.start(parent, "read line; echo $line")
        timed = self.start(parent, "sleep 300", timeout_ms=3000)
        signalled = self.start(parent, "trap 'echo caught; exit 3' TERM; touch /root/ready; while :; do sleep 0.05; done")
        until("it is ready", lambda: "ready" in self.sh(parent, "ls /root"))
        child, = self.fork(parent)
        path = f"/sandboxes/{child}/processes"
        listed = {item["process_id"]: item["state"] for item in self.client.want(200, "GET", path)["items"]}
        self.assertLessEqual({asked, timed, signalled}, set(listed))
        self.assertEqual(self.client.call("POST", f"{path}/{asked}/stdin?eof=1", b"the child's\n").status, 204)
        self.assertEqual(self.client.call("DELETE", f"{path}/{signalled}?signal=TERM").status, 204)
        for process in asked, timed, signalled:
            until("it has ended", lambda: self.process(child, process)["state"] == "exited")
        self.assertEqual(self.output(child, asked), "the child's\n")
        self.assertEqual(self.output(child, signalled), "caught\n")
        self.assertTrue(self.process(child, timed)["timed_out"])
        self.assertEqual(self.process(parent, asked)["state"], "running")
        self.assertEqual(self.process(parent, signalled)["state"], "running")

    def test_a_child_says_whose_it_is_and_keeps_the_parents_settings(self):
        parent = self.client.create("warm", env={"WHO": "family"}, metadata={"a": "b"}, timeout_sec=777, on_timeout="pause")
        forked = self.client.want(201, "POST", f"/sandboxes/{parent['id']}/fork", {})
        child, = forked["items"]
        for field in "template", "image_digest", "resources", "network", "env", "metadata", "timeout_sec", "on_timeout":
            self.assertEqual(child[field], parent[field], field)
        self.assertEqual((child["parent"], child["boot_path"], child["generation"]), (parent["id"], "fork", parent["generation"] + 1))
        self.assertGreater(child["expires_at"], parent["expires_at"])
        self.assertGreaterEqual(child["boot_time_ms"], 0)
        self.assertGreaterEqual(child["state_age_ms"], 0)
        self.assertEqual(self.sh(child["id"], "echo $WHO; hostname; cat /etc/hostname; grep -c $(hostname) /etc/hosts"),
                         f"family\n{child['id']}\n{child['id']}\n1\n")

    def test_children_outlive_their_parent(self):
        parent = self.with_witness("warm")
        children = self.fork(parent, 2)
        self.assertEqual(self.client.call("DELETE", f"/sandboxes/{parent}").status, 204)
        for child in children:
            self.sh(child, "echo 3 > /proc/sys/vm/drop_caches")
            self.check_goes_on(self.more_lines(child, 100, "/root/lines"))
        self.pause(children[0])
        self.client.call("DELETE", f"/sandboxes/{children[1]}")
        count = self.resume(children[0]) and len(self.lines(children[0]))
        self.check_goes_on(self.more_lines(children[0], count))

    def test_a_child_can_be_forked(self):
        member, count = self.with_witness("warm"), 0
        for generation in range(1, 4):
            child, = self.fork(member)
            self.assertEqual(self.seen(child)["generation"], generation)
            self.check_family(member, [child])
            member = child
        lines = self.more_lines(member, count, "/root/lines")
        self.check_goes_on(lines)
        self.assertEqual(len({line.host for line in lines}), 4)
        self.pause(member)
        self.resume(member)
        self.check_goes_on(self.more_lines(member, len(lines), "/root/lines"))

    def test_a_long_line_of_forks_has_a_short_chain_of_layers(self):
        member = self.with_witness("warm")
        for generation in range(12):
            self.sh(member, f"echo {generation} > /root/{generation}; sync")
            child, = self.fork(member)
            self.client.call("DELETE", f"/sandboxes/{member}")
            member = child
        self.assertLessEqual(len(self.layers()), 9)
        self.sh(member, "echo 3 > /proc/sys/vm/drop_caches")
        self.assertEqual(self.sh(member, "cd /root; for n in $(seq 0 11); do cat $n; done").split(), [str(n) for n in range(12)])
        self.check_goes_on(self.more_lines(member, 100, "/root/lines"))

    def test_one_parent_is_forked_again_and_again(self):
        parent = self.with_witness("cold")
        for turn in range(12):
            self.sh(parent, f"echo {turn} > /root/{turn}; sync")
            child, = self.fork(parent)
            self.sh(child, "echo 3 > /proc/sys/vm/drop_caches")
            self.assertEqual(self.sh(child, f"cd /root; for n in $(seq 0 {turn}); do cat $n; done").split(),
                             [str(n) for n in range(turn + 1)])
            self.client.call("DELETE", f"/sandboxes/{child}")
        self.check_clock(parent)  # it stood still with the machine, twelve times
        self.pause(parent)
        self.resume(parent)
        self.assertLessEqual(len(self.layers()), 8)
        self.check_goes_on(self.more_lines(parent, 100, "/root/lines"))

    def test_twenty_forks_at_once(self):
        parent = self.client.create("warm")["id"]
        waiting = self.start(parent, "while read line; do hostname; head -c 32 /dev/urandom | od -An -tx1 | tr -d '\\n '; done")
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            children = [ids[0] for ids in pool.map(lambda _: self.fork(parent), range(20))]
        self.assertEqual(len(set(children)), 20)
        drawn = set()
        for child in children:
            self.client.call("POST", f"/sandboxes/{child}/processes/{waiting}/stdin?eof=1", b"\n")
            until("it has ended", lambda: self.process(child, waiting)["state"] == "exited")
            name, random = self.output(child, waiting).split()
            self.assertEqual((name, len(random)), (child, 64))
            drawn.add(random)
        self.assertEqual(len(drawn), 20)

    def test_old_processes_find_all_changed_before_they_run(self):
        parent = self.with_witness("warm")
        before = time.time_ns()
        children = self.fork(parent, 4)
        count = self.check_family(parent, children)
        for child in children:
            first = self.lines(child)[count]
            self.assertEqual(first.host, child)
            self.assertGreaterEqual(first.wall_ns, before - CLOCK_NS)
            self.assertLessEqual(first.wall_ns, time.time_ns() + CLOCK_NS)
            self.check_clock(child)

    def test_the_monotonic_clock_does_not_jump(self):
        parent = self.with_witness("warm")

        def look():
            child, = self.fork(parent)
            lines = self.more_lines(child, len(self.lines(parent)))
            count = sum(line.host == parent for line in lines)
            wall, monotonic = (getattr(lines[count], clock) - getattr(lines[count - 1], clock) for clock in ("wall_ns", "monotonic_ns"))
            self.check_goes_on(lines)
            return monotonic <= wall
        # On a busy host the child's wall clock is set late, and shows less than went by.
        until("the monotonic clock has not jumped", look)


class Equal(Forked):
    def test_what_stays_equal_is_what_is_written_here(self):
        parent = self.client.create("warm")["id"]
        holder = self.start(parent, "secret=$(head -c 16 /dev/urandom | od -An -tx1); touch /root/drawn; while read line; do echo $secret; done")
        until("it has its secret", lambda: "drawn" in self.sh(parent, "ls /root"))
        facts = "cat /proc/sys/kernel/random/boot_id; cat /proc/[0-9]*/stat | grep -c '(sh)'"
        children = self.fork(parent, 2)
        family = [parent, *children]
        self.assertEqual(len({self.sh(member, facts) for member in family}), 1)
        outputs = set()
        for member in family:
            self.client.call("POST", f"/sandboxes/{member}/processes/{holder}/stdin?eof=1", b"\n")
            until("it has ended", lambda: self.process(member, holder)["state"] == "exited")
            outputs.add(self.output(member, holder))
        self.assertEqual(len(outputs), 1)

    def test_a_process_started_after_the_fork_draws_its_own(self):
        parent = self.client.create("warm")["id"]
        family = [parent, *self.fork(parent, 5), *(self.client.create("warm")["id"] for _ in range(3))]
        drawn = {self.sh(member, "head -c 32 /dev/urandom | od -An -tx1; cat /proc/sys/kernel/random/uuid") for member in family}
        self.assertEqual(len(drawn), len(family))


class InFlight(Forked):
    def test_requests_in_flight_stay_the_parents(self):
        parent = self.with_witness("warm")
        path = f"/sandboxes/{parent}/exec"
        script = "echo before; touch /mem/{0}; while [ ! -e /mem/go ]; do sleep 0.05; done; echo after"
        terminal = WebSocket(self.client.address, f"/api/v1/sandboxes/{parent}/terminal?command=/bin/sh")
        upload = contract.Connection(self.client.address, timeout=60)
        self.addCleanup(upload.close)
        upload.putrequest("PUT", f"/api/v1/sandboxes/{parent}/files?path=/root/half")
        upload.putheader("Content-Length", "2000")
        upload.endheaders()
        upload.send(bytes(1000))
        with Events(self.client, "POST", path, {"command": "sh", "args": ["-c", script.format("streamed")]}) as events, \
                self.meanwhile("POST", path, {"command": "sh", "args": ["-c", script.format("buffered")]}) as buffered:
            until("both run", lambda: self.sh(parent, "ls /mem").count("ed\n") == 2)
            child, = self.fork(parent)
            self.sh(parent, "touch /mem/go")
            self.assertEqual(buffered.answer().json["stdout"], "before\nafter\n")
            found = gather(events)
        self.assertEqual((found["stdout"], found["exit"]["exit_code"]), (b"before\nafter\n", 0))
        upload.send(bytes(1000))
        self.assertEqual(upload.getresponse().status, 204)
        self.assertEqual(self.sh(parent, "wc -c < /root/half"), "2000\n")
        terminal.send(2, b"touch /mem/in-terminal\n")
        until("the terminal works", lambda: "in-terminal" in self.sh(parent, "ls /mem"))
        # In the child: the commands without their readers, no half file, nothing of the terminal.
        self.assertEqual(self.sh(child, "ls -A /root; ls /mem"), "lines\nwitness\nbuffered\nlines\nstreamed\n")
        ours = [item["process_id"] for item in self.client.want(200, "GET", f"/sandboxes/{child}/processes")["items"]
                if "streamed" in json.dumps(item) or "buffered" in json.dumps(item)]
        self.assertEqual(len(ours), 2)
        self.sh(child, "touch /mem/go")
        for process in ours:
            until("it has ended", lambda: self.process(child, process)["state"] == "exited")
            self.assertTrue(self.output(child, process).endswith("after\n"))

    def test_forwarded_connections_end_in_the_child(self):
        parent = self.with_witness("warm")
        self.start(parent, "nc -l -p 9000 -e sh -c 'cat > /mem/from-tcp; echo end >> /mem/from-tcp'")
        until("it listens", lambda: ":9000 " in self.sh(parent, "netstat -ltn"))
        connection = WebSocket(self.client.address, f"/api/v1/sandboxes/{parent}/tcp/9000")
        connection.send(2, b"one\n")
        until("it is there", lambda: self.sh(parent, "cat /mem/from-tcp") == "one\n")
        child, = self.fork(parent)
        until("it has ended", lambda: self.sh(child, "cat /mem/from-tcp") == "one\nend\n")
        connection.send(2, b"two\n")
        until("it goes on", lambda: self.sh(parent, "cat /mem/from-tcp") == "one\ntwo\n")

    def test_streams_go_on_across_a_fork(self):
        parent = self.client.create("warm")["id"]
        count = 300_000
        with Events(self.client, "POST", f"/sandboxes/{parent}/exec", {"command": "seq", "args": [str(count)]}) as events:
            next(events)
            with self.meanwhile("POST", f"/sandboxes/{parent}/fork", {"count": 2}) as fork:
                calls = [self.client.exec(parent, "echo", str(n))["stdout"] for n in range(10)]
                found = gather(events)
            self.assertEqual(fork.answer().status, 201, fork.answer())
        self.assertEqual(calls, [f"{n}\n" for n in range(10)])
        self.assertEqual(found["stdout"].decode().split(), [str(n) for n in range(1, count + 1)])

    def test_the_parent_stands_still_for_what_the_answer_says(self):
        parent = self.with_witness("warm")
        forked = self.client.want(201, "POST", f"/sandboxes/{parent}/fork", {"count": 2})
        self.assertGreater(forked["pause_ms"], 0)
        self.assertGreaterEqual(forked["frozen_ms"], forked["pause_ms"])
        lines = self.more_lines(parent, len(self.lines(parent)) + 10)
        longest = max(after.wall_ns - before.wall_ns for before, after in zip(lines, lines[1:]))
        self.assertGreaterEqual(longest / 1e6, forked["pause_ms"])


class Limits(Forked):
    def test_counts_have_bounds(self):
        parent = self.client.create("warm")["id"]
        for count in 0, 101, -1:
            self.problem(self.client.call("POST", f"/sandboxes/{parent}/fork", {"count": count}), 422, "invalid_value")
        self.assertEqual(len(self.fork(parent)), 1)

    def test_overlays_are_shared_and_go_with_their_last_user(self):
        parent = self.client.create("warm")["id"]
        self.sh(parent, "head -c 20000000 /dev/urandom > /root/content; sync")
        content = self.sh(parent, "sha256sum /root/content")
        children = self.fork(parent, 2)
        layer, = self.layers()
        self.assertGreater(os.stat(layer / "disk.qcow2").st_blocks * 512, 20_000_000)
        for child in children:
            own = self.daemon.seen_data() / "rootfs" / child / "disk.qcow2"
            self.assertLess(os.stat(own).st_blocks * 512, 10_000_000)
        self.client.call("DELETE", f"/sandboxes/{parent}")
        self.client.call("DELETE", f"/sandboxes/{children[0]}")
        self.assertEqual(self.layers(), [layer])
        self.sh(children[1], "echo 3 > /proc/sys/vm/drop_caches")
        self.assertEqual(self.sh(children[1], "sha256sum /root/content"), content)
        self.client.call("DELETE", f"/sandboxes/{children[1]}")
        until("the layer is gone", lambda: not self.layers())

    def test_errors_of_a_fork_leave_the_parent_alone(self):
        self.problem(self.client.call("POST", "/sandboxes/sb-00000000000000000000000000/fork", {}), 404, "sandbox_not_found")
        dead = self.client.create("warm")["id"]
        os.kill(self.daemon.vmm(dead), signal.SIGKILL)
        until("it is failed", lambda: self.seen(dead)["status"] == "failed")
        self.problem(self.client.call("POST", f"/sandboxes/{dead}/fork", {}), 409, "sandbox_not_running")

    def test_all_children_or_none(self):
        parent = self.with_witness("warm")
        with self.meanwhile("POST", f"/sandboxes/{parent}/fork", {"count": 4}) as fork:
            killed = None
            while not (fork.outcome or killed):
                for item in self.client.want(200, "GET", "/sandboxes?status=creating")["items"]:
                    with contextlib.suppress(KeyError, ProcessLookupError):
                        os.kill(self.daemon.vmm(item["id"]), signal.SIGKILL)
                        killed = item["id"]
            answer = fork.answer()
        self.check_goes_on(self.more_lines(parent, len(self.lines(parent))))
        if answer.status == 201:  # it was killed when it ran
            self.assertEqual(len(answer.json["items"]), 4)
        else:
            self.assertIn(answer.json["code"], ("vmm_failed", "guest_gone", "guest_timeout"), answer)
            until("no child is left", lambda: len(self.client.want(200, "GET", "/sandboxes")["items"]) == 1)
        self.assertEqual(len(self.fork(parent, 2)), 2)

    def test_a_parent_that_is_killed_or_deleted_amid_a_fork(self):
        for name in "killed", "deleted":
            for step in range(3):
                with self.subTest(name, step=step):
                    parent = self.with_witness("warm")
                    vmm = self.daemon.vmm(parent)
                    with self.meanwhile("POST", f"/sandboxes/{parent}/fork", {"count": 2}) as fork:
                        reached = (lambda: self.client.running_stages("fork"), lambda: "boot" in self.client.running_stages("fork"),
                                   self.half_saved)[step]
                        while not (fork.outcome or reached()):
                            pass
                        if name == "killed":
                            with contextlib.suppress(ProcessLookupError):
                                os.kill(vmm, signal.SIGKILL)
                            until("it is failed", lambda: self.seen(parent)["status"] == "failed")
                        else:
                            self.assertEqual(self.client.call("DELETE", f"/sandboxes/{parent}").status, 204)
                        answer = fork.answer()
                    if answer.status == 201:
                        for child in answer.json["items"]:
                            self.check_goes_on(self.more_lines(child["id"], 0))
                    self.daemon.settle()

    def test_a_daemon_killed_amid_a_fork_leaves_the_parent_running(self):
        parent, count = self.with_witness("warm"), 0
        layers = self.daemon.data / "rootfs/.layers"
        for step in range(6):
            before = len(self.layers())
            with self.meanwhile("POST", f"/sandboxes/{parent}/fork", {"count": 2}) as fork:
                reached = (lambda: len(self.layers()) > before, self.half_saved,
                           lambda: "boot" in self.client.running_stages("fork"))[step % 3]
                while not (fork.outcome or reached()):
                    pass
                self.restart(signal.SIGKILL)
            for file in "/mem/lines", "/root/lines":
                self.check_goes_on(self.more_lines(parent, count, file))
            # A child that was whole may have been kept; a half made one is gone.
            until("nothing half made is left", lambda: not self.client.want(200, "GET", "/sandboxes?status=creating")["items"])
            for item in self.client.want(200, "GET", "/sandboxes")["items"]:
                if item["id"] != parent and item["status"] == "running":
                    self.check_goes_on(self.more_lines(item["id"], 0))
                    self.client.call("DELETE", f"/sandboxes/{item['id']}")
            count = len(self.lines(parent))
        child, = self.fork(parent)
        self.sh(child, "echo 3 > /proc/sys/vm/drop_caches")
        self.check_goes_on(self.more_lines(child, count, "/root/lines"))
        self.pause(parent)
        self.resume(parent)
        self.check_goes_on(self.more_lines(parent, count, "/root/lines"))

    def test_the_command_line_forks_and_makes_templates(self):
        parent = self.client.create("warm")["id"]
        self.sh(parent, "echo kept > /root/mark")
        done = self.daemon.cli("fork", "--count", "2", parent)
        self.assertEqual(done.returncode, 0, done.stderr)
        children = done.stdout.split()
        self.assertEqual(len(children), 2)
        listed = self.daemon.cli("ps").stdout
        for child in children:
            self.assertIn(child, listed)
            self.assertEqual(self.daemon.cli("exec", child, "--", "cat", "/root/mark").stdout, "kept\n")
        self.assertIn("fork", listed)
        done = self.daemon.cli("snapshot", parent, "made")
        self.assertEqual((done.returncode, done.stdout), (0, "made\n"), done.stderr)
        self.addCleanup(self.client.call, "DELETE", "/templates/made")
        made = self.daemon.cli("create", "made").stdout.strip()
        self.assertEqual(self.daemon.cli("exec", made, "--", "cat", "/root/mark").stdout, "kept\n")
        self.daemon.settle()


class Snapshots(Forked):
    def snapshot(self, sandbox, name):
        made = self.client.want(201, "POST", f"/sandboxes/{sandbox}/snapshot", {"name": name})
        self.addCleanup(lambda: (self.daemon.remove_everything(), self.client.call("DELETE", f"/templates/{name}")))
        return made

    def test_sandboxes_from_a_snapshot_begin_where_it_was_taken(self):
        for template in "warm", "cold":
            with self.subTest(template):
                origin = self.with_witness(template, env={"WHO": "origin"})
                made = self.snapshot(origin, f"from-{template}")
                self.assertEqual((made["status"], made["snapshot"]["status"], made["parent"]), ("ready", "ready", template))
                copies = [self.client.create(f"from-{template}", env={"WHO": "copy"}) for _ in range(3)]
                self.assertEqual([copy["boot_path"] for copy in copies], ["snapshot"] * 3)
                self.assertEqual(self.sh(copies[0]["id"], "echo $WHO"), "copy\n")
                self.check_family(origin, [copy["id"] for copy in copies])
                self.check_family(origin, [copy["id"] for copy in copies], "/root/lines")
                for copy in copies:
                    self.check_clock(copy["id"])
                child, = self.fork(copies[0]["id"])
                self.check_goes_on(self.more_lines(child, 0, "/root/lines"))
                self.pause(child)
                self.resume(child)
                self.check_goes_on(self.more_lines(child, 0, "/root/lines"))
                self.daemon.remove_everything()

    def test_another_size_boots_cold_from_the_snapshots_disk(self):
        origin = self.client.create("warm")["id"]
        self.sh(origin, "echo kept > /root/mark; sync")
        self.snapshot(origin, "sized")
        other = {**SMALL, "memory_mb": 192}
        copy = self.client.create("sized", resources=other)
        self.assertEqual(copy["boot_path"], "cold")
        self.assertEqual(self.sh(copy["id"], "cat /root/mark"), "kept\n")
        for way in "snapshot", "pool":
            answer = self.client.call("POST", "/sandboxes", {"template": "sized", "resources": other, "boot": way})
            self.problem(answer, 409, "boot_path_unavailable")

    def test_a_snapshot_outlives_sandbox_and_template(self):
        self.client.ready("mortal", self.image("library/busybox:latest"), resources=SMALL, snapshot=True)
        origin = self.with_witness("mortal")
        self.snapshot(origin, "heir")
        self.client.call("DELETE", f"/sandboxes/{origin}")
        self.client.call("DELETE", "/templates/mortal")
        copy = self.client.create("heir")
        self.assertEqual(copy["boot_path"], "snapshot")
        self.check_goes_on(self.more_lines(copy["id"], 100, "/root/lines"))

    def test_a_taken_name_is_refused(self):
        origin = self.client.create("warm")["id"]
        self.problem(self.client.call("POST", f"/sandboxes/{origin}/snapshot", {"name": "cold"}), 409, "conflict")
        self.problem(self.client.call("POST", f"/sandboxes/{origin}/snapshot", {"name": "Not A Name"}), 422, "invalid_value")
        self.assertEqual(self.sh(origin, "echo well"), "well\n")

    def test_a_damaged_snapshot_is_never_restored(self):
        origin = self.client.create("warm")["id"]
        self.sh(origin, "echo kept > /root/mark; sync")
        self.snapshot(origin, "damaged")
        memory = max((self.daemon.seen_data() / "snapshots/templates").glob("own-*/*/mem"), key=os.path.getmtime)
        with open(memory, "r+b") as file:
            file.seek(1 << 20)
            byte = file.read(1)
            file.seek(1 << 20)
            file.write(bytes([byte[0] ^ 1]))
        self.restart(signal.SIGTERM)  # what is whole is looked at once in a daemon's life
        answer = self.client.call("POST", "/sandboxes", {"template": "damaged", "boot": "snapshot"})
        self.problem(answer, 409, "boot_path_unavailable")
        copy = self.client.create("damaged")
        self.assertEqual(copy["boot_path"], "cold")
        self.assertEqual(self.sh(copy["id"], "cat /root/mark"), "kept\n")


class Hosts(OwnDaemon, Copies):
    @unittest.skipUnless(os.geteuid() == 0, "mounting a tmpfs needs root")
    def test_no_room_is_told_before_the_parent_stops(self):
        daemon = self.with_small("rootfs", 130, "disk_overcommit = 10\n")
        parent = self.client.create("cold")["id"]  # five of 256 MiB have room
        answer = self.client.call("POST", f"/sandboxes/{parent}/fork", {"count": 5})
        self.assertEqual((answer.status, answer.json["code"]), (503, "no_capacity"), answer)
        self.assertEqual(self.client.want(200, "GET", "/pipelines/runs?kind=fork")["items"], [])
        self.assertEqual(len(self.fork(parent, 4)), 4)
        daemon.settle()

    @unittest.skipUnless(os.geteuid() == 0, "mounting a tmpfs needs root")
    def test_a_full_disk_leaves_the_parent_running(self):
        daemon = self.with_small("snapshots", 32)
        parent = self.with_witness("cold")
        self.sh(parent, "head -c 40000000 /dev/urandom > /mem/content")
        for what, body in (("fork", {"count": 2}), ("snapshot", {"name": "full"})):
            count = len(self.lines(parent))
            answer = self.client.call("POST", f"/sandboxes/{parent}/{what}", body)
            self.assertIn((answer.status, answer.json["code"]), ((503, "disk_full"), (503, "host_disk_full")), answer)
            self.check_goes_on(self.more_lines(parent, count))
            self.check_goes_on(self.more_lines(parent, count, "/root/lines"))
            self.assertEqual(files_below(daemon.seen_data() / "snapshots"), [])
        daemon.settle()

    def test_owners_share_no_snapshot(self):
        daemon = self.daemon('[auth]\nkeys = ["alice:alice-alice-alice", "bobby:bobby-bobby-bobby"]\n', key="alice-alice-alice")
        clients = [Client(daemon.client.address, key) for key in ("alice-alice-alice", "bobby-bobby-bobby")]
        for client in clients:
            client.ready("warm", self.busybox, resources=SMALL, snapshot=True)
        self.assertEqual(len(list((daemon.data / "snapshots/templates").iterdir())), 2)
        alice, bobby = clients
        parent = alice.create("warm")["id"]
        child = alice.want(201, "POST", f"/sandboxes/{parent}/fork", {})["items"][0]["id"]
        self.assertEqual(bobby.call("GET", f"/sandboxes/{child}").status, 404)
        self.assertEqual(bobby.call("POST", f"/sandboxes/{parent}/fork", {}).status, 404)
        self.assertEqual(alice.call("DELETE", f"/sandboxes/{child}").status, 204)


if __name__ == "__main__":
    unittest.main()
