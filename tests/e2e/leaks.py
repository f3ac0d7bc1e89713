"""What NanoBox must not leave behind: processes, cgroups, mounts, interfaces, half-made files, held locks."""
import fcntl
import os
import pathlib


def processes_of(mark: str, but=()):
    """{pid: command line} of those that name the folder `mark` in their arguments, have it as data folder, a file below it
    open, or a root of their own in which something below it is mounted, as VMMs have."""
    found, own_mounts = {}, os.readlink("/proc/self/ns/mnt")
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) in but:
            continue
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            environment = (entry / "environ").read_bytes().decode(errors="replace")
            files = " ".join(os.readlink(link) for link in (entry / "fd").iterdir())
            if os.readlink(entry / "ns/mnt") != own_mounts:
                files += (entry / "mountinfo").read_text()
        except OSError:
            continue
        if command and (mark in command or f"NANOBOX_DATA={mark}" in environment or f"{mark}/" in files):
            found[int(entry.name)] = command.strip()
    return found


def cgroups_of(data: pathlib.Path):
    """The cgroup folders that carry the data folder's mark (FNV-1a of its path), in every hierarchy."""
    number = 0xcbf29ce484222325
    for byte in os.fsencode(data.resolve()):
        number = (number ^ byte) * 0x100000001b3 & (1 << 64) - 1
    mark = f"nanobox-{number:016x}"
    return [folder for folder, _, _ in os.walk("/sys/fs/cgroup") if mark in folder.split("/")]


def interfaces():
    """Network interfaces and named network namespaces of this host."""
    folders = pathlib.Path("/sys/class/net"), pathlib.Path("/run/netns")
    return {str(path) for folder in folders if folder.is_dir() for path in folder.iterdir()}


def files_below(*folders):
    return [str(path) for folder in folders for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()]


def half_made(data: pathlib.Path):
    """Files of work that is not done, of sandboxes, and roots without their record: what an idle data folder has none of.
    `data` may be seen through /proc/PID/root."""
    left = [f"half-written: {path}" for path in files_below(*data.rglob(".tmp"))]
    left += [f"a sandbox's file: {path}" for path in files_below(data / "run", *(data / "rootfs").glob("sb-*"))]
    left += [f"a sandbox's folder: {path}" for path in [*data.glob("run/*"), *data.glob("rootfs/*")] if path.is_dir()
             and path.name != ".tmp"]
    roots = data / "oci-cache" / "rootfs"
    for root in roots.glob("*.ext4"):
        if root.is_symlink():
            if not (roots / os.readlink(root)).exists():
                left.append(f"a name without its root: {root}")
        elif not root.with_suffix(".json").exists():
            left.append(f"a root without its record: {root}")
    return left


def idle_leaks(daemon):
    """What a daemon without sandboxes and without running warmups must not have."""
    left = [f"process {pid}: {command}" for pid, command in daemon.processes().items()]
    left += [f"cgroup {folder}" for folder in cgroups_of(daemon.data)]
    left += half_made(daemon.seen_data())
    left += [f"temporary file {path}" for path in files_below(daemon.temporary)]
    left += [f"template {item['name']} is {item['status']}" for item in
             daemon.client.want(200, "GET", "/templates?limit=1000")["items"] if item["status"] not in ("ready", "failed")]
    return left


def stopped_leaks(folder: pathlib.Path, interfaces_before=None):
    """What is left of everything below `folder` once its daemon has stopped."""
    data = folder / "data"
    left = [f"process {pid}: {command}" for pid, command in processes_of(str(folder), but={os.getpid()}).items()
            if "docker-registry" not in command]
    mounts = pathlib.Path("/proc/self/mountinfo").read_text()
    left += [f"mount: {line}" for line in mounts.splitlines() if str(folder) in line]
    left += [f"cgroup {path}" for path in cgroups_of(data)]
    left += half_made(data)
    if interfaces_before is not None:
        left += [f"interface {path}" for path in interfaces() - interfaces_before]
    if (data / "lock").exists() and is_locked(data / "lock"):
        left.append(f"a held lock: {data}/lock")
    return left


def is_locked(path):
    with open(path, "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False
