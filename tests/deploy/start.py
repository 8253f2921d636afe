"""start.py BINARY FILE...: whether the binary takes the arguments of rendered manifests as they are.

Each container with Sabre's image is started with its arguments, but for paths that are mounted, addresses, and the bucket, which is a
folder. It must be healthy, or have ended well, and end well when it is told to. A querier looks up names that are not there; a sidecar
waits for its Prometheus. es-retention has a plan of its own elsewhere.
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

import yaml

from actions import answers, free_port, wait_for
from manifests import WORKLOADS, is_ours, pod_of


def containers(file):
    for document in yaml.safe_load_all(pathlib.Path(file).read_text()):
        if document and document["kind"] in WORKLOADS:
            pod = pod_of(document)["spec"]
            for container in pod.get("initContainers", []) + pod["containers"]:
                if is_ours(container) and container["args"][0] != "es-retention":
                    yield f"{document['metadata']['name']}/{container['name']}", container["args"]


def mapped(arguments, root, port):
    """The arguments with paths below `root`, and free ports."""
    for word in arguments:
        if word.startswith("--http-address="):
            yield f"--http-address=127.0.0.1:{port}"
        elif word.startswith("--grpc-address="):
            yield f"--grpc-address=127.0.0.1:{free_port()}"
        elif word.startswith("--objstore.config-file="):
            yield f"--objstore.config-file={root}/bucket.yaml"
        else:
            yield re.sub(r"^(--[\w.-]+=)(/\S+)$", rf"\1{root}\2", word)


def start(binary, name, arguments, root):
    port = free_port()
    words = list(mapped(arguments, root, port))
    for word in words:
        # Mounts are there before a container starts.
        path = re.match(rf"--[\w.-]+=({root}/\S+)$", word)
        if path:
            folder = pathlib.Path(path[1])
            (folder.parent if folder.suffix else folder).mkdir(parents=True, exist_ok=True)
        if word.startswith("--reloader.config-file="):
            folder.write_text("global: {external_labels: {replica: $(POD_NAME)}}\n")
    log = root / "log"
    with open(log, "w", encoding="utf-8") as output:
        process = subprocess.Popen([binary, *words], stderr=output, stdout=output, env={**os.environ, "POD_NAME": "pod-0"})
    try:
        wait_for(f"{name} to be healthy: {' '.join(words)}", lambda: answers(f"http://127.0.0.1:{port}/-/healthy") or process.poll() is not None, 20)
        if process.poll() is not None:
            raise SystemExit(f"{name} ended with {process.returncode}:\n{log.read_text()}")
    finally:
        process.terminate()
    if process.wait(30) != 0:
        raise SystemExit(f"{name} ended with {process.returncode} when it was told to end:\n{log.read_text()}")


def main():
    binary, *files = sys.argv[1:]
    count = 0
    for file in files:
        for name, arguments in containers(file):
            with tempfile.TemporaryDirectory() as folder:
                root = pathlib.Path(folder)
                (root / "bucket").mkdir()
                (root / "bucket.yaml").write_text(f"type: FILESYSTEM\nconfig: {{directory: {folder}/bucket}}\n")
                start(binary, name, arguments, root)
            count += 1
    print(f"{count} containers started with the arguments of their manifests")


if __name__ == "__main__":
    main()
