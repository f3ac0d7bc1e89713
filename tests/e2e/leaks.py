"""What NanoBox must not leave behind: processes, cgroups, mounts, networks, half-made files, held locks."""
import contextlib
import fcntl
import json
import os
import pathlib
import re
import socket
import sqlite3
import time

import nft
import own_network

# By the network keeper, beside those of the VMs there are.
NETWORKS_MADE_AHEAD = 2


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
    """Network interfaces, named network namespaces and, in a network of our own, tables of rules of this host."""
    named = pathlib.Path("/run/netns")
    found = {name for _, name in socket.if_nameindex()} | {str(path) for path in named.glob("*")}
    return found | set(nft.tables() if own_network.machine is not None else ())


def new_interfaces(before, patience=5.0):
    """Those that are still there after a while: the kernel takes links away a moment after their last user."""
    end = time.monotonic() + patience
    while (new := interfaces() - before) and time.monotonic() < end:
        time.sleep(0.02)
    return sorted(new)


def vm_links():
    """The host's ends of VMs' networks, of all daemons."""
    return [name for _, name in socket.if_nameindex() if re.fullmatch("nb[0-9a-f]{6}-[0-9a-f]{6}", name)]


def files_below(*folders):
    return [str(path) for folder in folders for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()]


def node_store(data: pathlib.Path, query: str):
    """The rows that the node's store answers."""
    store = data / "node.db"
    if not store.exists():
        return []
    with contextlib.closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True, timeout=5)) as database:
        return database.execute(query).fetchall()


def machines(data: pathlib.Path):
    """{id: identity} of the VMs that the node's store knows: sandboxes by their id, VMMs in stock by st-…, a pool's by pl-…"""
    return {id: json.loads(identity) for id, identity in node_store(data, "SELECT sandbox_id, identity FROM vm")}


def address_leases(data: pathlib.Path):
    """Who holds an address."""
    return [holder for holder, in node_store(data, "SELECT holder FROM lease WHERE kind = 'ip'")]


def half_made(data: pathlib.Path, waiting=()):
    """Files of work that is not done, of sandboxes, and roots without their record: what an idle data folder has none of.
    `data` may be seen through /proc/PID/root. `waiting` are the names of run folders of VMMs in stock or in a pool."""
    left = [f"half-written: {path}" for path in files_below(*data.rglob(".tmp"))]
    run_folders = [path for path in data.glob("run/*") if path.name not in waiting]
    left += [f"a sandbox's file: {path}" for path in files_below(*run_folders, *(data / "rootfs").glob("sb-*"))]
    kept = (".tmp", ".layers", ".empty-memory")
    left += [f"a sandbox's folder: {path}" for path in [*run_folders, *data.glob("rootfs/*")] if path.is_dir()
             and path.name not in kept and not (path.name[:3] in ("pl-", "st-") and path.name[-16:] in waiting)]
    left += [f"a layer that nothing stands on: {path}" for path in
             [*data.glob("rootfs/.layers/*"), *data.glob("snapshots/sandboxes/*")]]
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
    known = machines(daemon.seen_data())
    waiting = [machine for id, machine in known.items() if not id.startswith("sb-")]
    theirs = {pid for machine in waiting for pid in (machine["pid"], machine["parent_pid"])}
    left = [f"process {pid}: {command}" for pid, command in daemon.processes().items() if pid not in theirs]
    cgroups = " ".join(machine["cgroup"] for machine in waiting)
    left += [f"cgroup {folder}" for folder in cgroups_of(daemon.data) if folder not in cgroups]
    left += half_made(daemon.seen_data(), {pathlib.Path(machine["run_dir"]).name for machine in waiting})
    left += [f"temporary file {path}" for path in files_below(daemon.temporary)]
    left += [f"an address of {holder}" for holder in address_leases(daemon.seen_data()) if holder not in known]
    if len(vm_links()) > len(known) + NETWORKS_MADE_AHEAD:
        left.append(f"{len(vm_links())} networks for {len(known)} VMs")
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
        left += [f"interface {name}" for name in new_interfaces(interfaces_before)]
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
