"""What others of a set did before anybody looked, done again under Prometheus' eyes: a sidecar that ships and a compactor that goes on.

Rates and quantiles of what happened before the first scrape are no numbers. The sidecar is that of the Prometheus which scrapes it, and
ships a block of that one's head when it is told to; the compactor looks at the bucket every second.
"""

import json
import subprocess
import urllib.request

from actions import answers, free_port, metric, wait_for


class Shipping:
    def __init__(self, root):
        self.root = root
        self.prometheus = f"http://127.0.0.1:{free_port()}"
        self.sidecar, self.compactor = (f"127.0.0.1:{free_port()}" for _ in range(2))

    def start(self, binary, targets, running):
        """Starts both, and puts them among the targets."""
        for folder in ("bucket", "tsdb"):
            (self.root / folder).mkdir(parents=True)
        bucket = f"--objstore.config={{type: FILESYSTEM, config: {{directory: {self.root}/bucket}}}}"
        targets["sidecar"].append(self.sidecar)
        targets["compact"].append(self.compactor)
        running.append(subprocess.Popen([
            binary, "sidecar", f"--prometheus.url={self.prometheus}", f"--tsdb.path={self.root}/tsdb", bucket,
            f"--http-address={self.sidecar}", "--grpc-address=127.0.0.1:0",
        ], stderr=subprocess.DEVNULL))
        running.append(subprocess.Popen([
            binary, "compact", "--wait", "--wait-interval=1s", f"--data-dir={self.root}/compact", bucket,
            f"--http-address={self.compactor}",
        ], stderr=subprocess.DEVNULL))
        for address in (self.sidecar, self.compactor):
            wait_for("who ships and compacts", lambda address=address: answers(f"http://{address}/-/healthy"))

    def ship(self):
        """Gives the sidecar a block, and waits until it is shipped. Prometheus must have scraped before."""
        request = urllib.request.Request(f"{self.prometheus}/api/v1/admin/tsdb/snapshot", method="POST")
        with urllib.request.urlopen(request, timeout=30) as answer:
            name = json.load(answer)["data"]["name"]
        for block in (self.root / "prometheus/snapshots" / name).iterdir():
            block.rename(self.root / "tsdb" / block.name)
        wait_for("a block to be shipped", lambda: metric(f"http://{self.sidecar}", "thanos_shipper_uploads_total") >= 1)
