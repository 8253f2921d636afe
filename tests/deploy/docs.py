"""docs.py BINARY PROMETHEUS: the commands of all pages of this repository: README.md, docs/, deploy/ and the others.

Each block of a page says after its backquotes what becomes of it, and none may say nothing:

- `sh runs`: each command is run here, in a copy of the page's folder, with bucket.yaml (the bucket of the demo) and values.yaml (the
  chart's) beside it and a block's name in ULID. `cargo run` of a program that was built becomes that program.
- `sh serves`: each command is started with its addresses and paths mapped to this machine; all of a page run together, must become ready,
  must know each other, and end with 0.
- `sh elsewhere`: each command is run by another script or test, which ELSEWHERE names; that must be one that .ci/run runs, and have it.
- `sh cluster`, `sh aws`: the block says to its reader, too, that it needs a cluster or AWS.
- `yaml`, `text`: no commands.

All commands and flags of `sabre` in blocks and in the text must exist. Links between pages must lead somewhere.
"""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile

import rolling
from actions import answers, free_port, wait_for
from manifests import Flags
from monitoring import start_demo

ROOT = pathlib.Path(__file__).resolve().parents[2]
NO_COMMANDS = ("yaml", "text")
# What a block that is not run must tell its reader.
NOTES = {"sh cluster": "needs a cluster", "sh aws": "needs AWS"}
JOB = "es-retention/tests/forty_days/job.rs"
# {how a command begins: (the script or test that runs it, by its name in .ci/run; the file that does, and how it has the command)}
ELSEWHERE = {
    "cargo run --release -- demo": ("tests/scripts/demo.sh", "tests/scripts/demo.sh", " demo"),
    "cargo test --workspace": ("cargo test --workspace --locked", ".ci/run", "cargo test --workspace --locked"),
    "kubectl kustomize overlays/eks": ("tests/deploy/validate.sh", "tests/deploy/validate.sh", "eks eks-sharded"),
    "sabre es-retention register-repo ": ("tests/deploy/rolling.py", "deploy/es-retention/register-repo.yaml", "- register-repo"),
    "sabre es-retention run": ("tests/deploy/rolling.py", "deploy/es-retention/cronjob.yaml", "- run"),
    "sabre es-retention status": ("tests/deploy/rolling.py", "tests/deploy/rolling.py", '"es-retention", "status"'),
    "sabre es-retention plan": ("--test forty_days", JOB, '"plan"'),
    "sabre es-retention restore ": ("--test forty_days", JOB, '"restore"'),
}
# Smaller than what a reader measures with.
SMALLER = {"sabre-benches": ["--pods", "4"]}


def pages():
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [ROOT / name for name in listed.split()]


def blocks(text):
    """What stands behind the backquotes of each block, and its lines; a block may stand within a list."""
    for indent, info, body in re.findall(r"^( *)```(.*)\n((?:.*\n)*?) *```$", text, re.M):
        yield info, "\n".join(line.removeprefix(indent) for line in body.splitlines())


def commands(body):
    """Each command of a block on a line of its own, without comments."""
    lines = re.sub(r" *\\\n *", " ", body).splitlines()
    lines = (re.sub(r"(^|\s)#\s.*$", "", line).strip() for line in lines)
    return [line for line in lines if line]


def anchors(text):
    return {re.sub(r"[^\w\- ]", "", line).strip().lower().replace(" ", "-") for line in re.findall(r"^#+ (.*)$", text, re.M)}


def check_links(file, text):
    for target in re.findall(r"\]\(([^)]*)\)", text):
        page, _, anchor = target.partition("#")
        if page.startswith("https://"):
            continue
        path = (file.parent / page) if page else file
        if not path.exists():
            yield f"{target} leads nowhere"
        elif anchor and anchor not in anchors(path.read_text()):
            yield f"{target} has no such headline"


