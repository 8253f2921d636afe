"""refusals.py BINARY VERSITYGW: what the binary says to input that it cannot use, given as a container gets it.

Each must end with its code and a sentence that says what is wrong, where, and what to do. Where nothing of the network is needed to
know it, no port may have been bound before. Buckets are those of a real S3 server, behind a proxy that denies one action at a time.
"""

import os
import pathlib
import socket
import subprocess
import sys
import tempfile

from actions import Handler, Proxy, action_of, free_port, wait_for

CERTIFICATES = pathlib.Path(__file__).resolve().parents[2] / "lib/runtime/src/tls/certificates"
ULID = "01KE1Y3XTRWGF29YHY29V0RWTA"
LISTENING = "listening for"


class Denying(Handler):
    """Hands requests on, but for those of one action."""

    denied = ""

    def handle_any(self):
        if action_of(self.command, self.path) != Denying.denied:
            return super().handle_any()
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b"" if self.command == "HEAD" else b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
        self.send_response_only(403)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        return None

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any


class Cases:
    """Runs the binary and notes what is not said."""

    def __init__(self, binary, root):
        self.binary, self.root = binary, root
        self.problems, self.count = [], 0

    def says(self, code, parts, *words):
        """That the command ends with the code and all of the parts stand in what it says, and that it has not listened."""
        self.count += 1
        try:
            done = subprocess.run([self.binary, *words], capture_output=True, text=True, timeout=60, check=False)
            ended, said = done.returncode, done.stdout + done.stderr
        except subprocess.TimeoutExpired as expired:
            ended, said = "nothing within a minute", (expired.stderr or b"").decode()
        missing = [part for part in parts if part not in said]
        if ended != code or missing or LISTENING in said:
            self.problems.append(f"{' '.join(words)}\nended with {ended}, and not {code}; lacks {missing}:\n{said}")

    def logs(self, parts, *words):
        """That the command, which goes on, logs all of the parts."""
        self.count += 1
        log = self.root / "log"
        with open(log, "w", encoding="utf-8") as output:
            process = subprocess.Popen([self.binary, *words], stdout=output, stderr=output)
        try:
            wait_for("a word", lambda: all(part in log.read_text() for part in parts) or process.poll() is not None, 60)
        except SystemExit:
            pass
        finally:
            process.terminate()
            process.wait(60)
        missing = [part for part in parts if part not in log.read_text()]
        if missing:
            self.problems.append(f"{' '.join(words)}\nlacks {missing}:\n{log.read_text()}")

    def store(self, code, parts, *more, objstore=None):
        """The same of a store."""
        bucket = objstore or f"{{type: FILESYSTEM, config: {{directory: {self.root}/bucket}}}}"
        addresses = {"--http-address": "127.0.0.1:0", "--grpc-address": "127.0.0.1:0"}
        given = [word.split("=")[0] for word in more]
        words = [f"{flag}={value}" for flag, value in addresses.items() if flag not in given]
        self.says(code, parts, "store", f"--data-dir={self.root}/data", f"--objstore.config={bucket}", *words, *more)


def flags_and_files(cases):
    cases.store(2, ["unknown flag '--sync-block-duratoin'", "did you mean '--sync-block-duration'?", "sabre store --help"], "--sync-block-duratoin=3m")
    cases.store(2, ["flag 'log.level' cannot be repeated"], "--log.level=info", "--log.level=debug")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        cases.store(1, [f"--http-address: cannot listen on {address}", "Address already in use"], f"--http-address={address}")
    missing = f"{cases.root}/tls.crt"
    key = f"--grpc-server-tls-key={CERTIFICATES}/server.key.pem"
    cases.store(1, ["--grpc-server-tls-cert", missing, "cannot be read", "Secret"], f"--grpc-server-tls-cert={missing}", key)
    pathlib.Path(missing).write_text("nonsense")
    cases.store(1, ["--grpc-server-tls-cert", missing, "no certificate"], f"--grpc-server-tls-cert={missing}", key)
    other = f"{CERTIFICATES}/client.key.pem"
    cases.store(1, ["--grpc-server-tls-key", other, "not the key of the certificate"], f"--grpc-server-tls-cert={CERTIFICATES}/server.pem", f"--grpc-server-tls-key={other}")
    typo = "type: S3\nconfig:\n  bucket: metrics\n  endpont: s3.eu-west-1.amazonaws.com\n"
    cases.store(1, ["objstore.config", "line 4", "endpont", "endpoint"], objstore=typo)
    cases.store(1, ["--sabre.memory-budget", "more than the", "cgroup", "raise the memory limit"], "--sabre.memory-budget=1000TB")


