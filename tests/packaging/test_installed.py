"""The package's life on a clean Debian with systemd: installed, started, upgraded under a sandbox, removed, purged."""
import json
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

import roots
from machine import Machine, fetch_packages, until
from run_packaging import DEB

PAGE = pathlib.Path(__file__).resolve().parent.parent.parent / "docs/deployment.md"
INSTALL = "apt-get -q -y --no-install-recommends -o Dpkg::Options::=--force-confold install {}"


def later_version(folder: pathlib.Path) -> pathlib.Path:
    """The same package, as its next version."""
    tree = folder / "next"
    subprocess.run(["dpkg-deb", "-R", DEB, tree], check=True)
    control = tree / "DEBIAN/control"
    control.write_text(re.sub(r"(?m)^(Version: .*)$", r"\1+next", control.read_text()))
    subprocess.run(["dpkg-deb", "-Znone", "-b", tree, folder / "next.deb"], check=True, stdout=subprocess.DEVNULL)
    return folder / "next.deb"


class Installed(unittest.TestCase):
    """Its tests are steps: each begins where the one before it ended."""

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="nanobox-package-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        root = roots.unpack(roots.CLEAN, cls.folder / "root")
        shutil.copy(DEB, root / "root/nanobox.deb")
        shutil.copy(later_version(cls.folder), root / "root/next.deb")
        fetch_packages(root, "/root/nanobox.deb")
        cls.machine = Machine(root)
        cls.addClassCleanup(cls.machine.end)

    def sandboxes(self):
        found = json.loads(self.machine.says("nanobox ps --json"))["items"]
        return {sandbox["id"]: sandbox["status"] for sandbox in found}

    def daemon(self):
        return self.machine.says("systemctl show --value -p MainPID nanoboxd").strip()

    def test_1_installing_starts_nothing(self):
        self.machine.run(INSTALL.format("/root/nanobox.deb"))
        self.assertEqual(self.machine.run("systemctl is-active nanoboxd", check=False).stdout, "inactive\n")
        self.assertEqual(self.machine.says("nanoboxd --check-config"), "the configuration is fine\n")
        self.assertIn("/etc/nanobox/nanobox.toml", self.machine.says("dpkg-query -W -f '${Conffiles}' nanobox"))
        doctor = json.loads(self.machine.run("nanobox doctor --json", check=False).stdout)
        checks = {check["name"]: check for check in doctor["checks"]}
        self.assertTrue(doctor["ok"], doctor)
        self.assertEqual(checks["guest kernel"]["detail"], "/usr/lib/nanobox/vmlinux")
        # What "auto" found, so that it is not tried at each start here; the file has a change of ours from now on.
        vmm = checks["vmm"]["detail"].removeprefix("uses ")
        self.machine.run(f"""sed -i 's/^#vmm = .*/vmm = "{vmm}"/' /etc/nanobox/nanobox.toml""")

    def test_2_the_service_runs_commands_in_microvms(self):
        self.machine.run("systemctl enable --now nanoboxd")
        # The service is ready when systemctl is: the client asks it, and starts no server of its own.
        self.machine.run("nanobox warmup busybox --name box")
        self.assertRegex(self.machine.says("nanobox run box -- uname -a"), r"^Linux sb-\S+ 6\.1\.")
        log = self.machine.says("journalctl -u nanoboxd -o cat")
        self.assertNotRegex(log, r'"level":"(warn|error|critical)')

    def test_3_the_client_completes_names_from_the_server(self):
        self.assertRegex(self.machine.says("nanobox completion words -- create b"), r"^box\t\S*busybox\n$")

    def test_4_a_sandbox_lives_through_restart_and_upgrade(self):
        sandbox = self.machine.says("nanobox create box --timeout 3600").strip()
        self.machine.run(f"nanobox exec {sandbox} -- sh -c 'echo mine > /root/mark; sleep 3000 & echo $! > /root/pid'")
        alive = "cat /root/mark; kill -0 $(cat /root/pid) && echo alive"
        for change in ("systemctl restart nanoboxd", "systemctl kill --kill-whom=main -s KILL nanoboxd",
                       INSTALL.format("/root/next.deb")):
            with self.subTest(change):
                before = self.daemon()
                self.machine.run(change)
                until("another daemon runs", lambda: self.daemon() not in ("0", before))
                until("it answers", lambda: self.machine.run("nanobox ps", check=False).returncode == 0)
                self.assertEqual(self.sandboxes(), {sandbox: "running"})
                self.assertEqual(self.machine.says(f"nanobox exec {sandbox} -- sh -c '{alive}'"), "mine\nalive\n")
        self.assertIn("+next", self.machine.says("dpkg-query -W nanobox"))
        self.assertIn("\nvmm = ", self.machine.says("cat /etc/nanobox/nanobox.toml"))

    def test_5_a_node_joins_by_its_unit(self):
        self.machine.run("""touch /root/control.toml
            systemd-run --unit=control -p Type=notify -E NANOBOX_DATA=/root/control nanoboxd --role control \
            --config /root/control.toml --api.listen_addr=127.0.0.1:8090 --cluster.listen_addr=127.0.0.1:7000""")
        nanobox = "NANOBOX_DATA=/root/control NANOBOX_SERVER=127.0.0.1:8090 nanobox"
        self.machine.run(f"""umask 077; {nanobox} node token > /etc/nanobox/node.token
            sed -i 's/^#join_addr = .*/join_addr = "127.0.0.1:7001"/' /etc/nanobox/nanobox.toml
            nanobox rm --all; systemctl stop nanoboxd; systemctl start nanobox-node""")
        until("the node is ready", lambda: " ready " in self.machine.says(f"{nanobox} nodes"))
        self.machine.run("systemctl stop nanobox-node control; systemctl start nanoboxd")

    def test_5_what_the_page_says_can_be_done(self):
        """Each command of docs/deployment.md, but for the first block, which made the package."""
        self.machine.run("mkdir -p /root/build/package && cp /root/next.deb /root/build/package/nanobox_next.deb")
        blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
        self.assertIn("cpack", blocks[0])
        self.assertGreater(len(blocks), 5)
        for block in blocks[1:]:
            with self.subTest(block):
                self.machine.run(f"set -e; cd /root\n{block}")
        self.assertEqual(self.machine.says("systemctl is-active nanoboxd"), "active\n")
        # What the page has its reader make is the reader's.
        self.machine.run("rm -r /srv/nanobox /etc/systemd/system/nanoboxd.service.d && systemctl daemon-reload")

    def test_6_removing_ends_sandboxes_and_keeps_data(self):
        self.machine.run("nanobox warmup busybox --name other && nanobox create other --timeout 3600")
        self.machine.run("apt-get -q -y remove nanobox")
        left = self.machine.says("ps -eo args 2>/dev/null || cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
        self.assertNotRegex(left, "nanobox|qemu|/vmm/")
        self.machine.run("test -d /var/lib/nanobox/oci-cache && test -f /etc/nanobox/nanobox.toml")

    def test_7_purging_leaves_nothing(self):
        self.machine.run("apt-get -q -y purge nanobox")
        self.machine.run("rm -rf /root/control")
        elsewhere = ("/root/", "/var/cache/apt/", "/var/lib/systemd/")
        left = self.machine.says("find / -xdev -iname '*nanobox*'").splitlines()
        self.assertEqual([path for path in left if not path.startswith(elsewhere)], [])
        self.assertEqual(self.machine.says("systemctl list-units --all --no-legend 'nanobox*'"), "")
