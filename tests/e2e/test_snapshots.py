"""A template's snapshot: how it is made, what comes of it, and what must never come of a broken one."""
import collections
import concurrent.futures
import contextlib
import hashlib
import json
import os
import pathlib
import signal
import time
import unittest

from harness import KERNEL, Case, until
from leaks import idle_leaks, machines

PARTS = ("state", "mem", "disk.qcow2")
SMALL = {"vcpu": 1, "memory_mb": 128, "disk_mb": 128}
CLONES = int(os.environ.get("NANOBOX_E2E_CLONES", "20"))


class SnapshotCase(Case):
    flags = plain_flags = ("--api.drain_sec=1",)

    def warm(self, name="busybox", **more):
        return self.client.ready(name, self.image("library/busybox:latest"), snapshot=True,
                                 **{"resources": SMALL, **more})

    def prime(self, script, **more):
        return {"command": "/bin/sh", "args": ["-c", script], **more}

    def template(self, name="busybox"):
        return self.client.want(200, "GET", f"/templates/{name}")

    def folders(self):
        """The folders of all templates' snapshots."""
        def look():
            with contextlib.suppress(FileNotFoundError):  # one is just being removed
                return [sorted((self.daemon.data / "snapshots/templates").glob("*/*-*"))]
        return until("the folders are read", look)[0]

    def sh(self, sandbox, script):
        outcome = self.client.exec(sandbox, "sh", "-c", script)
        self.assertEqual(outcome["exit_code"], 0, outcome)
        return outcome["stdout"]

    def from_snapshot(self, template="busybox", **more):
        sandbox = self.client.create(template, boot="snapshot", **more)
        self.assertEqual(sandbox["boot_path"], "snapshot")
        return sandbox["id"]

    def clones(self, count, use, template="busybox", at_once=4):
        """`use` of each of that many sandboxes from the snapshot, which are deleted afterwards."""
        def one(_):
            sandbox = self.from_snapshot(template)
            try:
                return use(sandbox)
            finally:
                self.client.call("DELETE", f"/sandboxes/{sandbox}")
        with concurrent.futures.ThreadPoolExecutor(at_once) as workers:
            return list(workers.map(one, range(count)))

    def restart(self, *flags, number=signal.SIGTERM):
        self.daemon.child.end(number)
        self.daemon.flags = [*self.plain_flags, *flags]
        self.daemon.start()
        self.client = self.daemon.client

    def restart_for_this_test(self, *flags):
        self.addCleanup(self.restart)
        self.restart(*flags)

    def forget_templates(self):
        for item in self.client.want(200, "GET", "/templates")["items"]:
            self.client.call("DELETE", f"/templates/{item['name']}?force=1")

    def look_for_leaks(self):
        super().look_for_leaks()
        self.forget_templates()
        until("no snapshot stays without its template", lambda: not self.folders() or None, 10)


