"""contents.py FOLDER: that deploy/ holds what it is to hold. FOLDER has the rendered overlays and charts: kubernetes/*.yaml, helm/*.yaml.

Schemas and references are checked elsewhere; here it is which objects there are, and those of their fields that the design rests on: an
image that runs as a number and has no shell's form of a command, stores that share the blocks without a gap, one compactor, a querier that
scales, accounts with roles, and a job that never runs twice at once.
"""

import pathlib
import re
import sys

import yaml

from manifests import pod_of
from rolling import our_container

ROOT = pathlib.Path(__file__).resolve().parents[2]
AROUND = {"PodDisruptionBudget", "NetworkPolicy", "ServiceMonitor"}
COMPONENTS = {"store", "compact", "query"}


def read(path):
    documents = [document for document in yaml.safe_load_all(path.read_text()) if document]
    return {(document["kind"], document["metadata"]["name"]): document for document in documents}


def component_of(document):
    """`store` of the kind's object of a store, by the arguments of its pods."""
    return our_container(document)["args"][0]


def workloads(objects):
    found = {}
    for (kind, name), document in objects.items():
        if kind in ("StatefulSet", "Deployment"):
            found.setdefault(component_of(document), []).append((kind, name, document))
    return found


def check_components(objects, around):
    found = workloads(objects)
    if set(found) != COMPONENTS:
        yield f"has {sorted(found)}, and not {sorted(COMPONENTS)}"
        return
    if [kind for kind, _, _ in found["query"]] != ["Deployment"] or any(kind != "StatefulSet" for name in ("store", "compact") for kind, _, _ in found[name]):
        yield "stores and the compactor are StatefulSets, and the querier is a Deployment"
    if [document["spec"].get("replicas") for _, _, document in found["compact"]] != [1]:
        yield "there is not one compactor"
    scaled = [document["spec"]["scaleTargetRef"]["name"] for (kind, _), document in objects.items() if kind == "HorizontalPodAutoscaler"]
    if scaled != [name for _, name, _ in found["query"]]:
        yield f"{scaled} is scaled, and not the querier"
    for kind in around:
        if not any(found_kind == kind for found_kind, _ in objects):
            yield f"has no {kind}"


def check_shards(objects):
    """Each block has one store: the shards are all the remainders of one division."""
    seen = []
    for _, _, document in workloads(objects)["store"]:
        rules = next(word.partition("=")[2] for word in our_container(document)["args"] if word.startswith("--selector.relabel-config="))
        hashed, kept = yaml.safe_load(rules)[:2]
        if (hashed["action"], hashed["source_labels"], kept["action"]) != ("hashmod", ["__block_id"], "keep"):
            yield f"shards by {rules}"
        seen.append((hashed["modulus"], int(kept["regex"])))
    if sorted(seen) != [(len(seen), remainder) for remainder in range(len(seen))] or len(seen) < 2:
        yield f"the shards are {seen}"


def check_roles(objects):
    """Who speaks to the bucket has a role."""
    found = workloads(objects)
    for _, name, document in found["store"] + found["compact"]:
        account = objects["ServiceAccount", pod_of(document)["spec"]["serviceAccountName"]]
        role = account["metadata"].get("annotations", {}).get("eks.amazonaws.com/role-arn", "")
        if not role.startswith("arn:aws:iam::"):
            yield f"the account of {name} has no role"


def check_jobs(objects, alerts_of_absence):
    """Each job whose absence is an alert is there: else the alert fires for ever."""
    endpoints = [
        endpoint
        for (kind, _), document in objects.items()
        if kind in ("ServiceMonitor", "PodMonitor")
        for endpoint in document["spec"].get("endpoints", []) + document["spec"].get("podMetricsEndpoints", [])
    ]
    jobs = {rule["replacement"] for endpoint in endpoints for rule in endpoint["relabelings"] if rule.get("targetLabel") == "job"}
    for wanted in alerts_of_absence:
        if not any(re.fullmatch(wanted, job) for job in jobs):
            yield f"no job of {sorted(jobs)} is {wanted}, which an alert misses"


def alerts_of_absence():
    wanted = re.findall(r'absent\(up\{job=~"([^"]+)"\}', (ROOT / "deploy/monitoring/rules.yaml").read_text())
    assert len(wanted) >= 4, wanted
    return wanted


