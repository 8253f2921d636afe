"""monitoring.py BINARY PROMETHEUS: every query of the dashboards and alerts against Sabre's own metrics.

Runs the demo and a compactor on its bucket, puts a real Prometheus over them, and asks. A query of a dashboard must return data; of
an alert, which is silent when all is well, each selector must, with all its matchers. A result that is nothing but NaN is no data. Some look
for codes of errors: a store and a querier are there whose calls fail, so that each of these errors occurs. What only another event brings
forth is named here, and must then at least stand in the source code. The names that Thanos' mixin asks for must be exported too. Prometheus
must evaluate all rules without an error, and the series with which rules/*.yaml makes alerts fire must have the labels of real ones.
"""

import json
import math
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import yaml

from actions import answers, free_port, wait_for
from alerts import input_series, shape_of
from shipping import Shipping

ROOT = pathlib.Path(__file__).resolve().parents[2]
# {name: why this set has none of it}. A name here must be found in the source code.
EVENTS = {
    "sabre_es_retention_findings": "es-retention has no part in the demo; rolling.py asks for it",
    "sabre_es_retention_last_exit_code": "es-retention has no part in the demo; rolling.py asks for it",
    "sabre_es_retention_last_run_timestamp_seconds": "es-retention has no part in the demo; rolling.py asks for it",
    "sabre_es_retention_last_success_timestamp_seconds": "es-retention has no part in the demo; rolling.py asks for it",
}
# What others export, and not Sabre; rules/*.yaml makes the alerts fire that ask for it.
FOREIGN = {
    name: "kube-state-metrics exports it"
    for name in (
        "kube_cronjob_created", "kube_cronjob_status_last_successful_time", "kube_job_created", "kube_job_status_failed"
    )
}
# What Thanos' mixin asks of the components that are built. Its own mistakes are left out: names that no Thanos exports, and buckets of
# histograms that it reads as if they were none.
MIXIN = """
grpc_server_handled_total grpc_server_started_total grpc_server_handling_seconds_bucket
grpc_client_handled_total grpc_client_started_total grpc_client_handling_seconds_bucket
http_requests_total http_request_duration_seconds_bucket http_request_duration_seconds_count
thanos_objstore_bucket_operations_total thanos_objstore_bucket_operation_failures_total
thanos_objstore_bucket_operation_duration_seconds_bucket thanos_objstore_bucket_last_successful_upload_time
thanos_sidecar_prometheus_up
thanos_query_concurrent_gate_queries_max thanos_query_concurrent_gate_queries_in_flight
thanos_bucket_store_block_loads_total thanos_bucket_store_block_load_failures_total
thanos_bucket_store_block_drops_total thanos_bucket_store_block_drop_failures_total
thanos_store_index_cache_requests_total thanos_store_index_cache_hits_total
thanos_store_index_cache_items_added_total thanos_store_index_cache_items_evicted_total
thanos_bucket_store_sent_chunk_size_bytes_bucket
thanos_bucket_store_series_blocks_queried_sum thanos_bucket_store_series_data_fetched_sum
thanos_bucket_store_series_data_touched_sum thanos_bucket_store_series_result_series_sum
thanos_bucket_store_series_get_all_duration_seconds_bucket thanos_bucket_store_series_merge_duration_seconds_bucket
thanos_bucket_store_series_gate_duration_seconds_bucket
thanos_compact_group_compactions_total thanos_compact_group_compactions_failures_total thanos_compact_halted
thanos_compact_downsample_total thanos_compact_downsample_failures_total
thanos_compact_garbage_collection_total thanos_compact_garbage_collection_failures_total
thanos_compact_garbage_collection_duration_seconds_bucket
thanos_compact_blocks_cleaned_total thanos_compact_block_cleanup_failures_total thanos_compact_blocks_marked_total
thanos_blocks_meta_syncs_total thanos_blocks_meta_sync_failures_total thanos_blocks_meta_sync_duration_seconds_bucket
thanos_query_endpoints_dns_lookups_total thanos_query_endpoints_dns_failures_total
thanos_build_info
""".split()
NAME = r"(?<![\w:$\"])((?:thanos|sabre|grpc_server|grpc_client|grpc_req|http|process|prometheus|kube)_\w+|up)(\{[^}]*\})?"


def jobs_of(documents):
    """{component: the job under which the monitors among the objects have it scraped}; what has no monitor goes by its own name."""
    jobs = {"es-retention": "es-retention"}
    for document in documents:
        if document["kind"] in ("ServiceMonitor", "PodMonitor"):
            spec = document["spec"]
            rules = [rule for endpoint in spec.get("endpoints", []) + spec.get("podMetricsEndpoints", []) for rule in endpoint["relabelings"]]
            name = next(rule["replacement"] for rule in rules if rule.get("targetLabel") == "job")
            jobs[document["metadata"]["labels"]["app.kubernetes.io/component"]] = name
    return jobs


def monitors():
    files = (ROOT / "deploy/kubernetes/components/service-monitors").glob("*.yaml")
    return [document for file in files for document in yaml.safe_load_all(file.read_text())]


