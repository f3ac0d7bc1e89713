"""A machine in namespaces: a Debian root with systemd as its first process, and network, cgroups, mounts of its own."""
import os
import pathlib
import signal
import subprocess
import time

import roots

ENVIRONMENT = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"]
MOUNTS = [line.split() for line in pathlib.Path("/proc/mounts").read_text().splitlines()]
CGROUPS = next(mount[1] for mount in MOUNTS if mount[2] == "cgroup2")


def until(what: str, condition, timeout=60.0):
    end = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"after {timeout} s still not: {what}")
        time.sleep(0.2)
    return value


def fetch_packages(root: pathlib.Path, deb: str):
    """Puts what `deb`, a path in the root, depends on into apt's cache there, which is kept for later runs."""
    debs = roots.CACHE / "debs"
    (debs / "partial").mkdir(parents=True, exist_ok=True)
    (root / "etc/resolv.conf").write_bytes(pathlib.Path("/etc/resolv.conf").read_bytes())
    script = f"""mount --make-rprivate / && mount --bind {debs} {root}/var/cache/apt/archives && chroot {root} sh -c '
        apt-get -q update && apt-get -q -y --no-install-recommends --download-only install {deb}' &&
        cp {debs}/*.deb {root}/host-debs/"""
    (root / "host-debs").mkdir()
    subprocess.run([*ENVIRONMENT, "unshare", "--mount", "bash", "-c", script], check=True, stdout=subprocess.DEVNULL)
    archives = root / "var/cache/apt/archives"
    for package in (root / "host-debs").iterdir():
        package.rename(archives / package.name)
    (root / "host-debs").rmdir()


class Machine:
    def __init__(self, root: pathlib.Path):
        self.cgroup = pathlib.Path(CGROUPS) / f"nanobox-machine-{os.getpid()}"
        self.cgroup.mkdir()
        self.process = subprocess.Popen(
            ["bash", "-c", f"echo $$ > {self.cgroup}/cgroup.procs && exec \"$@\"", "-",
             "unshare", "--pid", "--fork", "--kill-child", "--net", "--uts", "--ipc", "--cgroup", "--mount",
             str(roots.HERE / "enter_root.sh"), str(root), "/sbin/init"])
        self.init = until("the machine has a first process", self.first_process)
        until("systemd is up", lambda: self.run("systemctl is-system-running", check=False).stdout in (
            "running\n", "degraded\n"))

    def first_process(self):
        """The process number, here, of the machine's init once that is systemd."""
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        found = [int(pid) for pid in children if pathlib.Path(f"/proc/{pid}/comm").read_text() == "systemd\n"]
        return found[0] if found else None

    def run(self, script: str, check=True, timeout=300):
        done = subprocess.run(["nsenter", "--target", str(self.init), "--all", *ENVIRONMENT, "bash", "-c", script],
                              capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL)
        if check and done.returncode != 0:
            raise AssertionError(f"{script}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def says(self, script: str) -> str:
        return self.run(script).stdout

    def end(self):
        if self.init:
            os.kill(self.init, signal.SIGKILL)  # and with it all that is in its process namespace
        self.process.wait(60)
        for folder, _, _ in os.walk(self.cgroup, topdown=False):
            os.rmdir(folder)
