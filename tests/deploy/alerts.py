"""alerts.py: that the tests in rules/*.yaml, which promtool runs, leave no alert out.

Each alert must fire in one case and be silent in another. promtool itself does not mind a name that no alert has: it is silent for ever.
"""

import pathlib
import re
import sys

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy/monitoring/rules.yaml"
# Labels that come with the target, and not from what is scraped.
TARGET_LABELS = {"job", "namespace", "instance", "pod"}


def alerts():
    return [rule["alert"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def tests():
    """(the file's name, the test) of all files."""
    for file in sorted((ROOT / "tests/deploy/rules").glob("*.yaml")):
        for test in yaml.safe_load(file.read_text())["tests"]:
            yield file.name, test


def shape_of(labels):
    """The names of the labels in a text such as `code="200", le="0.5"`, and of a bucket also its bound."""
    found = re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels)
    return frozenset(f"le={float(value)}" if name == "le" else name for name, value in found)


def input_series():
    """(the file's name, the series' name, its shape without the target's labels) of all series in the tests."""
    for file, test in tests():
        for series in test["input_series"]:
            name, _, labels = series["series"].partition("{")
            yield file, name, shape_of(labels) - TARGET_LABELS


def check_cases():
    known, fired, silent = alerts(), set(), set()
    for _, test in tests():
        for case in test["alert_rule_test"]:
            (fired if case.get("exp_alerts") else silent).add(case["alertname"])
    yield from (f"{alert} fires in no test" for alert in known if alert not in fired)
    yield from (f"{alert} is silent in no test" for alert in known if alert not in silent)
    yield from (f"{alert} is tested, and there is none" for alert in sorted((fired | silent) - set(known)))


def main():
    problems = list(check_cases())
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        raise SystemExit(1)
    print(f"alerts: ok, {len(alerts())} fire and are silent")


if __name__ == "__main__":
    main()
