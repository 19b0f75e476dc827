"""A hub on this machine, which answers as the real one does to what pushes and downloads: over HTTP, on a free port.

`with LoopbackHub(mode="lfs") as hub:` starts it. Modes are those that the hub chooses between for large files:
`regular` (inside the commit), `lfs` (one PUT), `multipart` (a PUT for each part), `xet` (hf_xet stores them, here in
the folder `store`; they cannot be downloaded again). What is to go wrong is scripted:
`hub.fail("POST", "/commit/", 500, times=2)`, or `CUT` for a connection that breaks off in the middle of a request, or
`HANG` for an answer that never comes.
"""

import base64
import hashlib
import json
import os
import re
import sys
import threading
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "hf_" + "loopback" * 4
CUT, HANG = 0, -1
LARGE = (".safetensors", ".png", ".jsonl")
"""What .gitattributes of a new repository gives to LFS."""


@dataclass
class Repo:
    kind: str
    private: bool
    commits: dict[str, dict[str, str]] = field(default_factory=dict)
    """commit -> path -> SHA-256 of its content."""
    refs: dict[str, str] = field(default_factory=dict)

    def commit(self, ref: str, files: dict[str, str]) -> str:
        sha = hashlib.sha1(f"{len(self.commits)}{sorted(files.items())}".encode()).hexdigest()
        self.commits[sha] = files
        self.refs[ref] = sha
        return sha

    def files(self, revision: str) -> tuple[str, dict[str, str]] | None:
        sha = self.refs.get(revision, revision)
        return (sha, self.commits[sha]) if sha in self.commits else None


@dataclass
class Asked:
    """A request as it came."""

    method: str
    path: str
    token: bool
    size: int


@dataclass
class Failure:
    method: str
    part: str
    status: int
    times: int
    after: int


