"""nanobox-inspect against a real daemon: what it shows is what the runs were."""
import json
import subprocess

from harness import BUILD, Case, until


class Inspect(Case):
    def inspect(self, *args, code=0):
        env = {**self.daemon.environment(), "NANOBOX_SERVER": f"http://{self.client.address}", "LANG": "C.UTF-8", "COLUMNS": "150"}
        done = subprocess.run([BUILD / "bin" / "nanobox-inspect", *args], capture_output=True, text=True, timeout=60, env=env,
                              stdin=subprocess.DEVNULL)
        self.assertEqual(done.returncode, code, done)
        return done.stdout

    def test_runs_are_listed_opened_summed_compared_and_traced(self):
        first = self.sandbox()
        second = self.sandbox("busybox")
        for subject in ("busybox", first, second):
            self.assertRegex(self.inspect("runs"), rf"op-\S+ +\w+ +{subject} +succeeded")
        run = json.loads(self.inspect("run", first, "--json"))
        self.assertEqual((run["subject"], run["pipeline"], run["status"]), (first, "boot", "succeeded"))
        shown = self.inspect("run", run["id"])
        for stage in run["stages"]:
            self.assertRegex(shown, rf"(?m)^{stage['name']} +{stage['status']}")

        summed = {(one["pipeline"], one["stage"]): one for one in json.loads(self.inspect("hotspots", "--json"))["items"]}
        ran = next(stage for stage in run["stages"] if stage["status"] == "succeeded")
        self.assertGreaterEqual(summed["boot", ran["name"]]["count"], 1)
        self.assertAlmostEqual(sum(one["share"] for one in summed.values()), 1, places=3)
        self.assertIn(f"boot/{ran['name']}", self.inspect("diff", first, second))

        trace = json.loads(self.inspect("trace", "-o", "-"))["traceEvents"]
        slices = {event["name"] for event in trace if event["ph"] == "X"}
        self.assertLessEqual({f"boot {first}", f"boot {second}", "warmup busybox", ran["name"]}, slices)

    def test_a_run_that_failed_says_why_and_is_the_exit_code(self):
        self.client.call("POST", "/templates/warmup", {"name": "broken", "image": self.image("library/nothing")})
        until("the warmup failed",
              lambda: self.client.want(200, "GET", "/templates/broken/status")["status"] == "failed")
        shown = self.inspect("run", "--watch", "broken", code=1)
        self.assertRegex(shown, r"warmup of broken +failed")
        self.assertIn("because", shown)
        self.assertIn("broken", self.inspect("runs", "--status", "failed"))

    def test_top_and_pipelines_fit_a_terminal(self):
        sandbox = self.sandbox()
        frame = self.inspect("top", "--once")
        for part in ("1 running", sandbox, "boot/", "NODE"):
            self.assertIn(part, frame)
        for text in (frame, self.inspect("pipelines")):
            self.assertLessEqual(max(map(len, text.splitlines())), 150)
        self.assertIn('"boot/place" -> ', self.inspect("pipelines", "--graphviz"))