def check_commands(flags, text):
    """Commands of sabre and their flags, in blocks or between backticks."""
    text = re.sub(r" *\\\n *", " ", text)
    inline = re.findall(r"(?<!`)`sabre ([^`\n]+)`", text)
    in_blocks = [line.removeprefix("sabre ") for _, body in blocks(text) for line in commands(body) if line.startswith("sabre ")]
    for command in inline + in_blocks:
        words = re.split(r"[|>#;]", command)[0].replace(",", " ").split()
        names = []
        while words and re.fullmatch(r"[a-z][a-z-]*", words[0]):
            # What follows may be words of the command, or its arguments.
            if names and not flags.has((*names, words[0])):
                break
            names.append(words.pop(0))
        if names and not flags.has(tuple(names)):
            yield f"there is no command sabre {' '.join(names)}"
            continue
        if words and re.fullmatch(r"[a-z][a-z-]*", words[0]) and flags.has_commands(tuple(names)):
            yield f"sabre {' '.join(names)} has no command {words[0]}"
        used = {word.split("=")[0][2:] for word in words if word.startswith("--")} - {"help", "help-long", "version"}
        for flag in used - flags.of(tuple(names)).keys() if used else ():
            yield f"sabre {' '.join(names)} has no flag --{flag}"


def check_blocks(text, ran_by_ci, used):
    """That each block is classified, and those that are not run here say where they are or what they need."""
    for info, body in blocks(text):
        first = (body.splitlines() or [""])[0]
        if info in NOTES:
            if NOTES[info] not in body:
                yield f"a block does not tell its reader that it {NOTES[info]}: {first}"
        elif info == "sh elsewhere":
            for command in commands(body):
                begin = next((begin for begin in ELSEWHERE if command.startswith(begin)), None)
                if begin is None:
                    yield f"nobody runs: {command}"
                    continue
                used.add(begin)
                runner, file, words = ELSEWHERE[begin]
                if runner not in ran_by_ci:
                    yield f"{runner} should run {command}, and .ci/run does not run it"
                if words not in (ROOT / file).read_text():
                    yield f"{file} should have {words}, for {command}"
        elif info not in ("sh runs", "sh serves", *NO_COMMANDS):
            yield f"a block does not say what it needs: {first}"


