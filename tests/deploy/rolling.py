"""rolling.py BINARY VERSITYGW PROMETHEUS PROMTOOL KUSTOMIZE SEARCH: what the manifests describe, brought up without containers.

Renders overlays of deploy/, takes every container's arguments from what was rendered, and maps only addresses and paths (a name of DNS
becomes the addresses of its pods). Up come two Prometheus with sidecars, an S3 server, each store shard twice, the querier twice, the
compactor, and es-retention's jobs against a real OpenSearch (in the folder SEARCH, as tests/servers/build.sh makes it).

Then each pod is restarted in turn, the way a rolling update does it: told to end, started again, ready, and the next one after the
object's minReadySeconds. All the while clients ask both queriers, and go to the other one only when a connection is refused. Each answer must
be right and whole. No connection may be cut: a server that was told to end answers all whom the kernel has let in, and lets nobody in any more.

The daily job leaves its metrics at a push gateway, which here is a server that keeps the last page it was sent.

At the end a Prometheus scrapes all of it, and every query of the dashboards and alerts is asked (see monitoring.py).
"""

import datetime
import http.client
import http.server
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request

import yaml

import monitoring
from actions import answers, free_port, metric, wait_for
from manifests import is_ours, pod_of

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
HOUR = 3600
SERIES = 10
# Two hours of a block, as Prometheus cuts them.
BLOCK = 2 * HOUR
END = int(time.time()) // BLOCK * BLOCK - BLOCK
START = END - 10 * BLOCK
# Blocks that end before this are in the bucket alone once Prometheus has dropped them.
DROPPED = START + 5 * BLOCK
# The hours that a replica has missed: the other one, or the bucket, has them.
GAPS = {0: (START + 3 * HOUR, START + 3 * HOUR + 1800), 1: (START + 6 * HOUR, START + 6 * HOUR + 1800)}
LAG = 3 * 60
BUCKET = "example-metrics"


class Rendered:
    """The objects of an overlay, by kind and name."""

    def __init__(self, kustomize, folder):
        text = subprocess.run([kustomize, "build", DEPLOY / folder], check=True, capture_output=True, text=True).stdout
        documents = [document for document in yaml.safe_load_all(text) if document]
        self.objects = {(document["kind"], document["metadata"]["name"]): document for document in documents}

    def named(self, kind, start):
        return [document for (found, name), document in self.objects.items() if found == kind and name.startswith(start)]


class Pod:
    """One container with its arguments: a process that is started again with the same ones."""

    def __init__(self, name, words, root, http_port=None, env=None):
        self.name, self.words, self.port, self.env = name, words, http_port, env
        self.log = root / f"{name}.log"
        self.process = None

    def start(self):
        with open(self.log, "a", encoding="utf-8") as log:
            self.process = subprocess.Popen(self.words, stdout=log, stderr=log, env={**os.environ, **(self.env or {})})

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        if code != 0:
            raise SystemExit(f"{self.name} ended with {code}:\n{self.tail()}")

    def is_ready(self):
        if self.process.poll() is not None:
            raise SystemExit(f"{self.name} ended with {self.process.returncode}:\n{self.tail()}")
        return answers(f"http://127.0.0.1:{self.port}/-/ready")

    def wait_ready(self):
        wait_for(f"{self.name} to be ready", self.is_ready, 90, self.tail)

    def tail(self):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])


class Mapping:
    """From what a manifest says to this machine."""

    def __init__(self, root):
        self.root = root
        # {name of a headless service: addresses of its pods}
        self.names = {}
        # Where the daily job leaves its metrics.
        self.push_gateway = None

    def arguments(self, words, folder, http_port, grpc_port):
        """Each argument with its paths below `folder` and its addresses on this machine."""
        for word in words:
            flag, _, value = word.partition("=")
            name = re.match(r"dnssrv\+_grpc\._tcp\.([\w-]+)\.", value)
            if name:
                for address in self.names[name[1]]:
                    yield f"{flag}={address}"
            elif flag == "--http-address":
                yield f"{flag}=127.0.0.1:{http_port}"
            elif flag == "--metrics.push-gateway":
                yield f"{flag}=http://{self.push_gateway}"
            elif flag == "--grpc-address":
                yield f"{flag}=127.0.0.1:{grpc_port}"
            elif value.startswith("/"):
                yield f"{flag}={folder}{value}"
            else:
                yield word.replace("localhost:9090", f"127.0.0.1:{http_port}") if flag == "--prometheus.url" else word