class Making(SnapshotCase):
    def test_it_is_made_by_default_and_says_so(self):
        answer = self.client.call("POST", "/templates/warmup", {"name": "plain", "image": self.image("library/busybox:latest")})
        self.assertEqual(answer.status, 202, answer)
        status = self.client.settled("plain")
        self.assertEqual(status["stages"][-1]["name"], "snapshot")
        self.assertEqual(status["stages"][-1]["status"], "succeeded")
        self.assertEqual(self.template("plain")["snapshot"], {"status": "ready", "error": None})
        self.assertEqual(self.client.create("plain")["boot_path"], "snapshot")

    def test_a_disk_that_is_too_small_for_the_root_becomes_as_large(self):
        image = self.image("library/busybox:latest")
        for snapshot in True, False:
            self.client.ready("busybox", image, snapshot=snapshot, resources={**SMALL, "disk_mb": 1})
            again = self.client.call("POST", "/templates/warmup", {"name": "busybox", "image": image, "snapshot": snapshot,
                                                                   "resources": {**SMALL, "disk_mb": 1}})
            self.assertEqual(again.status, 200, "there is nothing to do")
            sandbox = self.client.create("busybox")
            self.assertEqual(sandbox["boot_path"], "snapshot" if snapshot else "cold")
            self.assertEqual(sandbox["resources"]["disk_mb"], self.template()["resources"]["disk_mb"])

    def test_without_it_a_template_is_ready_and_boots_cold(self):
        self.client.ready("busybox", self.image("library/busybox:latest"), snapshot=False)
        self.assertEqual(self.template()["snapshot"]["status"], "none")
        self.assertEqual(self.folders(), [])
        self.assertEqual(self.client.create("busybox")["boot_path"], "cold")
        self.problem(self.client.call("POST", "/sandboxes", {"template": "busybox", "boot": "snapshot"}), 409,
                     "boot_path_unavailable")

    def test_one_of_the_same_key_is_used_again(self):
        self.warm()
        before = [path.stat().st_ino for path in self.folders()]
        self.warm("second")
        self.assertEqual([path.stat().st_ino for path in self.folders()], before)
        self.from_snapshot("second")
        self.client.want(204, "DELETE", "/templates/busybox")
        self.from_snapshot("second")

    def test_another_prime_or_another_size_makes_another(self):
        self.warm(prime=self.prime("echo one > /root/mark"))
        one = self.folders()
        self.warm(prime=self.prime("echo two > /root/mark"))
        self.assertNotEqual(self.folders(), one)
        self.assertEqual(len(self.folders()), 1, "the old version's goes when nobody stands on it")
        self.assertEqual(self.sh(self.from_snapshot(), "cat /root/mark"), "two\n")

    def test_force_makes_it_anew_and_leaves_those_on_the_old_one_alone(self):
        self.warm(prime=self.prime("cat /proc/sys/kernel/random/uuid > /root/mark"))
        old = self.from_snapshot()
        mark = self.sh(old, "cat /root/mark; echo mine > /root/mine")
        until("VMMs wait with the old memory", lambda: [id for id in machines(self.daemon.data) if id.startswith("st-")])
        self.warm(prime=self.prime("cat /proc/sys/kernel/random/uuid > /root/mark"), force=True)
        marks = {self.sh(self.from_snapshot(), "echo 3 > /proc/sys/vm/drop_caches; cat /root/mark") for _ in range(4)}
        self.assertEqual(len(marks), 1)
        self.assertNotIn(mark, marks)
        self.client.want(200, "POST", f"/sandboxes/{old}/pause")
        self.client.want(200, "POST", f"/sandboxes/{old}/resume")
        self.assertEqual(self.sh(old, "echo 3 > /proc/sys/vm/drop_caches; cat /root/mark /root/mine"), mark + "mine\n")

    def test_a_deleted_template_that_is_made_again_has_a_snapshot(self):
        self.warm()
        self.client.want(204, "DELETE", "/templates/busybox")
        self.assertEqual(self.folders(), [])
        self.warm()
        self.from_snapshot()

    def test_a_deleted_template_keeps_its_snapshot_until_its_last_sandbox_is_gone(self):
        self.warm()
        sandbox = self.from_snapshot()
        self.problem(self.client.call("DELETE", "/templates/busybox"), 409, "template_in_use")
        self.client.want(204, "DELETE", "/templates/busybox?force=1")
        self.assertEqual(len(self.folders()), 1)
        self.client.want(200, "POST", f"/sandboxes/{sandbox}/pause")
        self.client.want(200, "POST", f"/sandboxes/{sandbox}/resume")
        self.sh(sandbox, "true")
        self.client.want(204, "DELETE", f"/sandboxes/{sandbox}")
        until("the snapshot is gone", lambda: not self.folders() or None)

    def test_a_failing_snapshot_leaves_the_template_ready_and_says_why(self):
        kernel = self.folder / "no-kernel"
        kernel.write_bytes(b"\x7fELF" + bytes(4096))
        self.restart_for_this_test(f"--firecracker.kernel={kernel}")
        status = self.client.ready("busybox", self.image("library/busybox:latest"), snapshot=True, resources=SMALL)
        self.assertIsNone(status["error"])
        snapshot = self.template()["snapshot"]
        self.assertEqual(snapshot["status"], "failed")
        self.assertTrue(snapshot["error"]["code"])
        self.assertEqual(self.folders(), [])
        self.restart()
        self.warm()
        self.assertEqual(self.template()["snapshot"]["status"], "ready", "the next warmup tries again")

    def test_snapshots_are_counted(self):
        self.assertEqual(self.client.want(200, "GET", "/stats")["snapshot_bytes"], 0)
        self.warm()
        allocated = sum(path.stat().st_blocks * 512 for folder in self.folders() for path in folder.iterdir())
        self.assertEqual(self.client.want(200, "GET", "/stats")["snapshot_bytes"], allocated)
        self.assertGreater(allocated, 1 << 20)


