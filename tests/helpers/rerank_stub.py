"""A rerank endpoint on loopback that scores documents by their length."""

import json
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@contextmanager
def server(answer):
    """A server on loopback; `answer` gives status and value for a path and body."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append((self.path, body, self.headers.get("Authorization")))
            status, value = answer(self.path, body)
            data = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.daemon_threads = True
    Thread(target=running.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{running.server_port}", asked
    finally:
        running.shutdown()
        running.server_close()


def lengths(documents):
    return [round(len(text) / 100, 3) for text in documents]


def results(path, body):
    """Cohere's, Jina's, vLLM's, Infinity's, LiteLLM's shape, best first."""
    rows = [
        {"index": i, "relevance_score": score, "document": {"text": "not looked at"}}
        for i, score in enumerate(lengths(body["documents"]))
    ]
    rows.sort(key=lambda row: -row["relevance_score"])
    return 200, {"id": "x", "model": body["model"], "results": rows, "usage": {"total_tokens": 12}}