class Place:
    """A folder in which the commands of pages are run."""

    def __init__(self, folder, binary, prometheus):
        self.folder, self.binary, self.prometheus = folder, binary, prometheus
        self.env = {**os.environ, "PATH": f"{folder}/bin:{os.environ['PATH']}"}
        # {component: (process, HTTP address, gRPC address)}
        self.serving = {}
        self.others = []

    def prepare(self, running):
        (self.folder / "bin").mkdir()
        (self.folder / "bin/sabre").symlink_to(self.binary)
        _, bucket = start_demo(self.binary, running)
        shutil.copytree(bucket, self.folder / "bucket")
        self.bucket_yaml = f"type: FILESYSTEM\nconfig: {{directory: {self.folder}/bucket}}\n"
        (self.folder / "bucket.yaml").write_text(self.bucket_yaml)
        listed = subprocess.run(
            ["sabre", "tools", "bucket", "ls", f"--objstore.config-file={self.folder}/bucket.yaml"],
            env=self.env, check=True, capture_output=True, text=True,
        )
        self.env["ULID"] = listed.stdout.split()[0]

    def of(self, page):
        """A copy of the page's folder, if its commands are about what lies there."""
        if page.parent in (ROOT, ROOT / "docs"):
            return self.folder
        copy = self.folder / page.parent.relative_to(ROOT)
        if not copy.exists():
            shutil.copytree(page.parent, copy)
            (copy / "bucket.yaml").write_text(self.bucket_yaml)
            shutil.copy(ROOT / "tests/deploy/helm/plain.yaml", copy / "values.yaml")
        return copy

    def run(self, line, cwd):
        """A sentence if the command fails."""
        words = line.split()
        if words[:3] == ["cargo", "run", "--release"] and words[3] == "-p":
            name = words[4]
            words = [str(pathlib.Path(self.binary).parent / name), *words[words.index("--") + 1:], *SMALLER.get(name, [])]
            # One that is compared with is whatever the reader has.
            line = " ".join(re.sub(r"^(sabre|other)=.*", rf"\1={self.binary}", word) for word in words)
        done = subprocess.run(["bash", "-c", line], env=self.env, cwd=cwd, capture_output=True, text=True, check=False)
        return f"{line}\n{done.stderr}" if done.returncode != 0 else None

    def start(self, line):
        """Starts a component as the page has it, on addresses and paths of this machine."""
        words = line.split()
        assert words[0] == "sabre", line
        component = words[1]
        http, grpc = (f"127.0.0.1:{free_port()}" for _ in range(2))
        mapped = [self.binary, component, f"--http-address={http}"]
        if component != "compact":
            mapped.append(f"--grpc-address={grpc}")
        for word in words[2:]:
            flag, _, value = word.partition("=")
            if flag == "--prometheus.url":
                value = self.start_prometheus()
            elif flag == "--endpoint":
                other = next(name for name in ("sidecar", "store") if name in value)
                value = self.serving[other][2]
            elif value.startswith("/"):
                value = f"{self.folder}{value}"
            mapped.append(f"{flag}={value}" if value else flag)
        log = open(self.folder / f"{component}.log", "w", encoding="utf-8")
        process = subprocess.Popen(mapped, cwd=self.folder, env=self.env, stdout=log, stderr=log)
        self.serving[component] = (process, http, grpc)
        wait_for(f"{component} to be ready", lambda: self.is_ready(component), 60)

    def is_ready(self, component):
        process, http, _ = self.serving[component]
        if process.poll() is not None:
            raise SystemExit(f"{component} ended with {process.returncode}:\n" + (self.folder / f"{component}.log").read_text())
        return answers(f"http://{http}/-/ready")

    def start_prometheus(self):
        """One with the flags and labels that README.md asks for, on the data that the sidecar gets to see."""
        address = f"127.0.0.1:{free_port()}"
        (self.folder / "prometheus.yml").write_text("global: {external_labels: {cluster: a, replica: b}}\n")
        self.others.append(subprocess.Popen(
            [self.prometheus, f"--config.file={self.folder}/prometheus.yml", f"--storage.tsdb.path={self.folder}/prometheus",
             "--storage.tsdb.min-block-duration=2h", "--storage.tsdb.max-block-duration=2h", f"--web.listen-address={address}"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        ))
        wait_for("Prometheus", lambda: answers(f"http://{address}/-/ready"), 60)
        return f"http://{address}"

    def end(self):
        """Ends what serves, and says what did not end well or did not know its endpoints."""
        if "query" in self.serving:
            port = int(self.serving["query"][1].rpartition(":")[2])
            wait_for("the querier to know its endpoints", lambda: rolling.up_endpoints(port) == 2, 60)
        for component, (process, _, _) in reversed(self.serving.items()):
            process.terminate()
            if process.wait(60) != 0:
                yield f"{component} ended with {process.returncode}:\n" + (self.folder / f"{component}.log").read_text()
        self.serving.clear()

    def kill(self):
        for process in [*(process for process, _, _ in self.serving.values()), *self.others]:
            if process.poll() is None:
                process.kill()
            process.wait()


def run(page, text, place):
    counts = {"sh runs": 0, "sh serves": 0}
    for info, body in blocks(text):
        if info not in counts:
            continue
        for line in commands(body):
            counts[info] += 1
            if info == "sh serves":
                place.start(line)
            elif problem := place.run(line, place.of(page)):
                yield problem
    yield from place.end()
    if any(counts.values()):
        print(f"{page.relative_to(ROOT)}: {counts['sh runs']} commands run, {counts['sh serves']} serve", flush=True)


def main():
    binary, prometheus = os.path.abspath(sys.argv[1]), sys.argv[2]
    flags = Flags(binary)
    ran_by_ci = (ROOT / ".ci/run").read_text()
    problems, running, used = [], [], set()
    with tempfile.TemporaryDirectory() as name:
        place = Place(pathlib.Path(name), binary, prometheus)
        try:
            place.prepare(running)
            for page in pages():
                text = page.read_text()
                found = [*check_links(page, text), *check_blocks(text, ran_by_ci, used), *run(page, text, place)]
                # That page is made from the flags themselves.
                if page.name != "compatibility.md":
                    found += check_commands(flags, text)
                problems += [f"{page.relative_to(ROOT)}: {problem}" for problem in found]
        finally:
            place.kill()
            for process in running:
                process.send_signal(signal.SIGINT)
                process.wait(60)
    problems += [f"no page has the command {begin}" for begin in ELSEWHERE.keys() - used]
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        raise SystemExit(1)
    print("docs: ok")


if __name__ == "__main__":
    main()