class Primes(SnapshotCase):
    def test_what_it_did_is_in_every_sandbox(self):
        self.warm(prime=self.prime("echo done > /root/mark; mkdir -p /mnt; mount -t tmpfs none /mnt; echo kept > /mnt/mark"))
        self.assertEqual(self.sh(self.from_snapshot(), "cat /root/mark /mnt/mark"), "done\nkept\n")

    def test_one_that_fails_fails_the_warmup_with_its_last_output(self):
        status = self.client.warm_up("busybox", self.image("library/busybox:latest"), snapshot=True, resources=SMALL,
                                     prime=self.prime("echo told; echo complaint >&2; exit 3"))
        self.assertEqual(status["status"], "failed", status)
        for text in "code 3", "told", "complaint":
            self.assertIn(text, status["error"]["detail"])
        self.assertEqual(self.folders(), [])
        until("its VM is gone", lambda: not idle_leaks(self.daemon) or None)
        self.assertEqual(self.template()["snapshot"]["status"], "none")
        roots = {path: path.stat().st_ino for path in (self.daemon.data / "oci-cache/rootfs").glob("*.ext4")}
        self.assertTrue(roots)
        self.client.ready("busybox", self.image("library/busybox:latest"), snapshot=False)
        for path, inode in roots.items():
            self.assertEqual(path.stat().st_ino, inode, "the root stayed cached")

    def test_one_that_cannot_be_started_is_told(self):
        status = self.client.warm_up("busybox", self.image("library/busybox:latest"), snapshot=True, resources=SMALL,
                                     prime={"command": "/no/such/program"})
        self.assertEqual(status["status"], "failed", status)
        self.assertIn("127", status["error"]["detail"])

    def test_one_in_the_background_goes_on_in_every_sandbox(self):
        loop = self.prime("n=0; while :; do n=$((n+1)); echo $n > /root/next; mv /root/next /root/count; sleep 0.1; done",
                          background=True, ready={"command": "test -e /root/count", "timeout_ms": 60000})
        self.warm(prime=loop)
        sandbox = self.from_snapshot()
        first = int(self.sh(sandbox, "cat /root/count"))
        until("it counts on", lambda: int(self.sh(sandbox, "cat /root/count")) > first)
        listed = self.client.want(200, "GET", f"/sandboxes/{sandbox}/processes")["items"]
        self.assertIn("prime", [process["process_id"] for process in listed])

    def test_one_in_the_background_is_ready_when_its_port_is(self):
        self.warm(prime=self.prime("mkdir /www; echo served > /www/page; sleep 1; exec httpd -f -p 8080 -h /www", background=True,
                                   ready={"port": 8080, "timeout_ms": 60000}))
        sandbox = self.from_snapshot()
        self.assertEqual(self.client.call("GET", f"/sandboxes/{sandbox}/ports/8080/page").body, b"served\n")

    def test_one_that_never_gets_ready_fails_the_warmup(self):
        status = self.client.warm_up("busybox", self.image("library/busybox:latest"), snapshot=True, resources=SMALL,
                                     prime=self.prime("echo trying; sleep 600", background=True,
                                                      ready={"command": "false", "timeout_ms": 1500}))
        self.assertEqual(status["status"], "failed", status)
        self.assertIn("1500 ms", status["error"]["detail"])
        self.assertEqual(self.folders(), [])


