"""manifests.py BINARY FILE...: what no schema knows about rendered manifests.

Every argument of a container with Sabre's image must be a flag that the binary's help names, once unless it may be repeated, and
none that is not built. Pods must be as locked down as Thanos' are, and names must lead somewhere: ports of probes and services,
mounts, accounts, selectors. Needs PyYAML.
"""

import re
import subprocess
import sys

import yaml

WORKLOADS = ("Deployment", "StatefulSet", "Job", "CronJob")


class Flags:
    """The flags of a command, read from its help."""

    def __init__(self, binary):
        self.binary = binary
        self.helps = {}

    def help(self, command):
        """The help of a command; nothing if there is no such command, whose help would be that of all."""
        if command not in self.helps:
            done = subprocess.run([self.binary, *command, "--help-long"], capture_output=True, text=True)
            is_its_own = f"\nUsage: {' '.join(['sabre', *command])} " in done.stdout
            self.helps[command] = done.stdout if done.returncode == 0 and is_its_own else None
        return self.helps[command]

    def has(self, command):
        return self.help(command) is not None

    def has_commands(self, command):
        return f"\nUsage: {' '.join(['sabre', *command])} <command>" in (self.help(command) or "")

    def of(self, command):
        if not self.has(command):
            raise SystemExit(f"there is no command {' '.join(command)}")
        return read_help(self.help(command))


def read_help(text):
    """{name: (repeatable, not built)} of a help text."""
    flags = {}
    text = text.split("\nExamples:")[0]
    for entry in re.split(r"\n(?= +(?:-\w, )?--)", text):
        names = re.match(r" +(?:-\w, )?--([\w.-]+)", entry)
        if names:
            words = " ".join(entry.split())
            flags[names[1]] = ("repeatable" in words, "[not built yet" in words)
            negation = re.search(r"\[--(no-[\w.-]+) turns it off\]", words)
            if negation:
                flags[negation[1]] = (False, False)
    return flags


def pod_of(document):
    spec = document["spec"]
    if document["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    return spec["template"]


def is_ours(container):
    return re.search(r"(^|/)sabre(:|$)", container["image"]) is not None


def check_arguments(flags, container):
    words = list(container["args"])
    command = []
    while words and not words[0].startswith("-"):
        command.append(words.pop(0))
    known = flags.of(tuple(command))
    seen = set()
    for word in words:
        name = word.split("=", 1)[0].removeprefix("--")
        if name not in known:
            yield f"{' '.join(command)} has no flag --{name}"
            continue
        repeatable, not_built = known[name]
        if not_built:
            yield f"--{name} is not built"
        if name in seen and not repeatable:
            yield f"--{name} is given twice"
        seen.add(name)


def check_container(pod, container, volumes):
    security = container.get("securityContext", {})
    if security.get("allowPrivilegeEscalation") is not False:
        yield "may gain privileges"
    if security.get("readOnlyRootFilesystem") is not True:
        yield "may write to its root"
    if security.get("capabilities", {}).get("drop") != ["ALL"]:
        yield "keeps capabilities"
    whole = pod.get("securityContext", {})
    if whole.get("runAsNonRoot") is not True or not whole.get("runAsUser"):
        yield "may run as root"
    if whole.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "has no seccomp profile"
    if "memory" not in container.get("resources", {}).get("limits", {}):
        yield "has no memory limit, which its budget is counted from"
    ports = {port["name"] for port in container.get("ports", [])}
    for kind in ("livenessProbe", "readinessProbe", "startupProbe"):
        port = container.get(kind, {}).get("httpGet", {}).get("port")
        if port is not None and port not in ports:
            yield f"{kind} asks port {port}, which is not there"
    for mount in container.get("volumeMounts", []):
        if mount["name"] not in volumes:
            yield f"mounts {mount['name']}, which is not there"
    mounts = [mount["mountPath"] for mount in container.get("volumeMounts", [])]
    for word in container["args"]:
        path = re.match(r"--[\w.-]*(?:file|dir|path)=(/.*)", word)
        if path and not any(path[1].startswith(mount) for mount in mounts):
            yield f"{word} is in no mount"


def check_workload(flags, document, by_name):
    template = pod_of(document)
    pod = template["spec"]
    volumes = {volume["name"] for volume in pod.get("volumes", [])}
    volumes |= {claim["metadata"]["name"] for claim in document["spec"].get("volumeClaimTemplates", [])}
    account = pod.get("serviceAccountName", "default")
    if account != "default" and ("ServiceAccount", account) not in by_name:
        yield f"account {account} is not there"
    if document["kind"] == "StatefulSet" and ("Service", document["spec"]["serviceName"]) not in by_name:
        yield f"service {document['spec']['serviceName']} is not there"
    for container in pod.get("initContainers", []) + pod["containers"]:
        if not is_ours(container):
            continue
        for problem in (*check_arguments(flags, container), *check_container(pod, container, volumes)):
            yield f"{container['name']}: {problem}"


def selects(selector, pods):
    return any(selector.items() <= labels.items() for labels in pods)


def check_selector(document, pods, services):
    kind, spec = document["kind"], document.get("spec", {})
    if kind == "Service" and not selects(spec["selector"], [labels for labels, _ in pods]):
        yield "selects no pod"
    if kind == "Service":
        for port in spec["ports"]:
            target = port.get("targetPort", port["name"])
            if not any(spec["selector"].items() <= labels.items() and target in names for labels, names in pods):
                yield f"port {target} is not there"
    if kind == "PodDisruptionBudget" and not selects(spec["selector"]["matchLabels"], [labels for labels, _ in pods]):
        yield "selects no pod"
    if kind == "NetworkPolicy" and not selects(spec["podSelector"]["matchLabels"], [labels for labels, _ in pods]):
        yield "selects no pod"
    if kind == "ServiceMonitor":
        chosen = [
            {port["name"] for port in service["spec"]["ports"]}
            for service in services
            if spec["selector"]["matchLabels"].items() <= service["metadata"].get("labels", {}).items()
        ]
        for endpoint in spec["endpoints"]:
            if not any(endpoint["port"] in names for names in chosen):
                yield f"no service has port {endpoint['port']}"


def check(flags, documents):
    by_name = {(document["kind"], document["metadata"]["name"]): document for document in documents}
    if len(by_name) != len(documents):
        yield "two objects have one name"
    pods = []
    for document in documents:
        if document["kind"] in WORKLOADS:
            template = pod_of(document)
            containers = template["spec"].get("initContainers", []) + template["spec"]["containers"]
            names = {port["name"] for container in containers for port in container.get("ports", [])}
            pods.append((template["metadata"]["labels"], names))
    services = [document for document in documents if document["kind"] == "Service"]
    for (kind, name), document in by_name.items():
        problems = check_selector(document, pods, services)
        if kind in WORKLOADS:
            problems = (*check_workload(flags, document, by_name), *problems)
        for problem in problems:
            yield f"{kind} {name}: {problem}"


def main():
    binary, *files = sys.argv[1:]
    flags = Flags(binary)
    failed = 0
    for file in files:
        with open(file, encoding="utf-8") as text:
            documents = [document for document in yaml.safe_load_all(text) if document]
        problems = list(check(flags, documents))
        failed += len(problems)
        for problem in problems:
            print(f"{file}: {problem}", file=sys.stderr)
        print(f"{file}: {len(documents)} objects, {len(problems)} problems")
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