def our_container(document):
    pod = pod_of(document)["spec"]
    return next(container for container in pod.get("initContainers", []) + pod["containers"] if is_ours(container))


def pause_after(document):
    """What is left of the object's minReadySeconds without looking names up, which takes queriers 30 s: addresses stay here."""
    return max(document["spec"].get("minReadySeconds", 0) - 30, 0)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


class Page(http.server.BaseHTTPRequestHandler):
    """What both Prometheus scrape, so that there is something that only they have."""

    def body(self):
        return b"# TYPE live gauge\nlive 42\n"

    def do_GET(self):
        body = self.body()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class PushGateway(Page):
    """Keeps the page that a job left, and shows it to who scrapes."""

    page = b""

    def body(self):
        return PushGateway.page

    def do_PUT(self):
        PushGateway.page = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()


class Stand:
    """Everything that runs."""

    def __init__(self, root, arguments):
        self.root = root
        self.binary, self.versitygw, self.prometheus, self.promtool, self.kustomize, self.search = arguments
        self.mapping = Mapping(root)
        self.others = []
        # [(pods that are restarted together, seconds to wait after them)] in the order of a rolling update
        self.rolls = []
        # Blocks that the sidecars have put into the bucket
        self.shipped = set()

    def spawn(self, name, *words, env=None):
        pod = Pod(name, [str(word) for word in words], self.root, env=env)
        pod.start()
        self.others.append(pod)
        return pod

    def start_push_gateway(self):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), PushGateway)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.mapping.push_gateway = f"127.0.0.1:{server.server_port}"

    def start_s3(self):
        (self.root / "s3" / BUCKET).mkdir(parents=True)
        (self.root / "s3/example-log-archive").mkdir()
        self.s3 = f"127.0.0.1:{free_port()}"
        self.spawn("s3", self.versitygw, "--access", "AK", "--secret", "SK", "--region", "us-east-1", "--port", self.s3, "--quiet", "posix", self.root / "s3")
        self.objstore = (
            f"type: S3\nconfig: {{bucket: {BUCKET}, endpoint: '{self.s3}', insecure: true, region: us-east-1, access_key: AK, secret_key: SK}}\n"
        )

    def pod(self, name, document, http_port, grpc_port, env=None):
        """The pod of a manifest, with what is mounted."""
        folder = self.root / name
        words = list(self.mapping.arguments(our_container(document)["args"], folder, http_port, grpc_port))
        for word in words:
            path = re.match(r"--objstore\.config-file=(.*)", word)
            if path:
                write(pathlib.Path(path[1]), self.objstore)
        folder.mkdir(exist_ok=True)
        return Pod(name, [self.binary, *words], self.root, http_port, env)

    def end(self):
        pods = [pod for roll, _ in self.rolls for pod in roll] + self.others
        for pod in pods:
            if pod.process and pod.process.poll() is None:
                pod.process.terminate()
        for pod in pods:
            if pod.process:
                try:
                    pod.process.wait(20)
                except subprocess.TimeoutExpired:
                    pod.process.kill()
                    pod.process.wait()


def samples(replica):
    """A line through the origin for each series, without the gap of the replica."""
    lines = ["# TYPE seen counter"]
    first, last = GAPS[replica]
    for series in range(SERIES):
        for at in range(START, END, 60):
            if not first <= at < last:
                lines.append(f'seen_total{{series="{series}"}} {at - START} {at}')
    return "\n".join(lines) + "\n# EOF\n"