class Restoring(SnapshotCase):
    def test_a_sandbox_is_itself(self):
        self.warm()
        for name in "one", "two":
            sandbox = self.client.create("busybox", env={"WHO": name}, metadata={"k": name}, timeout_sec=77)
            self.assertEqual((sandbox["boot_path"], sandbox["metadata"], sandbox["env"]),
                             ("snapshot", {"k": name}, {"WHO": name}))
            self.assertGreaterEqual(sandbox["state_age_ms"], 0)
            out = self.sh(sandbox["id"], "hostname; echo $WHO; cat /etc/hostname")
            self.assertEqual(out, f"{sandbox['id']}\n{name}\n{sandbox['id']}\n")

    def test_the_clock_is_right(self):
        self.warm()
        sandbox = self.from_snapshot()
        before = time.time()
        guests = int(self.sh(sandbox, "date +%s"))
        self.assertTrue(int(before) - 1 <= guests <= time.time() + 1, (before, guests))

    def test_each_way_to_boot(self):
        self.warm()
        paths = {way: self.client.create("busybox", boot=way)["boot_path"] for way in ("auto", "snapshot", "cold")}
        self.assertEqual(paths, {"auto": "snapshot", "snapshot": "snapshot", "cold": "cold"})
        self.problem(self.client.call("POST", "/sandboxes", {"template": "busybox", "boot": "pool"}), 409,
                     "boot_path_unavailable")
        self.assertEqual(self.client.call("POST", "/sandboxes", {"template": "busybox", "boot": "warm"}).status, 422)

    def test_another_size_boots_cold(self):
        self.warm()
        for more in {"memory_mb": 192}, {"vcpu": 2}, {"memory_mb": 192, "vcpu": 2, "disk_mb": 256}:
            with self.subTest(more):
                wanted = {**SMALL, **more}
                self.problem(self.client.call("POST", "/sandboxes", {"template": "busybox", "resources": wanted,
                                                                     "boot": "snapshot"}), 409, "boot_path_unavailable")
                sandbox = self.client.create("busybox", resources=wanted)
                self.assertEqual((sandbox["boot_path"], sandbox["resources"]), ("cold", wanted))
                self.assertEqual(int(self.sh(sandbox["id"], "nproc")), wanted["vcpu"])

    def test_another_size_leaves_a_snapshot_behind_and_only_so_many_stay(self):
        self.warm(prime=self.prime("echo primed > /root/mark"))
        [own] = self.folders()

        def comes_from_snapshot(memory_mb):
            sandbox = self.client.create("busybox", resources={**SMALL, "memory_mb": memory_mb})
            mark = self.client.exec(sandbox["id"], "cat", "/root/mark")["stdout"]
            self.client.want(204, "DELETE", f"/sandboxes/{sandbox['id']}")
            self.assertEqual(mark, "primed\n" if sandbox["boot_path"] == "snapshot" else "")
            return sandbox["boot_path"] == "snapshot"
        for memory_mb in 144, 160, 176, 192, 208:
            self.assertFalse(comes_from_snapshot(memory_mb))
            until("the size has a snapshot", lambda: comes_from_snapshot(memory_mb))
            self.assertLessEqual(len(self.folders()), 4)
        self.assertIn(own, self.folders())
        self.assertEqual({path.name for path in self.folders()}, {"1-128", "1-176", "1-192", "1-208"})
        self.from_snapshot()

    def test_a_larger_disk_grows_while_the_guest_runs(self):
        self.warm()
        sandbox = self.client.create("busybox", resources={**SMALL, "disk_mb": 300}, boot="snapshot")
        self.assertEqual(sandbox["boot_path"], "snapshot")
        size_kib = int(self.sh(sandbox["id"], "df -k / | tail -1 | awk '{print $(NF-4)}'"))
        self.assertGreater(size_kib, 250 << 10)
        self.sh(sandbox["id"], "head -c 150000000 /dev/zero > /root/large && sync && rm /root/large")

    def test_a_disk_smaller_than_the_root_is_refused(self):
        self.warm()
        for way in "auto", "snapshot":
            answer = self.client.call("POST", "/sandboxes", {"template": "busybox", "resources": {**SMALL, "disk_mb": 1},
                                                             "boot": way})
            self.assertEqual(answer.status, 422, answer)
            self.assertEqual(answer.json["errors"][0]["pointer"], "/resources/disk_mb")

    def test_a_template_of_two_vcpus(self):
        self.warm(resources={**SMALL, "vcpu": 2})
        sandbox = self.from_snapshot()
        self.assertEqual(self.sh(sandbox, "nproc"), "2\n")
        self.assertEqual(self.sh(sandbox, "(echo a & echo b & wait) | sort"), "a\nb\n")

    def test_a_killed_vm_is_failed_and_the_next_comes_from_the_snapshot(self):
        self.warm()
        sandbox = self.from_snapshot()
        os.kill(self.daemon.vmm(sandbox), signal.SIGKILL)
        until("it is failed", lambda: self.client.want(200, "GET", f"/sandboxes/{sandbox}")["status"] == "failed")
        self.from_snapshot()

    def test_a_killed_vmm_of_the_stock_is_not_noticed(self):
        self.warm()
        self.from_snapshot()

        def stock():
            return [machine["pid"] for id, machine in machines(self.daemon.data).items() if id.startswith("st-")]
        for _ in range(3):
            for pid in until("VMMs are in stock", stock):
                os.kill(pid, signal.SIGKILL)
            self.assertEqual(self.client.create("busybox")["boot_path"], "snapshot")

    def test_sandboxes_from_it_outlive_the_daemon(self):
        self.warm()
        sandbox = self.from_snapshot()
        for number in signal.SIGTERM, signal.SIGKILL:
            self.restart(number=number)
            until("it is adopted", lambda: self.client.want(200, "GET", f"/sandboxes/{sandbox}")["status"] == "running")
            self.sh(sandbox, "true")
            self.from_snapshot()


