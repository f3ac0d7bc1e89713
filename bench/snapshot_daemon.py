"""What the benches of copies share: a daemon with a template's snapshot, and where a boot's time went."""
import contextlib
import pathlib
import re
import statistics
import sys
import tempfile
import time

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent)]

from bare_vm import IMAGES, Daemon, build_images  # noqa: E402
import own_network  # noqa: E402

BUSYBOX = "library/busybox:latest"


@contextlib.contextmanager
def daemon_with_snapshot(config="", memory_mb=256, template="busybox", place="/tmp"):
    """A daemon of its own, in a network of its own, its data in `place`: `template` and its snapshot are ready."""
    own_network.enter()
    with tempfile.TemporaryDirectory(prefix="nb-bench-", dir=place) as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        daemon = Daemon(folder, config)
        try:
            daemon.client.ready(template, f"oci:{build_images.build(BUSYBOX, IMAGES)}:latest", snapshot=True,
                                resources={"memory_mb": memory_mb})
            yield daemon
        finally:
            daemon.end()


def timed(call):
    """What `call` returns, and how many milliseconds it took."""
    begin = time.perf_counter()
    result = call()
    return result, 1000 * (time.perf_counter() - begin)


def stages_of(daemon, sandbox: str):
    """{stage: ms} of a sandbox' latest boot; where a stage says more, {"stage.part": ms} as well."""
    runs = [run for run in daemon.client.want(200, "GET", "/pipelines/runs?kind=boot&limit=1000")["items"]
            if run["subject"] == sandbox]
    times = {}
    for stage in runs[-1]["stages"]:
        times[stage["name"]] = stage["duration_ms"]
        for part, us in re.findall(r"(\w+) (\d+)", stage["detail"] or ""):
            times[f"{stage['name']}.{part}"] = int(us) / 1000
    return times


def medians(breakdowns) -> str:
    """One line of the medians of many {name: ms}."""
    names = list(dict.fromkeys(name for each in breakdowns for name in each))
    return ", ".join(f"{name} {statistics.median(each.get(name, 0) for each in breakdowns):.1f}" for name in names)


def dirty(daemon, sandbox: str, megabytes: int):
    """Has the guest hold so much in a tmpfs that its template did not."""
    daemon.client.exec(sandbox, "sh", "-c", f"dd if=/dev/urandom of=/tmp/dirty bs=1M count={megabytes} 2>/dev/null")
