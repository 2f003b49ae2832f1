"""`python -m bench.fetching KUBECONFIG COUNT`: seconds in which a bare program fetches all pods.

It fetches pages of 500 over one kept connection, and decodes them.
"""

import base64
import sys
import tempfile
import time
from pathlib import Path

import orjson
import urllib3
import yaml


def main(kubeconfig: str, count: str) -> None:
    """Print the seconds; exactly `count` pods must come."""
    config = yaml.safe_load(Path(kubeconfig).read_text())
    cluster = config["clusters"][0]["cluster"]
    user = config["users"][0]["user"]
    with tempfile.NamedTemporaryFile(suffix=".pem") as authority:
        authority.write(base64.b64decode(cluster["certificate-authority-data"]))
        authority.flush()
        pool = urllib3.PoolManager(ca_certs=authority.name, timeout=60)
        headers = {"Authorization": f"Bearer {user['token']}"}
        url = f"{cluster['server']}/api/v1/pods"
        pods = 0
        query = {"limit": "500"}
        started = time.monotonic()
        while True:
            page = orjson.loads(pool.request("GET", url, fields=query, headers=headers).data)
            pods += len(page["items"])
            token = page["metadata"].get("continue", "")
            if not token:
                break
            query["continue"] = token
        seconds = time.monotonic() - started
    assert pods == int(count), pods
    print(seconds)


if __name__ == "__main__":
    main(*sys.argv[1:])