class Clones(SnapshotCase):
    def test_files_of_the_prime_are_whole_in_every_clone(self):
        self.warm(prime=self.prime("cd /root && head -c 8388608 /dev/urandom > synced && sync && "
                                   "head -c 8388608 /dev/urandom > unsynced && md5sum synced unsynced > sums"))
        sums = self.clones(CLONES, lambda sandbox: self.sh(
            sandbox, "cd /root && cat sums && md5sum -c -s sums && sync && echo 3 > /proc/sys/vm/drop_caches && md5sum -c -s sums"))
        self.assertEqual(len(set(sums)), 1)

    def test_the_templates_files_stay_as_they_are_whatever_clones_write(self):
        self.warm(prime=self.prime("head -c 8000000 /dev/urandom > /root/file"))
        [folder] = self.folders()

        def digests():
            return {part: hashlib.sha256((folder / part).read_bytes()).hexdigest() for part in PARTS}
        before = digests()
        self.clones(CLONES, lambda sandbox: self.sh(
            sandbox, "mkdir -p /mnt; mount -t tmpfs none /mnt; head -c 40000000 /dev/urandom > /mnt/all; "
                     "head -c 12000000 /dev/urandom > /root/file; head -c 12000000 /dev/urandom > /root/more; sync"))
        self.assertEqual(digests(), before)

    def test_no_two_have_the_same_random_numbers(self):
        """A loop over the kernel's generator runs on in each clone: what it reads once the clone has its name is its own.
        One with a generator of its own goes on equally in all: docs/fork.md says so."""
        own = 'BEGIN{srand(7); while(1){f="/proc/sys/kernel/hostname"; getline h < f; close(f); print h, rand(); fflush(); ' \
              'system("sleep 0.1")}}'
        self.warm(prime=self.prime(
            f"awk '{own}' > /root/own & while :; do read h < /proc/sys/kernel/hostname; "
            "echo $h $(head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \\n') >> /root/kernels; done", background=True,
            ready={"command": "test -s /root/own && test -s /root/kernels", "timeout_ms": 60000}))

        def look(sandbox):
            mine = self.sh(sandbox, "head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \\n'")
            self.assertEqual(len(mine), 64)
            lines = until("both loops went on", lambda: (
                lambda found: found if found["own"] and found["kernels"] else None)({
                    name: [line.split()[1] for line in self.sh(sandbox, f"cat /root/{name}").splitlines()
                           if line.startswith(sandbox) and len(line.split()) == 2] for name in ("own", "kernels")}))
            return mine, lines["own"][0], [line for line in lines["kernels"] if len(line) == 64]
        seen = self.clones(30, look)
        self.assertEqual(len({mine for mine, _, _ in seen}), 30)
        self.assertEqual(len({own for _, own, _ in seen}), 1)
        counted = collections.Counter(value for _, _, kernels in seen for value in kernels)
        self.assertGreaterEqual(len(counted), 30)
        self.assertEqual([value for value, count in counted.items() if count > 1], [])

    def test_they_share_the_templates_pages(self):
        self.warm(prime=self.prime("head -c 30000000 /dev/urandom > /root/file; cat /root/file > /dev/null"))
        sandboxes = [self.from_snapshot() for _ in range(4)]
        for sandbox in sandboxes:
            self.sh(sandbox, "cat /root/file > /dev/null")
            rollup = pathlib.Path(f"/proc/{self.daemon.vmm(sandbox)}/smaps_rollup").read_text()
            sizes = {line.split(":")[0]: int(line.split()[1]) for line in rollup.splitlines()[1:]}
            print(f"    PSS {sizes['Pss']} kB of RSS {sizes['Rss']} kB, own {sizes['Private_Dirty']} kB")
            self.assertLess(sizes["Pss"], 0.75 * sizes["Rss"], rollup)
        maps = pathlib.Path(f"/proc/{self.daemon.vmm(sandboxes[0])}/maps").read_text().splitlines()
        self.assertEqual([line for line in maps if " rw-s " in line and line.endswith("/mem")], [])


