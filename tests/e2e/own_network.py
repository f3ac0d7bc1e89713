"""A network of this run's own: daemons' bridges, routes and rules touch nothing of the machine's."""
import concurrent.futures
import contextlib
import ctypes
import os
import subprocess

NEW_NETWORK = 0x40000000  # CLONE_NEWNET
NEW_MOUNTS = 0x00020000  # CLONE_NEWNS
libc = ctypes.CDLL(None, use_errno=True)
machine = None  # a descriptor of the network that was left


def checked(outcome: int, what: str):
    if outcome != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def unshare_network():
    """Gives this thread, and the threads and programs it starts from here on, an empty network."""
    checked(libc.unshare(NEW_NETWORK), "unshare")


def join(network: int):
    """Puts this thread in the network that the descriptor is of."""
    checked(libc.setns(network, NEW_NETWORK), "setns")


def current() -> int:
    """A descriptor of this thread's network."""
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def enter() -> bool:
    """Leaves the machine's network for a new one, if that was not done before; False where this user cannot."""
    global machine
    if machine is None:
        before = current()
        try:
            unshare_network()
        except PermissionError:
            os.close(before)
            return False
        machine = before
        ip("link", "set", "lo", "up")
    return True


def enter_another() -> bool:
    """A new network, whether or not the machine's was left before; False where this user cannot."""
    global machine
    if machine is not None:
        join(machine)
        machine = None
    return enter()


@contextlib.contextmanager
def outside():
    """For this thread the machine's network, in which images are fetched."""
    if machine is None:
        yield
        return
    inside = current()
    join(machine)
    try:
        yield
    finally:
        join(inside)
        os.close(inside)


def leave_mounts():
    """What this process and its children mount from here on is theirs alone; nothing is done where this user cannot."""
    try:
        checked(libc.unshare(NEW_MOUNTS), "unshare")
    except PermissionError:
        return
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)


class Network:
    """An empty network that lives as long as this object or a socket in it."""

    def __init__(self):
        with concurrent.futures.ThreadPoolExecutor(1, initializer=unshare_network) as thread:
            self.descriptor = thread.submit(current).result()
        self.path = f"/proc/{os.getpid()}/fd/{self.descriptor}"
        self.ip("link", "set", "lo", "up")

    def run(self, work):
        """What `work` returns, which is called inside."""
        with concurrent.futures.ThreadPoolExecutor(1, initializer=join, initargs=(self.descriptor,)) as thread:
            return thread.submit(work).result()

    def ip(self, *args: str):
        self.run(lambda: ip(*args))

    def close(self):
        os.close(self.descriptor)


def ip(*args: str):
    subprocess.run(["ip", *args], check=True)
