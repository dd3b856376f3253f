"""The wire of Elasticsearch, as much of it as the store uses: for its versions, its faults, and what it was sent.

No server: it keeps documents in a dict, takes every field, and answers no search but that of all documents of a run.
"""

from __future__ import annotations

import http.server
import json
import threading
from contextlib import contextmanager
from urllib.parse import urlsplit

ROOT = {
    "7": {"number": "7.17.28", "build_flavor": "default"},
    "8": {"number": "8.19.2", "build_flavor": "default"},
    "9": {"number": "9.2.1", "build_flavor": "default"},
    "opensearch": {"number": "2.19.1", "distribution": "opensearch"},
}


class Fake(http.server.ThreadingHTTPServer):
    """A node.

    Attributes:
        requests: (method, path, headers, body) of each, in order.
        documents: {index: {id: source}}; nodes that share it are a cluster.
        templates: {name: body}.
        made: {index: {"mappings": ...}}, for those that were made before their first document.
        answer: asked first with (method, path, body); gives (status, headers, text) or None for the usual answer.
        item: asked for each document of a bulk with (index, id, source); gives an item's result, or None.
    """

    daemon_threads = True

    def __init__(self, version="8", documents=None, context=None, tagline="You Know, for Search"):
        super().__init__(("127.0.0.1", 0), _Handler)
        if context:
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.version = ROOT[version] if isinstance(version, str) else version
        self.tagline = tagline
        self.requests = []
        self.templates = {}
        self.made = {}
        self.documents = {} if documents is None else documents
        self.answer = lambda *_asked: None
        self.item = lambda *_document: None

    @property
    def port(self):
        return self.server_port

    def handle_error(self, *_args):
        pass  # a client that went away, as it should

    def bulk(self, body):
        """Carry out a bulk request; return its answer."""
        lines = [json.loads(line) for line in body.splitlines()]
        items = []
        for action, source in zip(lines[::2], lines[1::2], strict=True):
            index, id_ = action["create"]["_index"], action["create"]["_id"]
            kept = self.documents.setdefault(index, {})
            result = self.item(index, id_, source)
            if result is None:
                result = {"status": 409, "error": {"type": "version_conflict_engine_exception", "reason": "exists"}}
                if id_ not in kept:
                    kept[id_] = source
                    result = {"status": 201}
            items.append({"create": {"_id": id_, **result}})
        return {"items": items}

    def usual(self, method, path, body):
        """Return (status, content) as the real one would."""
        if path == "/":
            return 200, {"version": self.version, "tagline": self.tagline}
        if path.startswith("/_index_template/"):
            return self._template(method, path.removeprefix("/_index_template/"), body)
        if path.endswith("/_mapping"):
            return self._mapping(path.split("/")[1])
        if path.startswith("/_bulk"):
            return 200, self.bulk(body)
        if path.startswith("/_mget"):
            docs = [self.documents.get(doc["_index"], {}).get(doc["_id"]) for doc in json.loads(body)["docs"]]
            return 200, {"docs": [{"found": doc is not None, **({"_source": doc} if doc else {})} for doc in docs]}
        if "/_refresh" in path:
            return 200, {"_shards": {"failed": 0}}
        if "/_search" in path:
            return 200, self._search()
        if method == "PUT" and path.count("/") == 1:
            self.made[path[1:]] = {"mappings": {**self._given().get("mappings", {}), **json.loads(body)["mappings"]}}
            return 200, {"acknowledged": True}
        return 404, {"error": {"type": "no_such_path", "reason": path}}

    def _mapping(self, names):
        if "*" in names:
            return 200, self.made
        if names not in self.made:
            return 404, {"error": {"type": "index_not_found_exception", "reason": names}}
        return 200, {names: self.made[names]}

    def _given(self):
        """Return what the template gives to indices."""
        return next((template["template"] for template in self.templates.values()), {})

    def _template(self, method, name, body):
        if name.startswith("_simulate_index/"):
            return 200, {"template": self._given()} if self.templates else {}
        if method == "PUT":
            self.templates[name] = json.loads(body)
            return 200, {"acknowledged": True}
        if name not in self.templates:
            return 404, {"error": {"type": "resource_not_found_exception", "reason": f"[{name}] not found"}}
        return 200, {"index_templates": [{"name": name, "index_template": self.templates[name]}]}

    def _search(self):
        sources = [source for kept in self.documents.values() for source in kept.values()]
        sources.sort(key=lambda source: (source["ave"]["time"], source["ave"]["order"]))
        hits = [{"_source": source, "sort": [source["ave"]["time"], source["ave"]["order"]]} for source in sources]
        kinds = [source["ave"]["kind"] for source in sources]
        buckets = [{"key": kind, "doc_count": kinds.count(kind)} for kind in sorted(set(kinds))]
        return {"hits": {"hits": hits}, "aggregations": {"kinds": {"buckets": buckets}}, "_shards": {"failed": 0}}


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _do(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = urlsplit(self.path).path
        self.server.requests.append((self.command, path, dict(self.headers), body))
        said = self.server.answer(self.command, path, body)
        if said is None:
            status, content = self.server.usual(self.command, path, body)
            said = status, {"X-Elastic-Product": "Elasticsearch"}, json.dumps(content).encode()
        status, headers, text = said
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": len(text), **headers}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _do

    def log_message(self, *_args):
        pass


@contextmanager
def serving(*fakes):
    """Serve while the block runs."""
    for fake in fakes:
        threading.Thread(target=fake.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield
    finally:
        for fake in fakes:
            fake.shutdown()
            fake.server_close()
