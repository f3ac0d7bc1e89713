"""Commands that run on this host, with what is kept of them."""
import base64
import os
import signal
import subprocess
import threading
import time


def encoded(data):
    try:
        return {"data": data.decode(), "encoding": "utf-8"}
    except UnicodeDecodeError:
        return {"data": base64.b64encode(data).decode(), "encoding": "base64"}


class Process:
    """Its output in the order of arrival; followers wait for more."""

    def __init__(self, name, body):
        self.name, self.detached = name, body.get("detached", False)
        self.argv = [body["command"], *body.get("args", [])]
        self.changed = threading.Condition()
        self.pieces, self.bytes, self.readers, self.outcome = [], 0, 2, None
        self.timed_out = False
        self.started = time.time()
        self.popen = subprocess.Popen(self.argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                      env={**os.environ, **body.get("env", {})}, cwd=body.get("cwd"),
                                      start_new_session=True)
        if "stdin" in body:
            threading.Thread(target=self.feed, args=(body["stdin"].encode(), True), daemon=True).start()
        for kind, pipe in (("stdout", self.popen.stdout), ("stderr", self.popen.stderr)):
            threading.Thread(target=self.read, args=(kind, pipe), daemon=True).start()
        if body.get("timeout_ms"):
            timer = threading.Timer(body["timeout_ms"] / 1000, self.be_late)
            timer.daemon = True
            timer.start()

    def be_late(self):
        self.timed_out = True
        self.kill(signal.SIGKILL)

    def read(self, kind, pipe):
        while data := os.read(pipe.fileno(), 65536):
            with self.changed:
                self.bytes += len(data)
                self.pieces.append((kind, data, self.bytes))
                self.changed.notify_all()
        with self.changed:
            self.readers -= 1
        if self.readers == 0:
            code = self.popen.wait()
            with self.changed:
                self.outcome = {"exit_code": 128 - code if code < 0 else code, "signal": -code if code < 0 else None,
                                "timed_out": self.timed_out, "duration_ms": 1}
                self.changed.notify_all()

    def feed(self, data, eof):
        """False: nobody reads it."""
        try:
            self.popen.stdin.write(data)
            self.popen.stdin.flush()
            if eof:
                self.popen.stdin.close()
            return True
        except (BrokenPipeError, ValueError):
            return False

    def kill(self, number):
        try:
            os.killpg(self.popen.pid, number)
        except ProcessLookupError:
            pass

    def follow(self, since):
        """The pieces behind an offset as they come, then the outcome."""
        at = 0
        while True:
            with self.changed:
                self.changed.wait_for(lambda: at < len(self.pieces) or self.outcome is not None)
                fresh, outcome = self.pieces[at:], self.outcome
                at += len(fresh)
            for kind, data, end in fresh:
                if end > since:
                    yield kind, encoded(data[max(0, since - (end - len(data))):]), end
            if outcome is not None and at == len(self.pieces):
                yield "exit", outcome, None
                return

    def record(self):
        return {"process_id": self.name, "pid": self.popen.pid, "command": self.argv,
                "state": "running" if self.outcome is None else "exited",
                "exit_code": self.outcome and self.outcome["exit_code"],
                "signal": self.outcome and self.outcome["signal"],
                "timed_out": self.timed_out, "detached": self.detached, "terminal": False,
                "started_at": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(self.started)),
                "output_bytes": self.bytes}
