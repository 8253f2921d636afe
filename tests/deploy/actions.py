"""actions.py BINARY VERSITYGW PROMETHEUS PROMTOOL: the S3 actions that each component calls, against deploy/iam.

Runs a sidecar beside a Prometheus with some blocks, a compactor that compacts and deletes, a store, and the tools, against a real S3
server behind a proxy that notes each request. What is called must be allowed, and what is allowed must be called, but for what only
follows failures. The CloudFormation template must allow the same.
"""

import http.client
import http.server
import json
import os
import pathlib
import random
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request

DEPLOY = pathlib.Path(__file__).resolve().parents[2] / "deploy"
# An upload is aborted when a part of it failed.
ONLY_AFTER_FAILURES = {"s3:AbortMultipartUpload"}
BUCKET = "metrics"
GIVEN_PORTS = set()


def action_of(method, target):
    """The action that IAM asks for, for a request in path style."""
    url = urllib.parse.urlsplit(target)
    query = urllib.parse.parse_qs(url.query, keep_blank_values=True)
    _, bucket, *key = url.path.split("/", 2)
    if not bucket:
        return "s3:ListAllMyBuckets"
    if not key or not key[0]:
        if method in ("GET", "HEAD"):
            if "uploads" in query:
                return "s3:ListBucketMultipartUploads"
            return "s3:GetBucketLocation" if "location" in query else "s3:ListBucket"
        return "s3:DeleteObject" if method == "POST" and "delete" in query else f"{method} of the bucket"
    if method == "DELETE":
        return "s3:AbortMultipartUpload" if "uploadId" in query else "s3:DeleteObject"
    if method == "GET" and "uploadId" in query:
        return "s3:ListMultipartUploadParts"
    return {"GET": "s3:GetObject", "HEAD": "s3:GetObject", "PUT": "s3:PutObject", "POST": "s3:PutObject"}[method]