class BrokenSnapshots(SnapshotCase):
    def never_restored(self):
        self.problem(self.client.call("POST", "/sandboxes", {"template": "busybox", "boot": "snapshot"}), 409,
                     "boot_path_unavailable")
        sandbox = self.client.create("busybox")
        self.assertEqual(sandbox["boot_path"], "cold")
        self.sh(sandbox["id"], "true")
        self.client.want(204, "DELETE", f"/sandboxes/{sandbox['id']}")

    def breaks(self, how):
        """Every part is broken so, once between two daemons and once beside a running one; the next warmup mends it."""
        for part in (*PARTS, "manifest.json"):
            for restarts in True, False:
                with self.subTest(part, restarts=restarts):
                    self.warm()
                    if not restarts:
                        self.from_snapshot()
                        self.daemon.remove_everything()
                    until("the one before is gone", lambda: len(self.folders()) == 1)
                    [folder] = self.folders()
                    how(folder / part)
                    if restarts:
                        self.restart()
                    self.never_restored()
        self.warm()
        self.from_snapshot()

    def test_a_truncated_part(self):
        self.breaks(lambda path: os.truncate(path, path.stat().st_size // 2))

    def test_a_missing_part(self):
        self.breaks(lambda path: path.unlink())

    def test_a_flipped_bit(self):
        def flip(path):
            with open(path, "r+b") as file:
                file.seek(path.stat().st_size // 3)
                byte = file.read(1)[0]
                file.seek(-1, os.SEEK_CUR)
                file.write(bytes([byte ^ 4]))
        self.breaks(flip)

    def test_one_of_another_kernel_or_init_or_command_line(self):
        kernel, init = self.folder / "vmlinux", self.folder / "init"
        kernel.write_bytes(pathlib.Path(KERNEL).read_bytes() + b"\n")
        for flag in (f"--firecracker.kernel={kernel}", "--firecracker.boot_args=console=ttyS0 panic=1 init=/sbin/nanobox-init"):
            with self.subTest(flag):
                self.restart()
                self.warm()
                self.restart(flag)
                self.never_restored()
                self.warm()
                self.from_snapshot()
        self.restart()

    def test_the_limit_takes_the_least_recently_used(self):
        keep = self.prime("head -c 20000000 /dev/urandom > /root/keep; echo {}; sync")
        self.warm("a", prime={**keep, "args": [each.format("a") for each in keep["args"]]})
        one_mb = self.client.want(200, "GET", "/stats")["snapshot_bytes"] >> 20
        self.assertGreater(one_mb, 20)
        self.restart_for_this_test(f"--agent.snapshot_max_mb={one_mb * 7 // 2}")  # three of them

        def use(name):
            sandbox = self.client.create(name)
            self.client.want(204, "DELETE", f"/sandboxes/{sandbox['id']}")
            return sandbox["boot_path"]
        for name in "abcd":
            self.warm(name, prime={**keep, "args": [each.format(name) for each in keep["args"]]})
            self.assertEqual(self.template(name)["snapshot"]["status"], "ready")
            if name == "a":
                held = self.from_snapshot("a")
            use(name)
            if name == "c":
                use("b")
        self.assertEqual({name: use(name) for name in "abcd"},
                         {"a": "snapshot", "b": "snapshot", "c": "cold", "d": "snapshot"})
        self.sh(held, "true")


class Interrupted(SnapshotCase):
    def warming(self, **more):
        self.client.want(202, "POST", "/templates/warmup", {"name": "busybox", "image": self.image("library/busybox:latest"),
                                                            "snapshot": True, "resources": SMALL, **more})

    def ends_clean(self, number):
        self.daemon.child.process.send_signal(number)
        self.assertEqual(self.daemon.child.process.wait(90), 0 if number == signal.SIGTERM else -number, self.daemon.tail())
        self.daemon.start()
        self.client = self.daemon.client
        until("nothing half-made is left", lambda: not idle_leaks(self.daemon) or None)
        self.assertEqual([path for path in self.folders() if not (path / "manifest.json").exists()], [])
        self.assertNotEqual(self.template()["snapshot"]["status"], "making")

    def test_while_its_vm_boots(self):
        for number in signal.SIGTERM, signal.SIGKILL:
            with self.subTest(number):
                self.warming(force=True)
                until("its VM boots", lambda: self.client.running_stages("boot"), step=0.005)
                self.ends_clean(number)
                self.warm()
                self.from_snapshot()
                self.daemon.remove_everything()

    def test_while_it_is_primed(self):
        for number in signal.SIGTERM, signal.SIGKILL:
            with self.subTest(number):
                self.warming(prime=self.prime("sleep 600"))
                until("its VM was booted", lambda: "snapshot" in self.client.running_stages("warmup") and [
                    run for run in self.client.want(200, "GET", "/pipelines/runs?kind=boot&status=succeeded")["items"]
                    if run["subject"].startswith("tp-")])
                self.ends_clean(number)
                self.client.call("DELETE", "/templates/busybox")

    def test_while_it_is_written(self):
        for number in signal.SIGTERM, signal.SIGKILL:
            with self.subTest(number):
                self.warming(force=True, resources={**SMALL, "memory_mb": 512},
                             prime=self.prime("head -c 150000000 /dev/urandom > /dev/null; mkdir -p /mnt; mount -t tmpfs none /mnt; "
                                              "head -c 150000000 /dev/zero | tr '\\0' x > /mnt/x"))
                until("it is being written", lambda: list((self.daemon.data / "snapshots/.tmp").glob("*/mem")),
                      timeout=120, step=0.002)
                self.ends_clean(number)
                self.client.call("DELETE", "/templates/busybox")


if __name__ == "__main__":
    unittest.main()