class LoopbackHub:
    """Its address is `url`, what was asked of it `asked`, and what it holds `repos`."""

    def __init__(self, mode: str = "lfs", *, chunk: int = 1 << 18, store: Path | None = None) -> None:
        self.mode, self.chunk, self.store = mode, chunk, store
        self.stored: dict[str, int] = {}
        """Sizes of what hf_xet has stored, by SHA-256."""
        self.repos: dict[str, Repo] = {}
        self.blobs: dict[str, bytes] = {}
        self.parts: dict[tuple[str, int], bytes] = {}
        self.asked: list[Asked] = []
        self.failures: list[Failure] = []
        self.may_write = True
        self.hanging, self.over = threading.Event(), threading.Event()
        """Set once somebody waits for an answer that never comes (to what `hung` says), and at the end."""
        self.hung = ""
        self.lock = threading.RLock()

    def __enter__(self) -> "LoopbackHub":
        handler = type("Handler", (_Handler,), {"hub": self})
        self.server = _Server(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.server.shutdown()
        self.server.server_close()

    def fail(self, method: str, part: str, status: int, *, times: int = 1, after: int = 0) -> None:
        """Answer the next requests of this kind so, after the first `after` of them."""
        self.failures.append(Failure(method, part, status, times, after))

    def holds(self, folder: Path, name: str, kind: str = "model") -> str:
        """Put a folder's files there, as if somebody had pushed them; returns the commit."""
        repo = self.repos.setdefault(f"{kind}s/{name}", Repo(kind, False))
        return repo.commit(
            "main", {file.name: self.keep(file.read_bytes()) for file in sorted(folder.iterdir())}
        )

    def keep(self, content: bytes) -> str:
        oid = hashlib.sha256(content).hexdigest()
        self.blobs[oid] = content
        return oid

    def content(self, name: str, kind: str = "model", revision: str = "main") -> dict[str, bytes]:
        """path -> bytes of what it holds."""
        found = self.repos[f"{kind}s/{name}"].files(revision)
        assert found is not None
        return {path: self.blobs[oid] for path, oid in found[1].items()}

    def counts(self) -> Counter[str]:
        """Requests by method and first telling part of the path."""
        return Counter(f"{one.method} {_kind_of(one.path)}" for one in self.asked)

    def environment(self, home: Path, *, token: bool = True) -> dict[str, str]:
        """For a process that talks to it, with a home of its own."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("HF_", "HUGGING_FACE")) and name != "PYTHONDONTWRITEBYTECODE"
        }
        return kept | {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "0" if self.mode == "xet" else "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_OFFLINE": "0",
            **({"HF_TOKEN": TOKEN} if token else {}),
        }


def _kind_of(path: str) -> str:
    known = ("create", "preupload", "commit", "branch", "validate-yaml", "batch", "lfs", "resolve", "tree")
    return next((name for name in known if f"/{name}" in path), path)


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Whoever asked may have been killed; anything else is shown."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    hub: LoopbackHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_POST = do_PUT = do_GET

    def _answer(self) -> None:
        hub, split = self.hub, urlsplit(self.path)
        self.query = parse_qs(split.query)
        path = split.path
        sent = "authorization" in self.headers
        with hub.lock:
            hub.asked.append(Asked(self.command, path, sent, int(self.headers.get("content-length") or 0)))
            failure = next(
                (
                    one
                    for one in hub.failures
                    if one.method == self.command and one.part in path and one.times > 0
                ),
                None,
            )
            if failure is not None and failure.after > 0:
                failure.after -= 1
                failure = None
            elif failure is not None:
                failure.times -= 1
        if failure is not None and failure.status == HANG:
            hub.hung = path
            hub.hanging.set()
            hub.over.wait(120)
        if failure is not None and failure.status in (CUT, HANG):
            self.rfile.read(min(100, int(self.headers.get("content-length") or 0)))
            self.close_connection = True
            self.connection.close()
            return
        self.body = self._read()
        if failure is not None:
            self._json({"error": "scripted"}, failure.status, {"Retry-After": "0"})
            return
        with hub.lock:
            self._route(path)

    def _read(self) -> bytes:
        if self.headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline().strip() or b"0", 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def _route(self, path: str) -> None:
        for method, pattern, answer in _ROUTES:
            found = re.fullmatch(pattern, path)
            if found and self.command in method:
                answer(self, **{name: unquote(value) for name, value in found.groupdict().items() if value})
                return
        self._json({"error": f"no route {self.command} {path}"}, 404)

    def _json(self, content: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self._send(
            json.dumps(content).encode(), status, {"Content-Type": "application/json", **(headers or {})}
        )

    def _send(self, body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    # ---- who may ------------------------------------------------------------------------------------------

    def _token(self) -> bool:
        return self.headers.get("authorization") == f"Bearer {TOKEN}"

    def _repo(self, kind: str, name: str, *, write: bool = False) -> Repo | None:
        """The repository, or None after an answer that says why not."""
        repo = self.hub.repos.get(f"{kind}s/{name}")
        if write and not self._token():
            self._json({"error": "Invalid username or password."}, 401)
        elif repo is None or (repo.private and not self._token()):
            self._json({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
        elif write and not self.hub.may_write:
            self._json({"error": "no right"}, 403, {"X-Error-Message": "you may not write here"})
        else:
            return repo
        return None

    # ---- writing ------------------------------------------------------------------------------------------

    def create(self) -> None:
        asked = json.loads(self.body)
        kind, name = asked.get("type") or "model", f"{asked['organization'] or 'me'}/{asked['name']}"
        if not self._token():
            self._json({"error": "Invalid username or password."}, 401)
        elif not self.hub.may_write:
            self._json({"error": "no right"}, 403, {"X-Error-Message": "you may not create here"})
        elif f"{kind}s/{name}" in self.hub.repos:
            self._json({"error": "You already created this repo", "url": f"{self.hub.url}/{name}"}, 409)
        else:
            repo = self.hub.repos[f"{kind}s/{name}"] = Repo(kind, asked.get("visibility") == "private")
            repo.commit("main", {".gitattributes": self.hub.keep(b"*.safetensors filter=lfs\n")})
            self._json({"url": f"{self.hub.url}/{name}", "id": name, "name": name})

    def validate(self) -> None:
        """As the hub does: a base is an id, a licence a word."""
        front = f"{json.loads(self.body)['content']}---\n---\n".split("---\n")[1]
        wrong = re.findall(r"^base_model:\s*(?:['\"]?[./~]).*$", front, re.MULTILINE)
        errors = [{"message": f'"base_model" is not a model id: {line}'} for line in wrong]
        self._json({"errors": errors, "warnings": []}, 400 if errors else 200)

    def xet_token(self, kind: str, name: str, revision: str) -> None:
        if self._repo(kind, name, write=True):
            told = {"casUrl": f"local://{self.hub.store}", "accessToken": "xet", "exp": 2**31}
            headers = dict(zip(_XET, map(str, told.values()), strict=True))
            self._json(told, headers=headers)

    def branch(self, kind: str, name: str, branch: str) -> None:
        if repo := self._repo(kind, name, write=True):
            if branch in repo.refs:
                self._json({"error": "Reference already exists"}, 409)
            else:
                repo.refs[branch] = repo.refs["main"]
                self._json({})

    def preupload(self, kind: str, name: str, revision: str) -> None:
        repo = self._repo(kind, name, write=True)
        if repo is None:
            return
        if (found := repo.files(revision)) is None:
            self._json({"error": "Invalid rev id"}, 404, {"X-Error-Code": "RevisionNotFound"})
            return
        files = [
            {
                "path": one["path"],
                "uploadMode": self._mode(one["path"]),
                "shouldIgnore": False,
                "oid": self._oid(one["path"], found[1]),
            }
            for one in json.loads(self.body)["files"]
        ]
        self._json({"files": files})

    def _mode(self, path: str) -> str:
        return "lfs" if self.hub.mode != "regular" and path.endswith(LARGE) else "regular"

    def _oid(self, path: str, files: dict[str, str]) -> str | None:
        if path not in files:
            return None
        return files[path] if self._mode(path) == "lfs" else _git(self.hub.blobs[files[path]])

    def batch(self, name: str, kind: str = "model") -> None:
        if self._repo(kind.removesuffix("s/"), name, write=True) is None:
            return
        self._json(
            {"transfer": "basic", "objects": [self._object(one) for one in json.loads(self.body)["objects"]]}
        )

    def _object(self, one: dict) -> dict:
        oid, size, url = one["oid"], one["size"], self.hub.url
        if oid in self.hub.blobs:
            return {"oid": oid, "size": size}
        verify = {"href": f"{url}/lfs/{oid}/verify"}
        if self.hub.mode == "multipart":
            count = -(-size // self.hub.chunk)
            parts = {f"{part:05d}": f"{url}/lfs/{oid}/part/{part}" for part in range(1, count + 1)}
            upload = {
                "href": f"{url}/lfs/{oid}/complete",
                "header": {"chunk_size": str(self.hub.chunk), **parts},
            }
        else:
            upload = {"href": f"{url}/lfs/{oid}"}
        return {"oid": oid, "size": size, "actions": {"upload": upload, "verify": verify}}

    def put(self, oid: str, part: str = "") -> None:
        if part:
            self.hub.parts[oid, int(part)] = self.body
            self._send(b"", headers={"ETag": f'"{hashlib.md5(self.body).hexdigest()}"'})
        elif hashlib.sha256(self.body).hexdigest() == oid:
            self.hub.keep(self.body)
            self._send(b"")
        else:
            self._json({"error": "checksum"}, 400)

    def complete(self, oid: str) -> None:
        parts = json.loads(self.body)["parts"]
        whole = b"".join(self.hub.parts.pop((oid, one["partNumber"])) for one in parts)
        good = hashlib.sha256(whole).hexdigest() == oid
        if good:
            self.hub.keep(whole)
        self._json({"success": good}, 200 if good else 400)

    def verify(self, oid: str) -> None:
        size = json.loads(self.body)["size"]
        self._json({}, 200 if len(self.hub.blobs.get(oid, b"")) == size else 404)

    def commit(self, kind: str, name: str, revision: str) -> None:
        repo = self._repo(kind, name, write=True)
        if repo is None:
            return
        lines = [json.loads(line) for line in self.body.splitlines() if line]
        files = dict((repo.files(revision) or ("", {}))[1])
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = self.hub.keep(base64.b64decode(value["content"]))
            elif line["key"] == "lfsFile":
                if self.hub.mode == "xet":
                    self.hub.stored[value["oid"]] = value["size"]
                elif value["oid"] not in self.hub.blobs:
                    self._json({"error": "LFS object not uploaded"}, 400)
                    return
                files[value["path"]] = value["oid"]
        pull = "create_pr" in self.query
        ref = "refs/pr/1" if pull else revision
        sha = repo.commit(ref, files)
        url = f"{self.hub.url}/{name}"
        opened = f"{url}/discussions/1" if pull else None
        self._json({"commitOid": sha, "commitUrl": f"{url}/commit/{sha}", "pullRequestUrl": opened})

    # ---- reading ------------------------------------------------------------------------------------------

    def info(self, kind: str, name: str, revision: str = "main") -> None:
        repo = self._repo(kind, name)
        if repo is None:
            return
        if (found := repo.files(revision)) is None:
            self._json({"error": "Invalid rev id"}, 404, {"X-Error-Code": "RevisionNotFound"})
            return
        sha, files = found
        siblings = [
            {"rfilename": path, "size": self._size(oid), **self._lfs(path, oid)}
            for path, oid in files.items()
        ]
        card = _front(self.hub.blobs[files["README.md"]]) if "README.md" in files else None
        self._json({"id": name, "sha": sha, "private": repo.private, "siblings": siblings, "cardData": card})

    def _size(self, oid: str) -> int:
        return self.hub.stored[oid] if oid in self.hub.stored else len(self.hub.blobs[oid])

    def _lfs(self, path: str, oid: str) -> dict:
        size = self._size(oid)
        if self._mode(path) != "lfs":
            return {"blobId": _git(self.hub.blobs[oid])}
        return {"blobId": "0" * 40, "lfs": {"oid": oid, "sha256": oid, "size": size, "pointerSize": 130}}

    def tree(self, kind: str, name: str, revision: str) -> None:
        repo = self._repo(kind, name)
        if repo is None:
            return
        found = repo.files(revision)
        assert found is not None
        entries = []
        for path, oid in found[1].items():
            said = self._lfs(path, oid)
            entries.append(
                {
                    "type": "file",
                    "path": path,
                    "size": self._size(oid),
                    "oid": said["blobId"],
                    **({"lfs": said["lfs"]} if "lfs" in said else {}),
                }
            )
        self._json(entries)

    def resolve(self, name: str, revision: str, path: str, kind: str = "model") -> None:
        repo = self._repo(kind.removesuffix("s/"), name)
        if repo is None:
            return
        found = repo.files(revision)
        if found is None or path not in found[1]:
            code = "RevisionNotFound" if found is None else "EntryNotFound"
            commit = {"X-Repo-Commit": found[0]} if found else {}
            self._json({"error": "Entry not found"}, 404, {"X-Error-Code": code, **commit})
            return
        content = self.hub.blobs[found[1][path]]
        etag = found[1][path] if self._mode(path) == "lfs" else _git(content)
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": found[0], "Accept-Ranges": "bytes"}
        start = re.match(r"bytes=(\d+)-", self.headers.get("range") or "")
        if start and self.command == "GET":
            rest = content[int(start[1]) :]
            span = f"bytes {start[1]}-{len(content) - 1}/{len(content)}"
            self._send(rest, 206, {**headers, "Content-Range": span})
        else:
            self._send(content, headers=headers)


def _git(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _front(text: bytes) -> dict | None:
    import yaml

    parts = text.decode().split("---\n")
    return yaml.safe_load(parts[1]) if len(parts) > 2 and not parts[0] else None


_XET = ("X-Xet-Cas-Url", "X-Xet-Access-Token", "X-Xet-Token-Expiration")
_NAME = r"(?P<name>[^/]+/[^/]+)"
_API = rf"/api/(?P<kind>model|dataset)s/{_NAME}"
_AT = rf"/(?P<kind>datasets/)?{_NAME}"
_ROUTES = [
    ("POST", "/api/repos/create", _Handler.create),
    ("POST", "/api/validate-yaml", _Handler.validate),
    ("POST", rf"{_API}/branch/(?P<branch>[^/]+)", _Handler.branch),
    ("GET", rf"{_API}/xet-write-token/(?P<revision>[^/]+)", _Handler.xet_token),
    ("POST", rf"{_API}/preupload/(?P<revision>[^/]+)", _Handler.preupload),
    ("POST", rf"{_API}/commit/(?P<revision>[^/]+)", _Handler.commit),
    ("POST", rf"{_AT}\.git/info/lfs/objects/batch", _Handler.batch),
    ("PUT", "/lfs/(?P<oid>[0-9a-f]+)(?:/part/(?P<part>[0-9]+))?", _Handler.put),
    ("POST", "/lfs/(?P<oid>[0-9a-f]+)/complete", _Handler.complete),
    ("POST", "/lfs/(?P<oid>[0-9a-f]+)/verify", _Handler.verify),
    ("GET", rf"{_API}/tree/(?P<revision>[^/]+)", _Handler.tree),
    ("GET", rf"{_API}(?:/revision/(?P<revision>[^/]+))?", _Handler.info),
    ("GET HEAD", rf"{_AT}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", _Handler.resolve),
]
