"""Warm pools: kept filled, never too full, served to whoever asks for their size, and given back at the end."""
import concurrent.futures
import os
import pathlib
import signal
import unittest

from harness import Case, OwnDaemon, until
from leaks import machines
from stand_ins import odd_guest

SMALL = {"vcpu": 1, "memory_mb": 128, "disk_mb": 128}


def pool_config(least=3, most=4, **more):
    settings = "".join(f"{key} = {value}\n" for key, value in {"replenish_interval_sec": 1, **more}.items())
    return f'[pool]\n{settings}[[pool.templates]]\nname = "busybox"\nmin_ready = {least}\nmax_ready = {most}\n'


class Pool:
    """One daemon's pool of the template busybox."""

    def __init__(self, daemon, image):
        self.daemon, self.image = daemon, image

    def warm(self, **more):
        return self.daemon.client.ready("busybox", self.image, **{"snapshot": True, "resources": SMALL, **more})

    def stats(self):
        found = [pool for pool in self.daemon.client.want(200, "GET", "/stats")["pools"] if pool["template"] == "busybox"]
        return found[0] if found else {"ready": 0}

    def members(self):
        return {id: machine["pid"] for id, machine in machines(self.daemon.data).items() if id.startswith("pl-")}

    def filled(self, count=3, timeout=60):
        """The members, once so many are ready and no more are on their way."""
        def look():
            members = self.members()
            return members if self.stats()["ready"] == count and len(members) == count else None
        return until(f"{count} are ready", look, timeout)


class Pools(Case):
    config = pool_config()
    flags = ("--api.drain_sec=1",)

    def setUp(self):
        super().setUp()
        self.pool = Pool(self.daemon, self.image("library/busybox:latest"))

    def look_for_leaks(self):
        super().look_for_leaks()
        self.client.call("DELETE", "/templates/busybox?force=1")
        until("the pool is gone with its template", lambda: not self.pool.members() or None)

    def sh(self, sandbox, script):
        outcome = self.client.exec(sandbox, "sh", "-c", script)
        self.assertEqual(outcome["exit_code"], 0, outcome)
        return outcome["stdout"]

    def test_it_is_filled_and_topped_up(self):
        self.pool.warm()
        members = self.pool.filled()
        self.assertEqual(self.pool.stats(), {"template": "busybox", "ready": 3, "min_ready": 3, "max_ready": 4})
        self.assertEqual(self.client.want(200, "GET", "/sandboxes")["items"], [], "members are no sandboxes")
        sandbox = self.client.create("busybox")
        self.assertEqual(sandbox["boot_path"], "pool")
        taken = self.daemon.vmm(sandbox["id"])
        self.assertIn(taken, members.values())
        again = self.pool.filled()
        self.assertEqual(len(set(again) & set(members)), 2)

    def test_a_sandbox_from_it_is_what_was_asked_for(self):
        self.pool.warm()
        self.pool.filled()
        for name in "one", "two":
            sandbox = self.client.create("busybox", env={"WHO": name}, metadata={"k": name}, timeout_sec=77, boot="pool")
            self.assertEqual((sandbox["boot_path"], sandbox["status"], sandbox["metadata"]), ("pool", "running", {"k": name}))
            self.assertEqual(self.sh(sandbox["id"], "hostname; echo $WHO"), f"{sandbox['id']}\n{name}\n")
            self.assertEqual(self.client.want(200, "GET", f"/sandboxes/{sandbox['id']}")["metadata"], {"k": name})
        run = self.client.want(200, "GET", "/pipelines/runs?kind=boot&limit=1000")["items"]
        stages = [each for each in run if each["subject"] == sandbox["id"]][0]["stages"]
        self.assertEqual({stage["status"] for stage in stages[:-1]}, {"skipped"})
        self.assertEqual(stages[-1]["status"], "succeeded")

    def test_two_from_it_have_random_numbers_of_their_own(self):
        self.pool.warm()
        self.pool.filled()
        values = [self.sh(self.client.create("busybox", boot="pool")["id"], "head -c 32 /dev/urandom | md5sum") for _ in range(3)]
        self.assertEqual(len(set(values)), 3)

    def test_one_of_it_pauses_resumes_forks_and_outlives_the_daemon(self):
        self.pool.warm()
        self.pool.filled()
        sandbox = self.client.create("busybox", boot="pool")["id"]
        self.sh(sandbox, "echo kept > /root/mark")
        self.client.want(200, "POST", f"/sandboxes/{sandbox}/pause")
        self.client.want(200, "POST", f"/sandboxes/{sandbox}/resume")
        [child] = self.client.want(201, "POST", f"/sandboxes/{sandbox}/fork", {"count": 1})["items"]
        self.daemon.child.end(signal.SIGKILL)
        self.daemon.start()
        for each in sandbox, child["id"]:
            self.assertEqual(self.sh(each, "cat /root/mark"), "kept\n")

    def test_other_sizes_and_an_empty_pool_are_told(self):
        self.pool.warm()
        self.pool.filled()
        answer = self.client.call("POST", "/sandboxes", {"template": "busybox", "resources": {**SMALL, "memory_mb": 192},
                                                         "boot": "pool"})
        self.problem(answer, 409, "boot_path_unavailable")
        for way in "pool", "auto":
            answer = self.client.call("POST", "/sandboxes", {"template": "busybox", "resources": {**SMALL, "disk_mb": 1},
                                                             "boot": way})
            self.problem(answer, 422, "invalid_value")
        self.client.ready("other", self.pool.image, snapshot=False)
        self.problem(self.client.call("POST", "/sandboxes", {"template": "other", "boot": "pool"}), 409, "boot_path_unavailable")
        self.client.want(204, "DELETE", "/templates/other")

    def test_a_burst_falls_through(self):
        self.pool.warm(resources={**SMALL, "memory_mb": 64})
        self.pool.filled()
        with concurrent.futures.ThreadPoolExecutor(50) as workers:
            made = list(workers.map(lambda _: self.client.create("busybox"), range(50)))
        paths = [sandbox["boot_path"] for sandbox in made]
        self.assertGreaterEqual(paths.count("pool"), 3, paths)
        self.assertEqual(paths.count("pool") + paths.count("snapshot") + paths.count("cold"), 50)
        print(f"    {({path: paths.count(path) for path in set(paths)})}")
        self.assertEqual(len({sandbox["id"] for sandbox in made}), 50)
        for sandbox in made[::10]:
            self.assertEqual(self.sh(sandbox["id"], "hostname"), sandbox["id"] + "\n")
        self.daemon.remove_everything()
        self.assertLessEqual(len(self.pool.filled()), 4)

    def test_killed_and_stopped_members_are_replaced(self):
        self.pool.warm()
        for number in signal.SIGKILL, signal.SIGSTOP:
            with self.subTest(number):
                [first, *_] = self.pool.filled().items()
                os.kill(first[1], number)
                until("it was thrown away", lambda: first[0] not in self.pool.members(), 60)
                self.pool.filled()
                self.assertFalse(pathlib.Path(f"/proc/{first[1]}").exists())

    def test_a_dead_pool_serves_nobody_a_dead_vm(self):
        self.pool.warm()
        for pid in self.pool.filled().values():
            os.kill(pid, signal.SIGKILL)
        self.sh(self.client.create("busybox")["id"], "true")

    def test_a_new_version_replaces_the_members(self):
        for version in "one", "two":
            self.pool.warm(prime={"command": "/bin/sh", "args": ["-c", f"echo {version} > /root/version"]})
            # At once, and when the pool has settled.
            for _ in range(2):
                self.assertEqual(self.sh(self.client.create("busybox")["id"], "cat /root/version"), f"{version}\n")
                self.pool.filled()

    def test_a_pool_of_a_template_without_snapshot_boots_cold(self):
        self.pool.warm(snapshot=False)
        self.pool.filled()
        sandbox = self.client.create("busybox")
        self.assertEqual(sandbox["boot_path"], "pool")
        self.assertEqual(self.sh(sandbox["id"], "hostname"), sandbox["id"] + "\n")

    def test_all_are_ended_with_the_daemon(self):
        for number in signal.SIGTERM, signal.SIGKILL:
            with self.subTest(number):
                self.pool.warm()
                old = self.pool.filled()
                self.daemon.child.end(number)
                if number == signal.SIGTERM:
                    self.assertEqual(machines(self.daemon.data), {})
                self.daemon.start()
                until("the old ones are gone", lambda: not any(pathlib.Path(f"/proc/{pid}").exists() for pid in old.values()))
                self.assertEqual(set(self.pool.filled()) & set(old), set())


