"""Files of a sandbox, in and out."""
import hashlib
import io
import os
import tarfile
import unittest
import urllib.parse

import contract
from harness import Case, until


class Files(Case):
    def setUp(self):
        super().setUp()
        self.sandbox_id = self.sandbox()

    def file(self, method, path, body=None, **query):
        query = urllib.parse.urlencode({"path": path, **query})
        return self.client.call(method, f"/sandboxes/{self.sandbox_id}/files?{query}", body,
                                {"Content-Type": "application/octet-stream"} if body is not None else None)

    def sh(self, script):
        return self.client.exec(self.sandbox_id, "sh", "-c", script)["stdout"]

    def test_bytes_come_back_as_they_went(self):
        content = os.urandom(3_000_000)
        self.assertEqual(self.file("PUT", "/data/deep/file.bin", content).status, 204)
        answer = self.file("GET", "/data/deep/file.bin")
        self.assertEqual((answer.status, answer.body == content), (200, True))
        self.assertEqual(answer.headers["Content-Length"], "3000000")
        self.assertEqual(self.sh("sha256sum /data/deep/file.bin").split()[0], hashlib.sha256(content).hexdigest())

    def test_a_gibibyte_goes_both_ways_in_constant_memory(self):
        self.sandbox_id = self.client.create("busybox", resources={"disk_mb": 3072})["id"]
        piece, path = os.urandom(1 << 20), f"/api/v1/sandboxes/{self.sandbox_id}/files?path=/root/gibibyte"
        before, most = self.daemon.memory(), 0
        connection = contract.Connection(self.client.address, timeout=120)
        self.addCleanup(connection.close)
        connection.putrequest("PUT", path)
        connection.putheader("Content-Length", str(1 << 30))
        connection.endheaders()
        for _ in range(1024):
            connection.send(piece)
            most = max(most, self.daemon.memory())
        answer = connection.getresponse()
        answer.read()
        self.assertEqual(answer.status, 204)
        connection.request("GET", path)
        answer, count = connection.getresponse(), 0
        while taken := answer.read(1 << 20):
            self.assertEqual(taken, piece)
            count += 1
            most = max(most, self.daemon.memory())
        self.assertEqual(count, 1024)
        self.assertLess(most - before, 50 << 20)

    def test_mode_and_owner_are_as_asked_and_else_kept(self):
        self.file("PUT", "/root/tool", b"#!/bin/sh\necho works\n", mode="0755")
        self.assertEqual(self.sh("/root/tool"), "works\n")
        self.file("PUT", "/root/tool", b"#!/bin/sh\necho again\n")
        self.assertEqual(self.sh("/root/tool; stat -c %a /root/tool"), "again\n755\n")
        self.file("PUT", "/tmp/theirs", b"x", user="nobody")
        self.assertEqual(self.sh("stat -c %U /tmp/theirs"), "nobody\n")

    def test_stat_describes_a_link_and_does_not_follow_it(self):
        self.sh("ln -s /etc/passwd /root/link")
        head = self.file("HEAD", "/root/link")
        self.assertEqual((head.status, head.headers["X-NanoBox-Type"], head.headers["X-NanoBox-Target"]),
                         (200, "symlink", "/etc/passwd"))
        self.assertEqual(self.file("HEAD", "/etc").headers["X-NanoBox-Type"], "dir")

    def test_a_folder_is_listed(self):
        self.sh("mkdir /root/d && cd /root/d && echo abc > file && mkdir sub && ln -s nowhere link && mkfifo pipe && chmod 600 file")
        items = {item["name"]: item for item in self.file("GET", "/root/d").json["items"]}
        self.assertEqual({name: item["type"] for name, item in items.items()},
                         {"file": "file", "sub": "dir", "link": "symlink", "pipe": "fifo"})
        self.assertEqual((items["file"]["size_bytes"], items["file"]["mode"], items["link"]["target"]), (4, "0600", "nowhere"))
        self.sh("mkdir /root/many && cd /root/many && seq 1 5000 | xargs touch")
        self.assertEqual(len(self.file("GET", "/root/many").json["items"]), 5000)

    def test_folders_go_both_ways_as_tar(self):
        self.sh("mkdir -p /root/t/sub && cd /root/t && echo one > a && ln a b && ln -s a c && chmod 751 sub && chown 12:34 a")
        answer = self.file("GET", "/root/t", archive="tar")
        self.assertEqual((answer.status, answer.headers["Content-Type"]), (200, "application/x-tar"))
        with tarfile.open(fileobj=io.BytesIO(answer.body)) as tar:
            found = {os.path.normpath(member.name): member for member in tar.getmembers()}
        self.assertEqual((found["a"].uid, found["a"].gid, found["sub"].mode, found["c"].linkname), (12, 34, 0o751, "a"))
        self.assertEqual(self.file("PUT", "/root/copy", answer.body, archive="tar").status, 204)
        self.assertEqual(self.sh("cd /root/copy && cat b && stat -c '%u:%g %h' a && readlink c && stat -c %a sub"),
                         "one\n12:34 2\na\n751\n")

    def test_a_tar_that_escapes_is_refused(self):
        for name in ("../escaped", "/escaped", "link/escaped"):
            out = io.BytesIO()
            with tarfile.open(fileobj=out, mode="w") as tar:
                link = tarfile.TarInfo("link")
                link.type, link.linkname = tarfile.SYMTYPE, "/"
                tar.addfile(link)
                tar.addfile(tarfile.TarInfo(name))
            answer = self.file("PUT", "/root/into", out.getvalue(), archive="tar")
            self.assertEqual(answer.status // 100, 4, f"{name}: {answer}")
            self.assertEqual(self.sh("ls / | grep -c escaped; ls /root | grep -c escaped"), "0\n0\n")

    def test_folders_are_made_renamed_and_removed(self):
        post = lambda **body: self.client.call("POST", f"/sandboxes/{self.sandbox_id}/files", body)  # noqa: E731
        self.assertEqual(post(op="mkdir", path="/root/x/y", parents=True).status, 204)
        self.assertEqual(post(op="rename", path="/root/x/y", to="/root/x/z").status, 204)
        self.problem(post(op="mkdir", path="/root/x/z"), 409, "file_exists")
        self.problem(self.file("DELETE", "/root/x"), 409, "folder_not_empty")
        self.assertEqual(self.file("DELETE", "/root/x", recursive="1").status, 204)
        self.problem(self.file("DELETE", "/root/x"), 404, "file_not_found")

    def test_what_is_wrong_is_named(self):
        self.problem(self.file("GET", "relative"), 422, "path_invalid")
        self.problem(self.file("GET", "/a/../b"), 422, "path_invalid")
        self.problem(self.file("GET", "/a\0b"), 400, "malformed_request")
        self.problem(self.file("GET", "/" + "n" * 5000), 422, "path_invalid")
        self.problem(self.file("GET", "/nowhere"), 404, "file_not_found")
        self.sh("echo secret > /root/secret; chmod 600 /root/secret")
        self.problem(self.file("GET", "/root/secret", user="nobody"), 403, "file_permission")
        self.assertEqual(self.file("PUT", "/etc", b"x").status // 100, 4)
        self.assertEqual(self.file("PUT", "/etc/passwd/x", b"x").status // 100, 4)

    def test_an_upload_cut_in_the_middle_changes_nothing(self):
        self.file("PUT", "/root/f", b"old")
        connection = contract.Connection(self.client.address)
        connection.putrequest("PUT", f"/api/v1/sandboxes/{self.sandbox_id}/files?path=/root/f")
        connection.putheader("Content-Length", "5000000")
        connection.endheaders(b"n" * 2_000_000)
        until("it is being written", lambda: len(self.sh("ls -A /root").split()) > 1)
        connection.close()
        until("nothing is left of it", lambda: self.sh("ls -A /root").split() == ["f"])
        self.assertEqual(self.file("GET", "/root/f").body, b"old")

    def test_a_full_disk_in_the_guest_is_told(self):
        self.sh("mkdir /root/small && mount -t tmpfs -o size=1m none /root/small && echo kept > /root/small/f")
        self.problem(self.file("PUT", "/root/small/f", b"x" * 3_000_000), 507, "guest_disk_full")
        self.assertEqual(self.sh("cat /root/small/f; ls -A /root/small"), "kept\nf\n")


if __name__ == "__main__":
    unittest.main()