def expired(cases):
    """It is used, as by Thanos, and named before the port is bound."""
    words = [
        cases.binary, "query", "--http-address=127.0.0.1:0", "--grpc-address=127.0.0.1:0",
        f"--grpc-server-tls-cert={CERTIFICATES}/expired.pem", f"--grpc-server-tls-key={CERTIFICATES}/server.key.pem",
    ]
    log = cases.root / "expired.log"
    cases.count += 1
    with open(log, "w", encoding="utf-8") as output:
        process = subprocess.Popen(words, stdout=output, stderr=output)
    try:
        wait_for("a querier with an expired certificate", lambda: LISTENING in log.read_text() or process.poll() is not None)
    finally:
        process.terminate()
        process.wait(60)
    before = log.read_text().split(LISTENING)[0]
    for part in ("level=warn", "--grpc-server-tls-cert", "expired.pem", "has expired: it ended at 2021-01-01T00:00:00Z", "renew it"):
        if part not in before:
            cases.problems.append(f"a querier with an expired certificate does not say {part} first:\n{log.read_text()}")


def buckets(cases, s3, proxy):
    def objstore(bucket="there", server=s3, region="us-east-1"):
        return f"{{type: S3, config: {{bucket: {bucket}, endpoint: '{server}', insecure: true, region: {region}, access_key: AK, secret_key: SK}}}}"

    def tool(parts, name, objstore, *more):
        cases.says(1, parts, "tools", "bucket", name, f"--objstore.config={objstore}", *more)

    tool(["missing", "NoSuchBucket", "check `bucket` and `endpoint`"], "ls", objstore(bucket="missing"))
    tool(["there", "eu-west-1", "check `region` and `endpoint`"], "ls", objstore(region="eu-west-1"))
    behind = objstore(server=f"127.0.0.1:{proxy.server_port}")
    mark = (f"--id={ULID}", "--marker=no-compact-mark.json")
    for action, name, more in (
        ("s3:ListBucket", "ls", ()),
        ("s3:GetObject", "ls", ()),
        ("s3:GetObject", "inspect", ()),
        ("s3:PutObject", "mark", (*mark, "--details=x")),
        ("s3:DeleteObject", "mark", (*mark, "--remove")),
    ):
        if action == "s3:DeleteObject":
            # There must be one to remove.
            Denying.denied = ""
            subprocess.run([cases.binary, "tools", "bucket", "mark", f"--objstore.config={behind}", *mark, "--details=x"], check=True, capture_output=True)
        Denying.denied = action
        tool([action, "there"], name, behind, *more)
    Denying.denied = "s3:ListBucket"
    for parts, given in (
        (["missing", "NoSuchBucket", "check `bucket` and `endpoint`"], objstore(bucket="missing")),
        (["there", "eu-west-1", "check `region` and `endpoint`"], objstore(region="eu-west-1")),
        (["s3:ListBucket", "there"], behind),
    ):
        compact = ("compact", f"--data-dir={cases.root}/compact", f"--objstore.config={given}", "--http-address=127.0.0.1:0")
        cases.logs([*parts, "level=error"], *compact)
        store = ("store", f"--data-dir={cases.root}/data", f"--objstore.config={given}", "--http-address=127.0.0.1:0", "--grpc-address=127.0.0.1:0")
        cases.logs([*parts, "first sync failed, trying again"], *store)
    Denying.denied = "s3:GetObject"
    tool(["s3:GetObject", f"{ULID} not verified", "1 issues found"], "verify", behind, f"--id={ULID}")


def main():
    binary, versitygw = os.path.abspath(sys.argv[1]), sys.argv[2]
    with tempfile.TemporaryDirectory() as name:
        root = pathlib.Path(name)
        (root / "bucket").mkdir()
        (root / "s3/there" / ULID).mkdir(parents=True)
        meta = f'{{"ulid":"{ULID}","version":1,"minTime":0,"maxTime":7200000,"thanos":{{"version":1,"labels":{{"a":"b"}}}}}}'
        (root / "s3/there" / ULID / "meta.json").write_text(meta)
        cases = Cases(binary, root)
        s3 = f"127.0.0.1:{free_port()}"
        server = subprocess.Popen(
            [versitygw, "--access", "AK", "--secret", "SK", "--region", "us-east-1", "--port", s3, "--quiet", "posix", root / "s3"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        try:
            wait_for("the S3 server", lambda: socket.socket().connect_ex(("127.0.0.1", int(s3.rpartition(":")[2]))) == 0)
            proxy = Proxy(s3)
            proxy.RequestHandlerClass = Denying
            flags_and_files(cases)
            expired(cases)
            buckets(cases, s3, proxy)
        finally:
            server.terminate()
            server.wait(30)
    for problem in cases.problems:
        print(problem, file=sys.stderr)
    if cases.problems:
        raise SystemExit(1)
    print(f"refusals: ok, {cases.count} of them")


if __name__ == "__main__":
    main()
