"""A sandbox's files, in a folder of this host."""
import collections
import io
import os
import select
import shutil
import stat
import tarfile
import time

KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "symlink", stat.S_IFIFO: "fifo",
         stat.S_IFSOCK: "socket", stat.S_IFCHR: "char", stat.S_IFBLK: "block"}


def body_of(handler):
    """The request's body, piece by piece. @raises ConnectionError where it is cut."""
    def exactly(size):
        while size > 0:
            data = handler.rfile.read1(min(size, 65536))
            if not data:
                raise ConnectionError
            size -= len(data)
            yield data

    if handler.headers.get("Transfer-Encoding") != "chunked":
        yield from exactly(int(handler.headers.get("Content-Length") or 0))
        return
    while True:
        line = handler.rfile.readline()
        if not line:
            raise ConnectionError
        size = int(line, 16)
        yield from exactly(size)
        handler.rfile.readline()
        if size == 0:
            return


def headers_of(path):
    is_ = os.lstat(path)
    kind = KINDS[stat.S_IFMT(is_.st_mode)]
    headers = {"X-NanoBox-Type": kind, "X-NanoBox-Mode": f"{stat.S_IMODE(is_.st_mode):04o}",
               "X-NanoBox-Mtime": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(is_.st_mtime))}
    if kind == "symlink":
        headers["X-NanoBox-Target"] = os.readlink(path)
    if kind == "file":
        headers["Content-Length"] = str(is_.st_size)
    return headers


def serve_files(handler, root, query):
    """STAND_IN_TAR is sent for every archive; STAND_IN_STALL: after that many bytes nothing more comes; STAND_IN_CUT:
    the connection ends there; STAND_IN_FULL: an upload is refused in its middle."""
    asked = query["path"][0]
    if ".." in asked.split("/"):
        return handler.problem(400, "path_invalid", "'..' is not allowed")
    path = root + asked
    tar = query.get("archive") == ["tar"]
    if handler.command == "PUT":
        return receive(handler, path, tar, query)
    if not os.path.lexists(path):
        return handler.problem(404, "file_not_found", f"nothing is at {asked}")
    if handler.command == "HEAD":
        handler.send_response(200)
        for name, value in headers_of(path).items():
            handler.send_header(name, value)
        return handler.end_headers()
    if tar and os.environ.get("STAND_IN_TAR"):
        with open(os.environ["STAND_IN_TAR"], "rb") as file:
            data = file.read()
    elif tar:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            archive.add(path, arcname="./")
        data = packed.getvalue()
    else:
        with open(path, "rb") as file:
            data = file.read()
    return send(handler, data, "application/x-tar" if tar else "application/octet-stream")


def send(handler, data, kind):
    handler.send_response(200)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    stop = int(os.environ.get("STAND_IN_STALL") or os.environ.get("STAND_IN_CUT") or len(data))
    handler.wfile.write(data[:stop])
    handler.wfile.flush()
    if stop == len(data):
        return
    handler.close_connection = True
    if os.environ.get("STAND_IN_STALL"):
        with open(f"{os.environ['NANOBOX_DATA']}/stalled", "w"):
            pass
        select.select([handler.connection], [], [])


def receive(handler, path, tar, query):
    refused = bool(os.environ.get("STAND_IN_FULL"))
    data = b""
    try:
        pieces = body_of(handler)
        for piece in pieces:
            data += piece
            if refused and len(data) > 100_000:
                handler.close_connection = True
                handler.problem(507, "guest_disk_full", "no space is left inside")
                handler.wfile.flush()
                collections.deque(pieces, maxlen=0)  # closed with bytes unread, a connection loses its answer
                return
    except ConnectionError:
        handler.close_connection = True
        return None
    if tar:
        os.makedirs(path, exist_ok=True)
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            archive.extractall(path)
        return handler.answer(204)
    if os.path.isdir(path):
        return handler.problem(409, "file_is_folder", "a folder is there")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + ".new", "wb") as file:
        file.write(data)
    os.chmod(path + ".new", int(query.get("mode", ["0644"])[0], 8))
    shutil.move(path + ".new", path)
    return handler.answer(204)