class OddPools(OwnDaemon):
    def pool(self, config, **more):
        return Pool(self.daemon(config, **more), self.busybox)

    def test_one_that_waited_too_long_is_replaced(self):
        pool = self.pool(pool_config(1, 1, max_idle_sec=3))
        pool.warm()
        first = pool.filled(1)
        until("another took its place", lambda: (lambda now: now and not set(now) & set(first))(pool.members()), 60)
        pool.filled(1)

    def test_the_memory_budget_holds(self):
        pool = self.pool(pool_config(5, 9, memory_max_mb=300))
        pool.warm()
        pool.filled(2)
        made = [pool.daemon.client.create("busybox") for _ in range(3)]
        self.assertEqual(made[0]["boot_path"], "pool")
        pool.filled(2)

    def test_never_more_than_max_ready(self):
        pool = self.pool(pool_config(2, 2))
        pool.warm()
        pool.filled(2)
        for _ in range(4):
            pool.daemon.client.create("busybox")
            self.assertLessEqual(pool.stats()["ready"], 2)
        pool.filled(2)

    def test_failing_refills_come_ever_later(self):
        daemon = self.daemon(pool_config(1, 1), flags=[f"--oci.init_binary={odd_guest(self.folder, 'PANICS')}"])
        pool = Pool(daemon, self.busybox)
        pool.warm(snapshot=False)

        def runs():
            found = daemon.client.want(200, "GET", "/pipelines/runs?kind=boot&status=failed&limit=1000")["items"]
            found = sorted((run for run in found if run["subject"].startswith("pl-")), key=lambda run: run["started_at"])
            return found if len(found) >= 4 else None
        found = until("it was tried four times", runs, 120)
        gaps = [self.seconds(after["started_at"]) - self.seconds(before["ended_at"]) for before, after in zip(found, found[1:])]
        print(f"    {gaps}")
        self.assertEqual(gaps, sorted(gaps))
        self.assertEqual(pool.stats()["ready"], 0)

    @staticmethod
    def seconds(time):
        import datetime
        return datetime.datetime.fromisoformat(time.replace("Z", "+00:00")).timestamp()


if __name__ == "__main__":
    unittest.main()
