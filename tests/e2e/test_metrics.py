"""GET /metrics tells what was done, in the form that Prometheus reads, and what deploy/ asks for is there; GET /actors."""
import json
import re
import subprocess
import unittest

from harness import ROOT, Case, until

DEPLOY = ROOT / "deploy"


def samples(text):
    """{'name{label="value"}': value}, with the labels in alphabetical order."""
    found = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, labels, value = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line).groups()
            labels = ",".join(sorted(re.findall(r'\w+="[^"]*"', labels or "")))
            found[f"{name}{{{labels}}}" if labels else name] = float(value)
    return found


def promtool(*args, **more):
    done = subprocess.run(["promtool", *args], capture_output=True, text=True, **more)
    return done.returncode, done.stdout + done.stderr


class Metrics(Case):
    # A pool that holds nothing: its series are there.
    config = '[pool]\n[[pool.templates]]\nname = "busybox"\nmin_ready = 0\nmax_ready = 0\n'

    def text(self):
        answer = self.client.call("GET", "/metrics")
        self.assertEqual((answer.status, answer.headers["Content-Type"]), (200, "text/plain; version=0.0.4; charset=utf-8"))
        return answer.body.decode()

    def now(self):
        return samples(self.text())

    def test_values_agree_with_what_was_done(self):
        self.busybox()
        before = self.now()

        def more(series):
            """What was added since, once a sample of it is there."""
            return self.now()[series] - before.get(series, 0)

        sandbox = self.sandbox(boot="cold")
        for _ in range(3):
            self.client.exec(sandbox, "true")
        self.client.call("GET", "/nowhere")
        self.client.call("GET", "/sandboxes/sb-none")

        self.assertEqual(more('nanobox_sandbox_boots_total{boot_path="cold"}'), 1)
        self.assertEqual(more('nanobox_boot_duration_seconds_count{boot_path="cold"}'), 1)
        self.assertGreater(more('nanobox_boot_duration_seconds_sum{boot_path="cold"}'), 0)
        self.assertEqual(more('nanobox_pipeline_runs_total{outcome="succeeded",pipeline="boot"}'), 1)
        self.assertEqual(more('nanobox_stage_duration_seconds_count{outcome="succeeded",pipeline="boot",stage="vm"}'), 1)
        self.assertEqual(more("nanobox_exec_duration_seconds_count"), 3)
        requests = 'nanobox_http_requests_total{{method="{}",route="{}",status="{}"}}'
        self.assertEqual(more(requests.format("POST", "/api/v1/sandboxes/{id}/exec", 200)), 3)
        self.assertEqual(more(requests.format("GET", "none", 404)), 1)
        self.assertEqual(more(requests.format("GET", "/api/v1/sandboxes/{id}", 404)), 1)
        now = self.now()
        self.assertEqual(now['nanobox_sandboxes{status="running"}'], 1)
        self.assertEqual(now['nanobox_nodes{state="ready"}'], 1)
        self.assertGreater(now['nanobox_pipeline_runs_total{outcome="succeeded",pipeline="warmup"}'], 0)
        self.assertNotIn(sandbox, self.text())

        node = self.client.want(200, "GET", "/nodes")["items"][0]["id"]
        until("the guest's channel is counted",
              lambda: self.now()[f'nanobox_channel_bytes_total{{direction="in",node="{node}"}}'] > 0)
        until("its VMM is measured",
              lambda: self.now().get(f'nanobox_vmm_pss_bytes{{node="{node}",template="busybox"}}', 0) > 1 << 20, 60)
        until("its processor time is counted",
              lambda: self.now()[f'nanobox_vmm_cpu_seconds_total{{node="{node}",template="busybox"}}'] > 0, 60)

    def test_promtool_has_nothing_to_say(self):
        self.client.exec(self.sandbox(), "true")
        self.assertEqual(promtool("check", "metrics", input=self.text()), (0, ""))

    def test_the_rules_and_the_configuration_that_come_with_it_are_right(self):
        for args in (["check", "config", "prometheus.yml"], ["test", "rules", "alerts_test.yml"]):
            code, said = promtool(*args, cwd=DEPLOY / "prometheus")
            self.assertEqual(code, 0, said)

    def test_whatever_the_alerts_and_the_dashboard_ask_for_is_there(self):
        self.client.exec(self.sandbox(), "true")
        asked = [(DEPLOY / "prometheus" / "alerts.yml").read_text()]
        board = json.loads((DEPLOY / "grafana" / "nanobox.json").read_text())
        asked += [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
        names = set(re.findall(r"\b(?:nanobox|process)_[a-z_]+\b(?!\")", " ".join(asked)))
        self.assertGreater(len(names), 40)

        def missing():
            """Of a histogram each of its parts counts; what a node measures comes with its beats."""
            there = {re.sub(r"\{.*", "", series) for series in self.now()}
            return names - there
        until("nothing is missing", lambda: not missing() or None, 60)

    def test_the_supervised_actors_are_listed_with_what_they_did(self):
        node = self.client.want(200, "GET", "/nodes")["items"][0]["id"]
        self.sandbox()

        def look():
            actors = {actor["id"]: actor for actor in self.client.want(200, "GET", "/actors?limit=1000")["items"]}
            return actors if actors.get(f"{node}/vm_supervisor", {}).get("count") == 1 else None
        actors = until("the sandbox' supervisor is counted", look)
        self.assertEqual(actors[f"{node}/vm_supervisor"]["parent"], f"{node}/node_agent")
        self.assertEqual(actors["control/sandbox_directory"]["parent"], "control")
        self.assertIsNone(actors["control/sandbox_directory"]["node_id"])
        for name in (f"{node}/node_agent", f"{node}/sandbox_registry", "control/node_registry"):
            self.assertGreater(actors[name]["handled"], 0, name)
            self.assertEqual((actors[name]["restarts"], actors[name]["last_error"]), (0, None), name)


if __name__ == "__main__":
    unittest.main()
