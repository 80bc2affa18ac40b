"""As much of Kubernetes as Snakemake's executor asks for; a pod is a process in an empty folder."""

from __future__ import annotations

import base64
import http.server
import json
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


@dataclass
class Pods:
    """A server of jobs.

    Attributes:
        address: for a kubeconfig.
        path: PATH within pods.
        jobs: what was submitted, by name.
        ended: how each did, and what it printed.
        secrets: by name.
    """

    path: str
    address: str = ""
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    ended: dict[str, Future[subprocess.CompletedProcess[str]]] = field(default_factory=dict)
    secrets: dict[str, dict[str, str]] = field(default_factory=dict)
    workers: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))

    def containers(self) -> list[dict[str, Any]]:
        """What each job asked for, in the order of submission."""
        return [job["spec"]["template"]["spec"]["containers"][0] for job in self.jobs.values()]

    def output(self) -> str:
        """What all pods have printed that have ended."""
        return "\n".join(pod.result().stdout for pod in self.ended.values() if pod.done())

    def submit(self, job: dict[str, Any]) -> None:
        """Queue a job."""
        name = job["metadata"]["name"]
        self.jobs[name] = job
        self.ended[name] = self.workers.submit(self._run, self.containers()[-1])

    def status(self, name: str) -> dict[str, int]:
        """A job's state in Kubernetes' words."""
        pod = self.ended[name]
        if not pod.done():
            return {"active": 1}
        return {"failed": 1} if pod.result().returncode else {"succeeded": 1}

    def _run(self, container: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        """Only what is in the image, the container's variables and an empty folder."""
        given = {}
        for variable in container["env"]:
            reference = variable["valueFrom"]["secretKeyRef"]
            value = self.secrets[reference["name"]][reference["key"]]
            given[variable["name"]] = base64.b64decode(value).decode()
        with tempfile.TemporaryDirectory() as home, tempfile.TemporaryDirectory() as folder:
            return subprocess.run(
                [*container["command"], *container["args"]], cwd=folder,
                env={"PATH": self.path, "HOME": home, "OMP_NUM_THREADS": "1", **given},
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
            )  # fmt: skip


@contextmanager
def serve_pods(path: str, kubeconfig: Path) -> Iterator[Pods]:
    """A server on this machine, as long as the context lasts, and the file that says where."""
    pods = Pods(path)

    class Handler(_Handler):
        served = pods

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    pods.address = f"http://127.0.0.1:{server.server_port}"
    kubeconfig.write_text(json.dumps(_configuration(pods.address)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield pods
    finally:
        pods.workers.shutdown(cancel_futures=True)
        server.shutdown()
        server.server_close()


def _configuration(address: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "here", "cluster": {"server": address}}],
        "users": [{"name": "me", "user": {}}],
        "contexts": [{"name": "test", "context": {"cluster": "here", "user": "me"}}],
        "current-context": "test",
    }


class _Handler(http.server.BaseHTTPRequestHandler):
    served: Pods
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        kind, name = self._place()
        if kind == "jobs":
            self._answer({**self.served.jobs[name], "status": self.served.status(name)})
        else:
            self._answer({"items": []})

    def do_POST(self) -> None:
        kind, _ = self._place()
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if kind == "jobs":
            self.served.submit(body)
        else:
            self.served.secrets[body["metadata"]["name"]] = body["data"]
        self._answer(body)

    def do_DELETE(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"] or 0))
        self._answer({})

    def _place(self) -> tuple[str, str]:
        """`jobs` or `secrets` or `pods`, and the name of one."""
        words = urlsplit(self.path).path.split("/namespaces/")[1].split("/")
        return words[1], words[2] if len(words) > 2 else ""

    def _answer(self, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing is printed."""
