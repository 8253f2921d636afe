"""context.py BINARY: that what deploy/docker/Dockerfile.dockerignore lets through is enough for the Dockerfile's build.

Lays out in an empty folder the files of the repository that `COPY . .` would see, and no others. There cargo must know the same packages
with the same sources (`cargo metadata --offline --locked`); every file that went into BINARY, which cargo wrote down beside it, must be there;
and so must what the steps themselves run and read. Nothing is compiled a second time.
"""

import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCKER = ROOT / "deploy/docker"
# Read by cargo without being named in what it writes down.
READ_BY_CARGO = ["Cargo.toml", "Cargo.lock", ".cargo/config.toml"]


def as_regex(pattern):
    """A pattern of a .dockerignore: like a glob that is anchored at the root, where ** goes through any number of folders."""
    parts = []
    for part in re.split(r"(\*\*/|\*\*|\*|\?)", pattern.strip("/")):
        parts.append({"**/": r"(?:.*/)?", "**": r".*", "*": r"[^/]*", "?": r"[^/]"}.get(part, re.escape(part)))
    # Whatever lies below what is named is left out with it.
    return re.compile("".join(parts) + r"(/.*)?$")


class Ignored:
    """What is left out: of the patterns that fit a path the last one decides."""

    def __init__(self, text):
        lines = [line.strip() for line in text.splitlines()]
        self.rules = [(line[0] == "!", as_regex(line.removeprefix("!"))) for line in lines if line and line[0] != "#"]

    def __contains__(self, path):
        left_out = False
        for is_exception, regex in self.rules:
            if regex.match(path):
                left_out = not is_exception
        return left_out


def check_patterns():
    """That this reads patterns as Docker's documentation has them."""
    ignored = Ignored("# all\ntarget\n**/*.md\n!LICENSE.md\n*/temp?\n")
    for path, left_out in [
        ("target/x/y", True), ("lib/target/x", False), ("README.md", True), ("a/b/c.md", True), ("LICENSE.md", False),
        ("a/temp1/x", True), ("temp1", False), ("a/b/temp1", False), ("a.mdx", False),
    ]:
        assert (path in ignored) == left_out, path


def lay_out(folder):
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    ignored = Ignored((DOCKER / "Dockerfile.dockerignore").read_text())
    count = 0
    for name in listed.split("\0"):
        if name and name not in ignored and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
            count += 1
    return count


def host():
    """What this machine builds for: cargo has fetched the packages for that, and those for others perhaps not."""
    said = subprocess.run(["rustc", "-vV"], check=True, capture_output=True, text=True).stdout
    return re.search(r"^host: (.*)$", said, re.M)[1]


def packages(folder):
    """{name: its targets with their sources} of the workspace that cargo finds in the folder."""
    done = subprocess.run(
        ["cargo", "metadata", "--offline", "--locked", "--format-version=1", f"--filter-platform={host()}"],
        cwd=folder, capture_output=True, text=True, check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"cargo does not take what the image is built of:\n{done.stderr}")
    found = {}
    ours = (package for package in json.loads(done.stdout)["packages"] if package["source"] is None)
    for package in ours:
        sources = (pathlib.Path(target["src_path"]).relative_to(folder) for target in package["targets"])
        found[package["name"]] = sorted(str(source) for source in sources)
    return found


def went_into(binary):
    """The files of the repository that cargo read for the binary, by their paths in it. It may have been built in another clone."""
    written = pathlib.Path(f"{binary}.d")
    if not written.exists():
        raise SystemExit(f"{written} is not there: cargo writes it beside the binary")
    paths = re.split(r"(?<!\\) ", written.read_text().split(": ", 1)[1].strip())
    main = next(path for path in paths if path.endswith("/sabre/src/main.rs"))
    root = main.removesuffix("sabre/src/main.rs")
    return [path.removeprefix(root).replace("\\ ", " ") for path in paths if path.startswith(root)]


def run_by_steps():
    """The files of the repository that the steps of the Dockerfile name."""
    for line in (DOCKER / "Dockerfile").read_text().splitlines():
        if not line.startswith("#"):
            yield from re.findall(r"(?<![\w/])deploy/[\w./-]+", line)


def main():
    check_patterns()
    binary = sys.argv[1]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name).resolve()
        count = lay_out(folder)
        problems = []
        here, there = packages(ROOT), packages(folder)
        for package, sources in here.items():
            if there.get(package) != sources:
                problems.append(f"{package} has other sources: {sources} and {there.get(package)}")
        read = went_into(binary)
        steps = list(run_by_steps())
        assert steps, "no step of the Dockerfile runs a file of the repository"
        for path in [*READ_BY_CARGO, *steps, *read]:
            if not (folder / path).is_file():
                problems.append(f"{path} is needed, and left out by {DOCKER / 'Dockerfile.dockerignore'}")
        # The other way round: what is to be left out is.
        problems += [f"{path} is let through" for path in (".git", "target", "fuzz", "README.md") if (folder / path).exists()]
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        raise SystemExit(1)
    print(f"context: ok, {count} files, of these {len(read)} go into the binary; {len(there)} packages")


if __name__ == "__main__":
    main()
