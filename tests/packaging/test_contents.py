"""What is in the package, looked at with Debian's own tools and in the shells."""
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

import roots
from run_packaging import DEB

UNITS = ("nanoboxd", "nanobox-node", "nanobox-vms")
# What `systemd-analyze security` may say of a unit; the daemon makes namespaces and mounts, which cost most of it.
EXPOSURE = {"nanoboxd": 60, "nanobox-node": 60, "nanobox-vms": 10}


class Contents(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="nanobox-package-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.root = roots.unpack(roots.CLEAN + roots.tools(), cls.folder / "root")
        shutil.copy(DEB, cls.root / "root/nanobox.deb")
        # Its libraries are not needed to look at it; the client's are those of the machine that built it.
        subprocess.run(["dpkg-deb", "-x", DEB, cls.root], check=True)

    def inside(self, *command, check=True):
        entered = ["unshare", "--mount", "--pid", "--fork", roots.HERE / "enter_root.sh", self.root, *command]
        done = subprocess.run(entered, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if check:
            self.assertEqual(done.returncode, 0, f"{command}: {done.stdout}{done.stderr}")
        return done

    def test_lintian_finds_no_error(self):
        self.inside("lintian", "--allow-root", "--fail-on", "error", "/root/nanobox.deb")

    def test_manual_pages_are_well_formed_and_render(self):
        for page, words in (("man1/nanobox.1", ["nanobox port-forward", "--on-timeout"]),
                            ("man8/nanoboxd.8", ["--check-config"]),
                            ("man5/nanobox.toml.5", ["[[pool.templates]]", "NANOBOX_API_LISTEN_ADDR"])):
            with self.subTest(page):
                path = f"/usr/share/man/{page}.gz"
                lint = self.inside("mandoc", "-T", "lint", "-W", "warning", path)
                self.assertEqual(lint.stdout, "")
                text = self.inside("mandoc", "-T", "utf8", path).stdout
                plain = " ".join(re.sub(".\x08", "", text).split())
                for word in words:
                    self.assertIn(word, plain)

    def test_units_are_sound_and_confined(self):
        paths = [f"/lib/systemd/system/{unit}.service" for unit in UNITS]
        done = self.inside("systemd-analyze", "verify", "--man=no", *paths)
        self.assertEqual(done.stdout + done.stderr, "")
        for unit in UNITS:
            with self.subTest(unit):
                self.inside("systemd-analyze", "security", "--offline=1", f"--threshold={EXPOSURE[unit]}",
                            f"/lib/systemd/system/{unit}.service")

    def test_units_differ_in_what_they_start_only(self):
        texts = [(self.root / f"lib/systemd/system/{unit}.service").read_text() for unit in UNITS[:2]]
        daemon, node = (text.partition("# A restart of the daemon")[2] for text in texts)
        self.assertEqual(daemon, node)

    def stand_in(self):
        """In place of the client, whose libraries are not there: keeps what it was asked, says what it would answer."""
        program = self.root / "usr/bin/nanobox"
        program.unlink()
        program.write_text('#!/bin/sh\nprintf "%s|" "$@" > /tmp/asked\nprintf "exec\\trun a command\\n"\n')
        program.chmod(0o755)

    def asked(self):
        return (self.root / "tmp/asked").read_text()

    def test_completions_ask_the_client_in_each_shell(self):
        self.stand_in()
        bash = """source /usr/share/bash-completion/completions/nanobox
            COMP_WORDS=(nanobox ex) COMP_CWORD=1; _nanobox; echo "${COMPREPLY[@]}" """
        self.assertEqual(self.inside("bash", "-c", bash).stdout, "exec\n")
        self.assertEqual(self.asked(), "completion|words|--|ex|")

        self.inside("zsh", "-n", "/usr/share/zsh/vendor-completions/_nanobox")
        zsh = """autoload -Uz compinit && compinit -D && print $_comps[nanobox]
            autoload +X _nanobox; compdef() { :; }; _describe() { print -l -- $candidates }
            words=(nanobox "sp ace" ''); CURRENT=3; source /usr/share/zsh/vendor-completions/_nanobox; _nanobox"""
        self.assertEqual(self.inside("zsh", "-f", "-c", zsh).stdout, "_nanobox\nexec:run a command\n")
        self.assertEqual(self.asked(), "completion|words|--|sp ace||")

        self.inside("fish", "--no-execute", "/usr/share/fish/vendor_completions.d/nanobox.fish")
        fish = self.inside("fish", "-c", "complete --do-complete 'nanobox rm '").stdout
        self.assertEqual(fish, "exec\trun a command\n")
        self.assertEqual(self.asked(), "completion|words|--|rm||")