def board_queries(jobs):
    for file in sorted((ROOT / "deploy/monitoring/dashboards").glob("*.json")):
        board = json.loads(file.read_text())
        for panel in board["panels"]:
            for target in panel["targets"]:
                text = target["expr"].replace("$__rate_interval", "5m").replace("[1h]", "[5m]")
                # The demo is one process with no figures of its own; here the compactor alone is a process by itself.
                job = "compact" if "process_" in text else file.stem
                yield f"{file.name}: {panel['title']}", text.replace("$job", jobs[job])


def alert_selectors():
    text = (ROOT / "deploy/monitoring/rules.yaml").read_text()
    for name, body in re.findall(r"- alert: (\w+)\n(.*?)\n +labels:", text, re.S):
        for selector in re.finditer(NAME, body.replace("''", "'")):
            yield f"rules.yaml: {name}", selector[0]


def check_runbooks():
    """Each alert must have a headline in docs/operations.md, and each headline of an alert its alert."""
    text = (ROOT / "deploy/monitoring/rules.yaml").read_text()
    alerts = re.findall(r"- alert: (\w+)", text)
    links = re.findall(r"runbook_url: docs/operations.md#(\w+)", text)
    headlines = re.findall(r"^#+ (Sabre\w+)$", (ROOT / "docs/operations.md").read_text(), re.M)
    if links != [alert.lower() for alert in alerts]:
        yield "a runbook_url is not that of its alert"
    for alert in set(alerts) ^ set(headlines):
        yield f"{alert} is not both in rules.yaml and in docs/operations.md"


