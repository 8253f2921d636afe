"""docs.py BINARY: the commands of docs/ that are marked as running anywhere, on the bucket of the demo.

A block of commands in docs/*.md says what it needs: `sh runs`, `sh cluster` or `sh aws`. Those that run are run, each line for
itself, with bucket.yaml in the folder and a block's name in ULID. All flags of `sabre` in the other blocks and in the text must exist.
Links between pages must lead somewhere.
"""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile

from manifests import Flags
from monitoring import start_demo

DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs"


def blocks(text):
    return re.findall(r"^```(.*)\n((?:.*\n)*?)```$", text, re.M)


def anchors(text):
    return {re.sub(r"[^\w\- ]", "", line).strip().lower().replace(" ", "-") for line in re.findall(r"^#+ (.*)$", text, re.M)}


def check_links(file, text):
    for target in re.findall(r"\]\(([^)]*)\)", text):
        page, _, anchor = target.partition("#")
        path = (file.parent / page) if page else file
        if not path.exists():
            yield f"{target} leads nowhere"
        elif anchor and anchor not in anchors(path.read_text()):
            yield f"{target} has no such headline"


def check_flags(flags, text):
    """Commands of sabre, in blocks or between backticks."""
    for command in re.findall(r"sabre ((?:sidecar|store|compact|query|tools|es-retention)\b[^`\n|>#;]*)", text):
        words = command.split()
        names = []
        while words and re.fullmatch(r"[a-z][a-z-]*", words[0]):
            names.append(words.pop(0))
        used = [word.split("=")[0][2:] for word in words if word.startswith("--")]
        if used and used != ["help-long"]:
            for flag in set(used) - flags.of(tuple(names)).keys() - {"help-long"}:
                yield f"sabre {' '.join(names)} has no flag --{flag}"


def run(file, text, env, folder):
    count = 0
    for info, body in blocks(text):
        if info.startswith("sh") and info not in ("sh runs", "sh cluster", "sh aws"):
            yield f"a block does not say what it needs: {body.splitlines()[0]}"
        if info != "sh runs":
            continue
        for line in body.splitlines():
            done = subprocess.run(["bash", "-c", line], env=env, cwd=folder, capture_output=True, text=True, check=False)
            count += 1
            if done.returncode != 0:
                yield f"{line}\n{done.stderr}"
    print(f"{file.name}: {count} commands")


def main():
    binary = os.path.abspath(sys.argv[1])
    flags = Flags(binary)
    problems, running = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "bin").mkdir()
        (folder / "bin/sabre").symlink_to(binary)
        try:
            _, bucket = start_demo(binary, running)
            shutil.copytree(bucket, folder / "bucket")
            (folder / "bucket.yaml").write_text(f"type: FILESYSTEM\nconfig: {{directory: {folder}/bucket}}\n")
            env = {**os.environ, "PATH": f"{folder}/bin:{os.environ['PATH']}"}
            listed = subprocess.run(
                ["sabre", "tools", "bucket", "ls", f"--objstore.config-file={folder}/bucket.yaml"],
                env=env, check=True, capture_output=True, text=True,
            )
            env["ULID"] = listed.stdout.split()[0]
            for file in sorted(DOCS.glob("*.md")):
                text = file.read_text()
                found = [*check_links(file, text), *run(file, text, env, folder)]
                # That page is made from the flags themselves.
                if file.name != "compatibility.md":
                    found += check_flags(flags, text)
                problems += [f"{file.name}: {problem}" for problem in found]
        finally:
            for process in running:
                process.send_signal(signal.SIGINT)
                process.wait(60)
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        raise SystemExit(1)
    print("docs: ok")


if __name__ == "__main__":
    main()
