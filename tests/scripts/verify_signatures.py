#!/usr/bin/env python3
"""A server that lets botocore recompute the signature of every request over the exact bytes that came.

    verify_signatures.py --access-key KEY --secret-key SECRET [--session-token TOKEN] [--listen HOST:PORT] [--forward HOST:PORT]

Prints "listening on HOST:PORT".

A request whose signature botocore does not get is answered 403 with what differs. Others are answered 200 with what was
verified, or are passed on, byte by byte, to the server that --forward names. `GET /__report` (unsigned) tells how many there
were. A request with `fail=N` in its query is answered 503 the first N times that its target comes.
"""

import argparse
import collections
import datetime
import hashlib
import http.client
import http.server
import json
import threading

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

# What every signature has to cover; without these a request could be altered or replayed on its way.
MUST_BE_SIGNED = {"host", "x-amz-content-sha256", "x-amz-date"}
# What a proxy changes, which a signature must not cover.
MUST_NOT_BE_SIGNED = {"connection", "content-length", "transfer-encoding", "user-agent", "accept-encoding"}
MAX_SKEW_SECONDS = 300
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}

arguments = argparse.ArgumentParser()
arguments.add_argument("--access-key", required=True)
arguments.add_argument("--secret-key", required=True)
arguments.add_argument("--session-token")
arguments.add_argument("--listen", default="127.0.0.1:0")
arguments.add_argument("--forward")
given = arguments.parse_args()
keys = Credentials(given.access_key, given.secret_key, given.session_token)
forward = given.forward
lock = threading.Lock()
report = {"verified": 0, "refused": 0, "methods": collections.Counter(), "signatures": set(), "failures": []}
failed = collections.Counter()


class Refused(Exception):
    pass


def words_of(authorization):
    """AWS4-HMAC-SHA256 Credential=..., SignedHeaders=..., Signature=... as a dict."""
    algorithm, _, rest = authorization.partition(" ")
    if algorithm != "AWS4-HMAC-SHA256":
        raise Refused(f"no signature but {algorithm!r}")
    return dict(part.strip().split("=", 1) for part in rest.split(","))


def verify(method, target, headers, body):
    """Raises Refused unless botocore comes to the same signature. Returns it."""
    given = words_of(headers.get("authorization", ""))
    access_key, date, region, service, end = given["Credential"].split("/")
    if access_key != keys.access_key or end != "aws4_request":
        raise Refused(f"credential {given['Credential']}")
    if service not in ("es", "aoss"):
        raise Refused(f"service {service}")
    signed = given["SignedHeaders"].split(";")
    if signed != sorted(signed):
        raise Refused(f"signed headers are not in order: {signed}")
    missing = MUST_BE_SIGNED - set(signed)
    if keys.token:
        missing |= {"x-amz-security-token"} - set(signed)
    if body:
        missing |= {"content-type"} - set(signed)
    if missing:
        raise Refused(f"not signed: {missing}")
    if MUST_NOT_BE_SIGNED & set(signed):
        raise Refused(f"signed: {MUST_NOT_BE_SIGNED & set(signed)}")
    if keys.token and headers["x-amz-security-token"] != keys.token:
        raise Refused("another session token")
    timestamp = headers["x-amz-date"]
    sent = datetime.datetime.strptime(timestamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc)
    skew = abs((datetime.datetime.now(datetime.timezone.utc) - sent).total_seconds())
    if skew > MAX_SKEW_SECONDS or not timestamp.startswith(date):
        raise Refused(f"signed at {timestamp}, {skew} s off, scope {date}")
    if headers["x-amz-content-sha256"] != hashlib.sha256(body).hexdigest():
        raise Refused("x-amz-content-sha256 is not the body's")

    # The target as it stood in the request line: botocore gets no decoded form of it.
    request = AWSRequest(method=method, url=f"http://{headers['host']}{target}", data=body)
    for name in signed:
        request.headers[name] = headers[name]
    request.context["timestamp"] = timestamp
    signer = SigV4Auth(keys, service, region)
    canonical = signer.canonical_request(request)
    signature = signer.signature(signer.string_to_sign(request, canonical), request)
    if signature != given["Signature"]:
        raise Refused(f"botocore signs otherwise:\n{canonical}")
    return signature


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def answer(self, status, body, headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def answer_json(self, status, value):
        self.answer(status, json.dumps(value).encode(), [("Content-Type", "application/json")])

    def handle_any(self):
        # `self.path` has leading slashes squeezed; the request line has the bytes.
        target = self.raw_requestline.decode("latin-1").split(" ")[1]
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if target == "/__report":
            with lock:
                self.answer_json(200, {**report, "signatures": len(report["signatures"])})
            return
        headers = {}
        for name, value in self.headers.items():
            headers[name.lower()] = value
        try:
            signature = verify(self.command, target, headers, body)
        except (Refused, KeyError, ValueError) as problem:
            with lock:
                report["refused"] += 1
                report["failures"].append(f"{self.command} {target}: {problem!r}")
            self.answer_json(403, {"refused": f"{problem}"})
            return
        with lock:
            report["verified"] += 1
            report["methods"][self.command] += 1
            report["signatures"].add(signature)
            wanted = int(target.partition("fail=")[2].partition("&")[0] or 0)
            failed[target] += 1
            fails = failed[target] <= wanted
        if fails:
            self.answer_json(503, {"refused": "not yet"})
        elif forward:
            self.pass_on(target, headers, body)
        else:
            self.answer_json(200, {"signature": signature, "target": target, "body": body.decode("utf-8")})

    def pass_on(self, target, headers, body):
        connection = http.client.HTTPConnection(forward, timeout=120)
        kept = {name: value for name, value in headers.items() if name not in HOP_BY_HOP | {"authorization"}}
        try:
            connection.request(self.command, target, body=body or None, headers=kept)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as problem:
            print(f"{self.command} {target}: {forward} gave no answer: {problem!r}", flush=True)
            self.answer_json(502, {"error": f"{forward} gave no answer: {problem!r}"})
            return
        finally:
            connection.close()
        kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in HOP_BY_HOP]
        self.answer(answer.status, content, kept)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any


host, port = given.listen.rsplit(":", 1)
server = http.server.ThreadingHTTPServer((host, int(port)), Handler)
server.daemon_threads = True
print(f"listening on 127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