def start_demo(binary, running):
    demo = subprocess.Popen([binary, "demo"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    running.append(demo)
    said = []
    for line in demo.stdout:
        said.append(line)
        if "Ctrl-C" in line:
            break
    threading.Thread(target=demo.stdout.read, daemon=True).start()
    text = "".join(said)
    targets = {}
    for name, url in re.findall(r"^(sidecar|store|querier).*?http://([\d.:]+)/metrics", text, re.M):
        targets.setdefault(name.replace("querier", "query"), []).append(url)
    bucket = re.search(r"^the bucket +ls (\S+)", text, re.M)
    if len(targets) != 3 or not bucket:
        raise SystemExit(f"the demo did not come up:\n{text}")
    return targets, bucket[1]


def start_prometheus(prometheus, shipping, targets, jobs, running):
    """Starts it where the sidecar of `shipping` looks for it, with what a sidecar asks of a Prometheus."""
    root, url = shipping.root, shipping.prometheus
    configs = [
        {"job_name": jobs[name], "static_configs": [{"targets": urls, "labels": {"namespace": "monitoring"}}]}
        for name, urls in targets.items()
    ]
    # JSON is YAML.
    (root / "prometheus.yml").write_text(json.dumps({
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s", "external_labels": {"replica": "monitoring"}},
        "scrape_configs": configs,
        "rule_files": [str(ROOT / "deploy/monitoring/rules.yaml")],
    }))
    running.append(subprocess.Popen(
        [prometheus, f"--config.file={root}/prometheus.yml", f"--storage.tsdb.path={root}/prometheus", f"--web.listen-address={url[7:]}",
         "--storage.tsdb.min-block-duration=2h", "--storage.tsdb.max-block-duration=2h", "--web.enable-admin-api"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ))
    wait_for("Prometheus", lambda: answers(url + "/-/ready"))
    # It begins some seconds after it is ready, and what happens before is in no rate.
    count = sum(len(urls) for urls in targets.values())
    wait_for("all targets to be scraped", lambda: len(ask(url, "count_over_time(up[5m]) >= 2")) == count)


def ask(url, query):
    with urllib.request.urlopen(f"{url}/api/v1/query?" + urllib.parse.urlencode({"query": query}), timeout=30) as answer:
        return json.load(answer)["data"]["result"]


def use(querier):
    """Queries of all kinds, so that there is something to count."""
    now = int(time.time())
    for path, form in (
        ("query", {"query": "sum(up)"}),
        ("query_range", {"query": "sum(rate(http_requests_total[5m]))", "start": now - 86400, "end": now, "step": 600}),
        ("series", {"match[]": "up", "start": now - 3600, "end": now}),
    ):
        urllib.request.urlopen(f"http://{querier}/api/v1/{path}?" + urllib.parse.urlencode(form), timeout=30).read()


def fail(binary, objstore, root, targets, running):
    """Starts a store that answers each call with an error, and a querier whose queries end with one, for this store and for an endpoint
    that takes connections and says nothing; and asks it. A second querier asks this one again and again who it is, since nobody else calls
    a querier."""
    store, grpc, querier, querier_grpc = (f"127.0.0.1:{free_port()}" for _ in range(4))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent = f"127.0.0.1:{silent.getsockname()[1]}"
        for words in (
            ["store", f"--data-dir={root}/failing", f"--http-address={store}", f"--grpc-address={grpc}", f"--objstore.config={objstore}",
             "--store.limits.request-series=1"],
            ["query", f"--http-address={querier}", f"--grpc-address={querier_grpc}", f"--endpoint-strict={grpc}",
             f"--endpoint-strict={silent}", "--query.timeout=10s"],
            ["query", "--http-address=127.0.0.1:0", "--grpc-address=127.0.0.1:0", f"--endpoint={querier_grpc}"],
        ):
            running.append(subprocess.Popen([binary, *words], stderr=subprocess.DEVNULL))
        targets["store"].append(store)
        targets["query"].append(querier)
        for address in (store, querier):
            wait_for("what fails to be up", lambda address=address: answers(f"http://{address}/-/ready"))
        now = int(time.time())
        for path, form in (
            ("query", {"query": 'count({__name__=~".+"})'}),
            ("query_range", {"query": 'count({__name__=~".+"})', "start": now - 86400, "end": now, "step": 600}),
        ):
            try:
                urllib.request.urlopen(f"http://{querier}/api/v1/{path}?" + urllib.parse.urlencode(form), timeout=30)
            except urllib.error.HTTPError as error:
                if error.code != 503:
                    raise
            else:
                raise SystemExit(f"{path} of a querier that cannot answer did not fail")


def exported(targets):
    """{name: the shapes of its series} of all pages of metrics."""
    names = {"up": {frozenset()}}
    for url in sum(targets.values(), []):
        with urllib.request.urlopen(f"http://{url}/metrics", timeout=10) as answer:
            for name, labels in re.findall(r"^(\w+)(?:\{(.*)\})? ", answer.read().decode(), re.M):
                names.setdefault(name, set()).add(shape_of(labels))
    return names


def in_source(name):
    """Whether the code holds the name, or the end of it that follows a prefix such as thanos_compact_."""
    done = subprocess.run(
        ["grep", "-rqE", "--include=*.rs", f'"({name}|{name.removeprefix("thanos_compact_")})"', "lib", "sidecar", "store",
         "compactor", "query", "es-retention"], cwd=ROOT, check=False,
    )
    return done.returncode == 0


def has_data(result):
    return any(not math.isnan(float(sample["value"][1])) for sample in result)


def check_rules(url):
    with urllib.request.urlopen(f"{url}/api/v1/rules", timeout=30) as answer:
        for group in json.load(answer)["data"]["groups"]:
            for rule in group["rules"]:
                if rule["health"] != "ok":
                    yield f"{rule['name']} is {rule['health']}: {rule.get('lastError')}"


def check_made_up(names):
    """What promtool is given must be such as is exported: else an alert fires there and nowhere else."""
    for file, name, shape in sorted(set(input_series()), key=str):
        if name in FOREIGN or name in EVENTS and name not in names:
            continue
        if shape not in names.get(name, ()):
            yield f"rules/{file}: nobody exports {name} with {sorted(shape)}"


def problems_of(url, names, jobs):
    yield from (f"Thanos' mixin asks for {name}, which nobody exports" for name in MIXIN if name not in names)
    yield from check_rules(url)
    yield from check_made_up(names)
    queries = list(board_queries(jobs))
    selectors = sorted(set(alert_selectors()))
    for where, query in queries + selectors:
        used = {found[1] for found in re.finditer(NAME, query)}
        absent = used - names.keys() - FOREIGN.keys()
        for name in absent:
            if name not in EVENTS or not in_source(name):
                yield f"{where}: {name} is exported by nobody"
        if not absent and not used & FOREIGN.keys() and not has_data(ask(url, query)):
            yield f"{where}: no data for {query}"
    print(f"{len(queries)} queries of dashboards, {len(selectors)} selectors of alerts")


def main():
    binary, prometheus = sys.argv[1:]
    running = []
    problems = list(check_runbooks())
    with tempfile.TemporaryDirectory() as name:
        root = pathlib.Path(name)
        try:
            targets, bucket = start_demo(binary, running)
            port = free_port()
            targets["compact"] = [f"127.0.0.1:{port}"]
            running.append(subprocess.Popen(
                [binary, "compact", "--wait", f"--data-dir={root}/compact", f"--http-address=127.0.0.1:{port}",
                 f"--objstore.config={{type: FILESYSTEM, config: {{directory: {bucket}}}}}"],
                stderr=subprocess.DEVNULL,
            ))
            wait_for("the compactor", lambda: answers(f"http://127.0.0.1:{port}/-/ready"))
            # Before the first scrape, so that every series is there when rates begin.
            use(targets["query"][0])
            fail(binary, f"{{type: FILESYSTEM, config: {{directory: {bucket}}}}}", root, targets, running)
            jobs = jobs_of(monitors())
            shipping = Shipping(root / "shipping")
            shipping.start(binary, targets, running)
            start_prometheus(prometheus, shipping, targets, jobs, running)
            for second in range(12):
                use(targets["query"][0])
                if second == 6:
                    shipping.ship()
                time.sleep(1)
            problems += problems_of(shipping.prometheus, exported(targets), jobs)
        finally:
            for process in reversed(running):
                process.send_signal(signal.SIGINT)
            for process in running:
                process.wait(60)
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        raise SystemExit(1)
    print("monitoring: ok")


if __name__ == "__main__":
    main()
