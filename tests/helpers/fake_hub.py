"""A model hub on loopback that serves folders, as far as the hub's library needs it."""

import json
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REFUSALS = {
    "tiny/gated": (403, "GatedRepo"),
    "tiny/absent": (401, "RepoNotFound"),
}


class Hub:
    """What the hub serves and what it was asked for.

    Attributes:
        folders: by the name of a repository.
        asked: each request: its method and path.
        breaks: how many times a connection breaks in the middle of a file of weights.
    """

    def __init__(self, folders):
        self.folders = folders
        self.asked = []
        self.breaks = 0


def handler(hub):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_HEAD(self):
            self.answer(with_body=False)

        def do_GET(self):
            self.answer(with_body=True)

        def answer(self, with_body):
            hub.asked.append((self.command, self.path))
            path = self.path.partition("?")[0].strip("/")
            if path.startswith("api/models/"):
                name, _, revision = path.removeprefix("api/models/").partition("/revision/")
                self.info(name, revision or "main")
                return
            name, _, rest = path.partition("/resolve/")
            if name not in hub.folders:
                self.refuse(404, "RepoNotFound")
                return
            self.file(name, rest.partition("/")[2], with_body)

        def info(self, name, revision):
            if name in REFUSALS:
                self.refuse(*REFUSALS[name])
            elif name not in hub.folders:
                self.refuse(404, "RepoNotFound")
            elif revision not in ("main", "v1", COMMIT):
                self.refuse(404, "RevisionNotFound")
            else:
                folder = hub.folders[name]
                files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
                siblings = [
                    {"rfilename": path.relative_to(folder).as_posix(), "size": path.stat().st_size}
                    for path in files
                ]
                self.send_json({
                    "id": name, "modelId": name, "sha": COMMIT, "siblings": siblings, "tags": [],
                    "private": False, "downloads": 0, "cardData": {"license": "apache-2.0"},
                })  # fmt: skip

        def file(self, name, file, with_body):
            data = (hub.folders[name] / file).read_bytes()
            first = int(
                self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0]
            )
            self.send_response(206 if first else 200)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{sha256(data).hexdigest()}"')
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(len(data) - first))
            if first:
                self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
            self.end_headers()
            if with_body and hub.breaks and file.endswith(".onnx"):
                hub.breaks -= 1
                self.wfile.write(data[first : first + len(data) // 3])
                self.wfile.flush()
                self.connection.close()
                self.close_connection = True
            elif with_body:
                self.wfile.write(data[first:])

        def refuse(self, status, code):
            self.send_json({"error": "no"}, status, {"X-Error-Code": code, "X-Error-Message": "no"})

        def send_json(self, value, status=200, headers=None):
            body = json.dumps(value).encode()
            self.send_response(status)
            for key, one in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(key, one)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

    return Handler


@contextmanager
def fake_hub(folders):
    """The hub, and its address, while it runs."""
    hub = Hub(folders)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(hub))
    server.daemon_threads = True
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