def start_prometheus(stand, rendered):
    """Two pods of the StatefulSet: the sidecar first, which writes Prometheus' configuration, then Prometheus."""
    page = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=page.serve_forever, daemon=True).start()
    document = rendered.objects["StatefulSet", "prometheus"]
    config = rendered.objects["ConfigMap", "prometheus"]["data"]["prometheus.yml"]
    config = config.replace("localhost:9090", f"127.0.0.1:{page.server_port}").replace("scrape_interval: 30s", "scrape_interval: 1s")
    theirs = next(container for container in pod_of(document)["spec"]["containers"] if container["name"] == "prometheus")["args"]
    addresses = []
    for replica in range(document["spec"]["replicas"]):
        name = f"prometheus-{replica}"
        folder = stand.root / f"{name}-sidecar"
        web, http_port, grpc_port = free_port(), free_port(), free_port()
        write(folder / "etc/prometheus/prometheus.yml", config)
        (folder / "etc/prometheus-out").mkdir(parents=True)
        write(stand.root / f"{name}.samples", samples(replica))
        subprocess.run(
            [stand.promtool, "tsdb", "create-blocks-from", "openmetrics", stand.root / f"{name}.samples", folder / "prometheus"],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        sidecar = stand.pod(f"{name}-sidecar", document, http_port, grpc_port, {"POD_NAME": name})
        sidecar.words = [word if not word.startswith("--prometheus.url=") else f"--prometheus.url=http://127.0.0.1:{web}" for word in sidecar.words]
        words = list(stand.mapping.arguments(theirs, folder, web, None))
        server = Pod(name, [stand.prometheus, *words, f"--web.listen-address=127.0.0.1:{web}"], stand.root, web)
        sidecar.start()
        wait_for("Prometheus' configuration", (folder / "etc/prometheus-out/prometheus.yml").exists)
        server.start()
        stand.rolls.append(([sidecar, server], pause_after(document)))
        addresses.append(f"127.0.0.1:{grpc_port}")
    stand.mapping.names["prometheus-operated"] = addresses
    return [roll for roll, _ in stand.rolls]


def ship(stand, prometheus):
    """Waits for all blocks to be in the bucket, lets the older ones go from Prometheus, and makes them old enough to be compacted."""
    for sidecar, server in prometheus:
        server.wait_ready()
        sidecar.wait_ready()
    for sidecar, _ in prometheus:
        url = f"http://127.0.0.1:{sidecar.port}"
        wait_for("ten blocks to be shipped", lambda url=url: metric(url, "thanos_shipper_uploads_total") >= 10)
    for sidecar, server in prometheus:
        server.end()
        for meta in (stand.root / sidecar.name / "prometheus").glob("*/meta.json"):
            if json.loads(meta.read_text())["maxTime"] <= DROPPED * 1000:
                subprocess.run(["rm", "-r", meta.parent], check=True)
        server.start()
        server.wait_ready()
    old = datetime.datetime.fromtimestamp(time.time() - 2 * HOUR, datetime.timezone.utc)
    for path in (stand.root / "s3" / BUCKET).glob("*/meta.json"):
        text, count = re.subn(r'("upload_time": ")[^"]*', rf"\g<1>{old:%Y-%m-%dT%H:%M:%SZ}", path.read_text())
        if count != 1:
            raise SystemExit(f"{path} has no upload_time:\n{text}")
        path.write_text(text)
        stand.shipped.add(path.parent.name)


def start_rest(stand, prometheus, rendered):
    addresses = []
    shards = rendered.named("StatefulSet", "sabre-store")
    for document in shards:
        # Each shard twice, as with replicas: 2.
        for replica in range(2):
            http_port, grpc_port = free_port(), free_port()
            pod = stand.pod(f"{document['metadata']['name']}-{replica}", document, http_port, grpc_port)
            stand.rolls.append(([pod], pause_after(document)))
            addresses.append(f"127.0.0.1:{grpc_port}")
    stand.mapping.names["sabre-store"] = addresses
    compact = rendered.objects["StatefulSet", "sabre-compact"]
    compactor = stand.pod("sabre-compact-0", compact, free_port(), None)
    stand.rolls.append(([compactor], pause_after(compact)))
    queriers = []
    document = rendered.objects["Deployment", "sabre-query"]
    for replica in range(2):
        pod = stand.pod(f"sabre-query-{replica}", document, free_port(), free_port())
        queriers.append(pod)
        stand.rolls.append(([pod], pause_after(document)))
    # Not the compactor: a store that looks late would see a longer block, and not those it was made of.
    begin = [pod for roll, _ in stand.rolls for pod in roll if pod is not compactor]
    for pod in begin:
        if pod.process is None:
            pod.start()
    for pod in begin:
        pod.wait_ready()
    wanted = len(addresses) + len(stand.mapping.names["prometheus-operated"])
    for pod in queriers:
        wait_for(f"{pod.name} to know its endpoints", lambda pod=pod: up_endpoints(pod.port) == wanted, 120)
    # Prometheus begins to scrape some seconds after it is ready, and the other one is restarted first.
    for _, server in prometheus:
        wait_for(f"{server.name} to scrape", lambda server=server: not Client([server]).check_once("query", "live", is_live), 120, server.tail)
    return queriers, compactor, len(shards), wanted


def loaded(store):
    """The blocks that a store serves."""
    with urllib.request.urlopen(f"http://127.0.0.1:{store.port}/api/v1/blocks?view=loaded", timeout=10) as answer:
        return {block["ulid"] for block in json.load(answer)["data"]["blocks"]}


def check_shards(stand, shards):
    """Each block that was shipped is served by one shard. A longer block may be there already, or not yet."""
    stores = [pods[0] for pods, _ in stand.rolls if "store" in pods[0].name]
    by_shard = {}
    for number, store in enumerate(stores):
        by_shard.setdefault(number // 2, set()).update(loaded(store))
    served = list(by_shard.values())
    if len(served) != shards or not all(served):
        raise SystemExit(f"{shards} shards serve {served}")
    if sum(map(len, served)) != len(set.union(*served)) or not stand.shipped <= set.union(*served):
        raise SystemExit(f"not every block has one shard: {served}, and {stand.shipped} were shipped")


def wait_for_compaction(compactor):
    """Stores learn of the longer blocks when they are restarted, and not all at once."""
    url = f"http://127.0.0.1:{compactor.port}"
    wait_for("an iteration of the compactor", lambda: metric(url, "thanos_compact_iterations_total") >= 1, 180)
    compactions = metric(url, "thanos_compact_group_compactions_total")
    # Twenty hours hold one range of eight that is over at any time of day, and a second one at some: blocks end with their last
    # sample, a minute before the range, so that the last two of them show that it is over.
    if compactions < 2:
        raise SystemExit(f"{compactions} compactions, and one of each replica was due:\n{compactor.tail()}")
    return compactions


def up_endpoints(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/api/v1/stores")
    data = json.loads(connection.getresponse().read())["data"]
    connection.close()
    return sum(1 for stores in data.values() for store in stores if not store.get("lastError"))


class Client(threading.Thread):
    """Asks without a pause, the queriers in turn; a refused connection is tried at the other one."""

    def __init__(self, queriers):
        super().__init__(daemon=True)
        self.queriers, self.done = queriers, threading.Event()
        self.count = self.refused = self.warned = 0
        self.slowest = 0.0
        self.problems = []

    def run(self):
        step = 0
        while not self.done.is_set() and len(self.problems) < 5:
            query = QUERIES[step % len(QUERIES)]
            try:
                self.ask(step, *query)
            except Exception as error:  # Whatever it is, it is what a client would have seen.
                self.problems.append(f"{time.strftime('%H:%M:%S')} {query[1]}: {error!r}")
            step += 1

    def get(self, querier, path):
        """The body of an answer; `None` when the querier took no connection."""
        connection = http.client.HTTPConnection("127.0.0.1", querier.port, timeout=120)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
        except ConnectionRefusedError:
            self.refused += 1
            return None
        body = answer.read()
        connection.close()
        return body

    def check_once(self, path, query, check):
        self.ask(0, path, query, check)
        return self.problems

    def ask(self, step, path, query, check):
        now = time.time()
        form = {"query": query} if path == "query" else {"query": query, "start": START, "end": END - 60, "step": 60}
        path = f"/api/v1/{path}?" + urllib.parse.urlencode(form)
        for attempt in range(len(self.queriers)):
            body = self.get(self.queriers[(step + attempt) % len(self.queriers)], path)
            if body is not None:
                break
        else:
            raise RuntimeError("no querier takes connections")
        answer = json.loads(body)
        self.count += 1
        self.slowest = max(self.slowest, time.time() - now)
        self.warned += bool(answer.get("warnings"))
        problem = check(answer["data"]["result"]) if answer["status"] == "success" else answer["error"]
        if problem:
            self.problems.append(f"{time.strftime('%H:%M:%S')} {query}: {problem}; {time.time() - now:.1f} s, warnings: {answer.get('warnings')}")


def may_lag(at):
    """Where the deduplication goes over to another replica it takes that up at its third sample, as Thanos' penalty has it: at the
    edges of gaps, and where blocks, and so chunks, begin."""
    edges = [edge for gap in GAPS.values() for edge in gap]
    return (at - START) % BLOCK < LAG or any(0 <= at - edge < LAG for edge in edges)


def line(slope):
    """A check that a range is one series on a line through the origin, with a sample at every step."""

    def check(result):
        if len(result) != 1:
            return f"{len(result)} series"
        values = result[0]["values"]
        times = [int(at) for at, _ in values]
        if times != list(range(START, END, 60)):
            missing = sorted(set(range(START, END, 60)) - set(times))
            return f"{len(missing)} steps are missing, the first at {missing[:1]}"
        for (_, value), at in zip(values, times):
            lag = (at - START) - float(value) / slope
            if not -1e-6 < lag < (LAG if may_lag(at) else 1e-6):
                return f"{value} at {at}, which should be {slope * (at - START)}"
        return None

    return check


def is_live(result):
    values = [sample["value"][1] for sample in result]
    return None if values == ["42"] else f"live is {values}"


QUERIES = [
    ("query_range", "sum(seen_total)", line(SERIES)),
    ("query", "live", is_live),
    ("query_range", 'seen_total{series="3"}', line(1)),
    ("query", "sum(live)", is_live),
]


def roll(stand, clients, queriers, wanted):
    for pods, pause in stand.rolls:
        for pod in reversed(pods):
            pod.end()
        for pod in pods:
            pod.start()
        for pod in pods:
            pod.wait_ready()
        time.sleep(pause)
        # A slow machine is given more time than a cluster gives.
        for querier in queriers:
            wait_for(f"{querier.name} to know its endpoints", lambda querier=querier: up_endpoints(querier.port) == wanted, 120)
        print(f"restarted {', '.join(pod.name for pod in pods)}; {sum(client.count for client in clients)} queries so far", flush=True)
        if any(client.problems for client in clients):
            break


def search_job(stand, kustomize):
    """es-retention's jobs of the manifests, once each, against an OpenSearch that has an index too many."""
    rendered = Rendered(kustomize, "kubernetes/overlays/es-retention-push-gateway")
    config = rendered.objects["ConfigMap", "es-retention"]["data"]["app-config.yml"]
    config = re.sub(r"https://vpc-[\w.-]+/", f"http://{stand.search_address}/", config).replace("region: eu-west-1", "region: us-east-1")
    write(stand.root / "es/etc/sabre/app-config.yml", config)
    credentials = {"AWS_ACCESS_KEY_ID": "AK", "AWS_SECRET_ACCESS_KEY": "SK", "NO_PROXY": "127.0.0.1"}
    register = next(yaml.safe_load_all((DEPLOY / "es-retention/register-repo.yaml").read_text()))
    cron = rendered.objects["CronJob", "es-retention"]
    role = rendered.objects["ConfigMap", "es-retention"]["data"]["snapshot-role-arn"]
    today = datetime.datetime.now(datetime.timezone.utc).date()
    due = f"logging-{today - datetime.timedelta(days=7):%Y.%m.%d}"
    call(stand, "PUT", "/_index_template/small", {"index_patterns": ["logging-*"], "template": {"settings": {"number_of_shards": 1, "number_of_replicas": 0}}})
    call(stand, "POST", f"/{due}/_doc?refresh=true", {"message": "kept"})
    for document in (register, cron):
        words = [word.replace("$(SNAPSHOT_ROLE_ARN)", role) for word in our_container(document)["args"]]
        words = list(stand.mapping.arguments(words, stand.root / "es", None, None))
        done = subprocess.run([stand.binary, *words], env={**os.environ, **credentials}, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    taken = call(stand, "GET", "/_snapshot/log-archive/_all")["snapshots"]
    if [(found["indices"], found["state"]) for found in taken if due in found["indices"]] != [([due], "SUCCESS")]:
        raise SystemExit(f"no good snapshot of {due}: {taken}")
    status = [stand.binary, "es-retention", "status", next(word for word in words if word.startswith("--config-file="))]
    done = subprocess.run(status, env={**os.environ, **credentials}, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != 0 or due not in done.stdout:
        raise SystemExit(f"{' '.join(status)} ended with {done.returncode} and does not name {due}:\n{done.stdout}{done.stderr}")
    tomorrow = f"logging-{today + datetime.timedelta(days=1):%Y.%m.%d}"
    call(stand, "GET", f"/{tomorrow}")
    if b"sabre_es_retention_last_exit_code 0" not in PushGateway.page:
        raise SystemExit(f"the push gateway was left {PushGateway.page}")
    print(f"es-retention: {due} is in a snapshot, {tomorrow} is there, its metrics are at the push gateway", flush=True)


def monitor(stand, queriers):
    """Every query of the dashboards and alerts against what all of the set exports, and a store and a querier that fail beside it."""
    targets = {"es-retention": [stand.mapping.push_gateway]}
    for pod in (pod for pods, _ in stand.rolls for pod in pods):
        component = re.search(r"sidecar|store|compact|query", pod.name)
        if component:
            targets.setdefault(component[0], []).append(f"127.0.0.1:{pod.port}")
    running = []
    client = Client(queriers)
    try:
        # Before the first scrape, so that every series is there when rates begin.
        for pod in queriers:
            monitoring.use(f"127.0.0.1:{pod.port}")
        monitoring.fail(stand.binary, stand.objstore, stand.root, targets, running)
        jobs = monitoring.jobs_of(Rendered(stand.kustomize, "kubernetes/overlays/eks").objects.values())
        shipping = monitoring.Shipping(stand.root / "monitoring")
        shipping.start(stand.binary, targets, running)
        monitoring.start_prometheus(stand.prometheus, shipping, targets, jobs, running)
        for second in range(12):
            if second == 6:
                shipping.ship()
            monitoring.use(f"127.0.0.1:{queriers[second % 2].port}")
            client.check_once(*QUERIES[second % len(QUERIES)])
            time.sleep(1)
        problems = client.problems + list(monitoring.problems_of(shipping.prometheus, monitoring.exported(targets), jobs))
    finally:
        for process in running:
            process.terminate()
            process.wait(60)
    if problems:
        raise SystemExit("\n".join(problems))


def call(stand, method, path, body=None):
    connection = http.client.HTTPConnection(stand.search_address, timeout=60)
    connection.request(method, path, json.dumps(body) if body else None, {"content-type": "application/json"})
    answer = connection.getresponse()
    data = answer.read().decode()
    connection.close()
    if answer.status >= 300:
        raise SystemExit(f"{method} {path}: {answer.status} {data}")
    return json.loads(data)


def start_search(stand):
    port = free_port()
    stand.search_address = f"127.0.0.1:{port}"
    return stand.spawn(
        "search", ROOT / "tests/servers/start.sh", f"{stand.search}/opensearch-3", stand.root / "node", port,
        f"s3.client.default.endpoint=http://{stand.s3}", "s3.client.default.region=us-east-1", "s3.client.default.path_style_access=true",
        "secure:s3.client.default.access_key=AK", "secure:s3.client.default.secret_key=SK",
    )


def main():
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        stand = Stand(pathlib.Path(name), sys.argv[1:])
        try:
            stand.start_s3()
            stand.start_push_gateway()
            search = start_search(stand)
            prometheus = start_prometheus(stand, Rendered(stand.kustomize, "kubernetes/overlays/prometheus-statefulset"))
            ship(stand, prometheus)
            queriers, compactor, shards, wanted = start_rest(stand, prometheus, Rendered(stand.kustomize, "kubernetes/overlays/eks-sharded"))
            print(f"up after {time.monotonic() - began:.0f} s: 2 Prometheus, {shards} store shards twice, 2 queriers, a compactor", flush=True)
            check_shards(stand, shards)
            compactor.start()
            compactor.wait_ready()
            compactions = wait_for_compaction(compactor)
            clients = [Client(queriers) for _ in range(2)]
            for client in clients:
                client.start()
            roll(stand, clients, queriers, wanted)
            for client in clients:
                client.done.set()
            for client in clients:
                client.join(60)
            problems = [problem for client in clients for problem in client.problems]
            problems += ["a query hangs" for client in clients if client.is_alive()]
            for problem in problems:
                print(problem, file=sys.stderr)
            if problems:
                for pods, _ in stand.rolls:
                    for pod in pods:
                        print(f"--- {pod.name}\n{pod.tail()}", file=sys.stderr)
                raise SystemExit(1)
            count = sum(client.count for client in clients)
            print(
                f"{count} queries, all right and whole; {sum(client.warned for client in clients)} told of an endpoint that was away; "
                f"{sum(client.refused for client in clients)} connections were refused, and the other querier was asked; none was cut; "
                f"the slowest took {max(client.slowest for client in clients):.1f} s; "
                f"the compactor made {compactions:.0f} longer blocks before",
                flush=True,
            )
            wait_for("OpenSearch", lambda: answers(f"http://{stand.search_address}/_cluster/health"), 120, search.tail)
            search_job(stand, stand.kustomize)
            monitor(stand, queriers)
        finally:
            stand.end()
    print(f"rolling: ok, {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