def check_job(objects):
    spec = next(document for (kind, _), document in objects.items() if kind == "CronJob")["spec"]
    if (spec["concurrencyPolicy"], spec["timeZone"]) != ("Forbid", "Etc/UTC"):
        yield "the job may run twice at once, or by another clock"
    if not spec.get("startingDeadlineSeconds") or not spec["jobTemplate"]["spec"].get("activeDeadlineSeconds"):
        yield "the job has no deadlines"


def check_operator():
    patch = yaml.safe_load((ROOT / "deploy/kubernetes/overlays/prometheus-operator/image.yaml").read_text())
    thanos = patch["spec"]["thanos"]
    if "/sabre:" not in thanos["image"]:
        yield f"the operator is given the image {thanos['image']}"
    # The operator chooses flags by it: it is one of Thanos', and never the image's.
    if not re.fullmatch(r"v0\.\d+\.\d+", thanos["version"]) or thanos["version"].removeprefix("v") in thanos["image"]:
        yield f"the operator is given {thanos['version']} for Thanos' version"


def check_sidecar(objects):
    pod = pod_of(objects["StatefulSet", "prometheus"])["spec"]
    names = [container["name"] for container in pod.get("initContainers", []) + pod["containers"]]
    if component_of(objects["StatefulSet", "prometheus"]) != "sidecar" or "prometheus" not in names:
        yield f"{names} is no Prometheus with a sidecar"


def check_copied(objects):
    """What stands at the top of a values file of bitnami/thanos reaches the pods."""
    for _, _, document in workloads(objects)["store"]:
        for flag in ("--index-cache.config=", "--store.caching-bucket.config="):
            given = [yaml.safe_load(word.removeprefix(flag)) for word in our_container(document)["args"] if word.startswith(flag)]
            if [cache["type"].lower() for cache in given] != ["memcached"]:
                yield f"{flag} is given {given}"
    for document in objects.values():
        if document["kind"] in ("StatefulSet", "Deployment", "CronJob"):
            secrets = [entry["name"] for entry in pod_of(document)["spec"].get("imagePullSecrets", [])]
            if secrets != ["registry", "other"]:
                yield f"images are pulled with {secrets}"


def check_open(objects):
    """A security context that is turned off is not there: OpenShift gives numbers and groups itself."""
    for _, _, document in workloads(objects)["store"]:
        found = [place["securityContext"] for place in (pod_of(document)["spec"], our_container(document)) if "securityContext" in place]
        if found:
            yield f"the store has {found}"


def check_image():
    text = (ROOT / "deploy/docker/Dockerfile").read_text()
    last = re.split(r"^FROM ", text, flags=re.M)[-1]
    user = re.search(r"^USER (\d+):(\d+)$", last, re.M)
    if text.count("\nFROM ") < 2 or not last.startswith("scratch\n"):
        yield "the image is not made from scratch in a stage of its own"
    if not user or "0" in user.groups():
        yield "the image has no user, or not by number, or root"
    if 'ENTRYPOINT ["/bin/sabre"]' not in last or re.search(r"^(RUN|CMD|SHELL)", last, re.M):
        yield "the image does not start the binary, or needs a shell"


def main():
    folder = pathlib.Path(sys.argv[1])
    rendered = {path.stem: read(path) for path in (folder / "kubernetes").glob("*.yaml")}
    jobs = alerts_of_absence()
    checks = {
        "deploy/docker": check_image(),
        "eks": [*check_components(rendered["eks"], AROUND), *check_roles(rendered["eks"]), *check_jobs(rendered["eks"], jobs)],
        "eks-sharded": [
            *check_components(rendered["eks-sharded"], AROUND),
            *check_roles(rendered["eks-sharded"]),
            *check_jobs(rendered["eks-sharded"], jobs),
            *check_shards(rendered["eks-sharded"]),
        ],
        "prometheus-statefulset": check_sidecar(rendered["prometheus-statefulset"]),
        "prometheus-operator": check_operator(),
        "es-retention": check_job(rendered["es-retention"]),
    }
    whole = folder / "helm/everything.yaml"
    if whole.exists():
        chart = read(whole)
        checks["chart"] = [*check_components(chart, AROUND | {"PrometheusRule", "CronJob"}), *check_job(chart), *check_jobs(chart, jobs)]
        checks["copied"] = check_copied(read(folder / "helm/copied.yaml"))
        checks["without security contexts"] = check_open(read(folder / "open.yaml"))
    problems = [f"{name}: {problem}" for name, found in checks.items() for problem in found]
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        raise SystemExit(1)
    print(f"contents: ok, {', '.join(checks)}")


if __name__ == "__main__":
    main()