class Proxy(http.server.ThreadingHTTPServer):
    """Hands requests on with their Host, so that signatures stay right, and notes their actions."""

    daemon_threads = True

    def __init__(self, server):
        super().__init__(("127.0.0.1", 0), Handler)
        self.server = server
        self.actions = set()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def taken(self):
        actions, self.actions = self.actions, set()
        return actions


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_any(self):
        self.server.actions.add(action_of(self.command, self.path))
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        upstream = http.client.HTTPConnection(self.server.server)
        upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in ("expect", "connection"):
                upstream.putheader(name, value)
        upstream.endheaders(body)
        answer = upstream.getresponse()
        data = answer.read()
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                self.send_header(name, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else len(data)
        self.send_header("Content-Length", length or 0)
        self.end_headers()
        self.wfile.write(data)
        upstream.close()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any

    def log_message(self, *_):
        pass


def free_port():
    """A port that nobody listens at, no other call was given, and no connection out is given as its own: those begin at 32768."""
    while True:
        port = random.randrange(20000, 32768)
        with socket.socket() as found:
            try:
                found.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in GIVEN_PORTS:
            GIVEN_PORTS.add(port)
            return port


def wait_for(what, done, seconds=60, tail=lambda: ""):
    """Waits until it is so; a server that cannot say in time is asked again."""
    end = time.monotonic() + seconds
    while not is_so(done):
        if time.monotonic() > end:
            raise SystemExit(f"gave up waiting for {what}\n{tail()}")
        time.sleep(0.2)


def is_so(done):
    try:
        return done()
    except (OSError, http.client.HTTPException):
        return False


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def metric(url, name):
    """The sum over all labels."""
    with urllib.request.urlopen(url + "/metrics", timeout=5) as answer:
        return sum(float(value) for value in re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", answer.read().decode(), re.M))


class Stand:
    """The processes of the test, ended in the end."""

    def __init__(self, arguments):
        self.binary, self.versitygw, self.prometheus, self.promtool = arguments
        self.running = []

    def start(self, *words, env=None):
        process = subprocess.Popen(words, env={**os.environ, **(env or {})}, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        self.running.append(process)
        return process

    def stop(self):
        for process in reversed(self.running):
            process.terminate()
        for process in self.running:
            process.wait(30)


def make_blocks(stand, root):
    """Five blocks of two hours that ended yesterday."""
    start = (int(time.time()) // 86400 - 1) * 86400
    lines = ["# TYPE seen counter"]
    for series in range(20):
        for at in range(start, start + 10 * 3600, 60):
            lines.append(f'seen_total{{series="{series}"}} {at - start} {at}')
            if (at + 60) % 7200 == 0:
                # The last millisecond of a block, so that blocks touch and are compacted.
                lines.append(f'seen_total{{series="{series}"}} {at - start} {at + 59}.999')
    (root / "samples").write_text("\n".join(lines) + "\n# EOF\n")
    subprocess.run(
        [stand.promtool, "tsdb", "create-blocks-from", "openmetrics", root / "samples", root / "prometheus"],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )


def start_prometheus(stand, root):
    (root / "prometheus.yml").write_text("global: {external_labels: {replica: a}}\n")
    url = f"http://127.0.0.1:{free_port()}"
    stand.start(
        stand.prometheus, f"--config.file={root}/prometheus.yml", f"--storage.tsdb.path={root}/prometheus",
        "--storage.tsdb.min-block-duration=2h", "--storage.tsdb.max-block-duration=2h", f"--web.listen-address={url[7:]}",
    )
    wait_for("Prometheus", lambda: answers(url + "/-/ready"))
    return url


def run(stand, root, proxy):
    """{policy: actions}"""
    objstore = root / "bucket.yaml"
    objstore.write_text(
        f"type: S3\nconfig: {{bucket: {BUCKET}, endpoint: '127.0.0.1:{proxy.server_port}', insecure: true, region: us-east-1, "
        "access_key: AK, secret_key: SK, part_size: 5242880}\n"
    )
    bucket = f"--objstore.config-file={objstore}"
    called = {}

    def serve(*words):
        http_port, grpc_port = free_port(), free_port()
        words = [*words, bucket, f"--http-address=127.0.0.1:{http_port}"]
        if words[0] != "compact":
            words.append(f"--grpc-address=127.0.0.1:{grpc_port}")
        process = stand.start(stand.binary, *words)
        return process, f"http://127.0.0.1:{http_port}"

    def once(*words):
        subprocess.run([stand.binary, *words, bucket], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def list_blocks():
        done = subprocess.run([stand.binary, "tools", "bucket", "ls", bucket], check=True, capture_output=True, text=True)
        return done.stdout.split()

    prometheus = start_prometheus(stand, root)
    process, url = serve("sidecar", f"--prometheus.url={prometheus}", f"--tsdb.path={root}/prometheus")
    wait_for("the sidecar", lambda: answers(url + "/-/healthy"))
    wait_for("five blocks to be shipped", lambda: metric(url, "thanos_shipper_uploads_total") >= 5)
    process.terminate()
    process.wait(30)
    called["sidecar"] = proxy.taken()

    blocks = list_blocks()
    once("tools", "bucket", "inspect")
    once("tools", "bucket", "verify")
    process, url = serve("store", f"--data-dir={root}/store")
    wait_for("the store", lambda: answers(url + "/-/ready"))
    wait_for("its blocks", lambda: metric(url, "thanos_bucket_store_blocks_loaded") >= 5)
    process.terminate()
    process.wait(30)
    called["store"] = proxy.taken()

    once("tools", "bucket", "mark", f"--id={blocks[0]}", "--marker=no-downsample-mark.json", "--details=a try")
    once("tools", "bucket", "mark", f"--id={blocks[0]}", "--marker=no-downsample-mark.json", "--remove")
    once("compact", f"--data-dir={root}/compact", "--consistency-delay=0s", "--delete-delay=0s", "--http-address=127.0.0.1:0")
    once("tools", "bucket", "cleanup", "--delete-delay=0s", "--consistency-delay=0s")
    called["compact"] = proxy.taken()
    left = list_blocks()
    if not set(left) - set(blocks):
        raise SystemExit(f"nothing was compacted: {left}")
    return called


def allowed(file):
    actions = set()
    for statement in json.loads(file.read_text())["Statement"]:
        action = statement["Action"]
        actions |= {action} if isinstance(action, str) else set(action)
    return actions


def allowed_by_template(role):
    """The S3 actions of a role of the template, which is simple enough to be read as text."""
    text = (DEPLOY / "cloudformation/sabre.yaml").read_text()
    body = text.split(f"\n  {role}:\n", 1)[1]
    body = re.split(r"\n  \w+:\n", body, maxsplit=1)[0]
    return set(re.findall(r"s3:\w+", body))


def compare(called):
    failed = False
    for component, actions in called.items():
        policy = allowed(DEPLOY / f"iam/{component}.json")
        problems = [f"calls {action}, which is not allowed" for action in sorted(actions - policy)]
        problems += [f"may {action} and never does" for action in sorted(policy - actions - ONLY_AFTER_FAILURES)]
        if allowed_by_template(component.capitalize() + "Role") != policy:
            problems.append("may do something else in the CloudFormation template")
        print(f"{component}: {', '.join(sorted(actions))}: {'; '.join(problems) or 'as in its policy'}")
        failed |= bool(problems)
    if failed:
        raise SystemExit(1)


def main():
    stand = Stand(sys.argv[1:])
    with tempfile.TemporaryDirectory() as name:
        root = pathlib.Path(name)
        for folder in ("s3/" + BUCKET, "prometheus"):
            (root / folder).mkdir(parents=True)
        make_blocks(stand, root)
        server = f"127.0.0.1:{free_port()}"
        try:
            stand.start(
                stand.versitygw, "--access", "AK", "--secret", "SK", "--region", "us-east-1", "--port", server, "--quiet",
                "posix", str(root / "s3"),
            )
            proxy = Proxy(server)
            host, port = server.split(":")
            wait_for("the S3 server", lambda: socket.socket().connect_ex((host, int(port))) == 0)
            compare(run(stand, root, proxy))
        finally:
            stand.stop()


if __name__ == "__main__":
    main()
