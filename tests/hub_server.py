"""A Hugging Face Hub of one process: the endpoints that the client's create, commit, list and download calls need.

Every file goes the "regular" way, inside the commit; large-file storage (LFS, Xet) is not spoken.
"""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_test"


class HubServer(ThreadingHTTPServer):
    """Repositories as commits, each a dict from path to bytes; branches name one."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, dict[str, list[dict[str, bytes]]]] = {}
        self.private: set[str] = set()
        self.requests: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def files(self, repo: str, branch: str = "main") -> dict[str, bytes]:
        return self.repositories[repo][branch][-1]

    def find(self, repo: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """The commit of a branch or digest."""
        branches = self.repositories.get(repo, {})
        if revision in branches:
            commits = branches[revision]
            return digest_of(commits[-1]), commits[-1]
        every = (commit for commits in branches.values() for commit in commits)
        return next(((revision, item) for item in every if digest_of(item) == revision), None)


def digest_of(files: dict[str, bytes]) -> str:
    return hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    server: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        return

    def _answer(self, value: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for key, one in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(key, one)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _missing(self, code: str) -> None:
        self._answer({"error": "not found"}, 404, {"X-Error-Code": code})

    def _may(self, repo: str) -> bool:
        return repo not in self.server.private or self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = self.path.partition("?")[0].strip("/").split("/")
        self.server.requests.append(f"{self.command} {self.path}")
        if parts[:2] == ["api", "models"] and len(parts) >= 4:
            repo, revision = "/".join(parts[2:4]), parts[5] if len(parts) > 5 else "main"
            found = self.server.find(repo, revision) if self._may(repo) else None
            if found is None:
                return self._missing("RepoNotFound" if repo not in self.server.repositories else "RevisionNotFound")
            siblings = [{"rfilename": name, "size": len(data)} for name, data in found[1].items()]
            if parts[4:5] == ["tree"]:
                listed = [
                    {"type": "file", "path": sibling["rfilename"], "size": sibling["size"], "oid": "0"}
                    for sibling in siblings
                ]
                return self._answer(listed)
            return self._answer({"id": repo, "modelId": repo, "sha": found[0], "siblings": siblings})
        if len(parts) < 5 or parts[2] != "resolve":
            return self._missing("EntryNotFound")
        repo, revision, name = "/".join(parts[:2]), parts[3], "/".join(parts[4:])
        found = self.server.find(repo, revision) if self._may(repo) else None
        if found is None:
            return self._missing("RepoNotFound")
        if name not in found[1]:
            return self._missing("EntryNotFound")
        data = found[1][name]
        tag = f'"{hashlib.sha1(data).hexdigest()}"'
        return self._answer(data, headers={"ETag": tag, "X-Repo-Commit": found[0]})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        parts = self.path.partition("?")[0].strip("/").split("/")
        self.server.requests.append(f"POST {self.path}")
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._answer({"error": "Invalid credentials"}, 401)
        if parts == ["api", "validate-yaml"]:
            return self._answer({"errors": [], "warnings": []})
        if parts == ["api", "repos", "create"]:
            return self._create(json.loads(body))
        repo, verb = "/".join(parts[2:4]), parts[4]
        branches = self.server.repositories[repo]
        if verb == "branch":
            branches.setdefault(parts[5], [branches["main"][-1]])
            return self._answer({})
        if verb == "preupload":
            asked = json.loads(body)["files"]
            files = [{"path": item["path"], "uploadMode": "regular", "shouldIgnore": False} for item in asked]
            return self._answer({"files": files})
        assert verb == "commit"
        files = dict(branches[parts[5]][-1])
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            if line["key"] == "deletedFile":
                del files[line["value"]["path"]]
        branches[parts[5]].append(files)
        url = f"{self.server.address}/{repo}/commit/{digest_of(files)}"
        return self._answer({"commitUrl": url, "commitOid": digest_of(files), "pullRequestUrl": None})

    def _create(self, values: dict[str, Any]) -> None:
        repo = "/".join(filter(None, (values.get("organization"), values["name"])))
        if repo in self.server.repositories:
            return self._answer({"url": f"{self.server.address}/{repo}"}, 409)
        self.server.repositories[repo] = {"main": [{".gitattributes": b""}]}
        if values.get("private") or values.get("visibility") == "private":
            self.server.private.add(repo)
        return self._answer({"url": f"{self.server.address}/{repo}"})


@contextmanager
def running_hub() -> Iterator[HubServer]:
    server = HubServer()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
