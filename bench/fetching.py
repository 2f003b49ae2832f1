"""`python -m bench.fetching KUBECONFIG COUNT`: fetch all pods in pages of 500 over one kept connection, decode them, print the seconds."""

import base64
import sys
import tempfile
import time
from pathlib import Path

import orjson
import urllib3
import yaml


def main(kubeconfig: str, count: str) -> None:
    """Exactly that many pods must come."""
    config = yaml.safe_load(Path(kubeconfig).read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    with tempfile.NamedTemporaryFile(suffix=".pem") as authority:
        authority.write(base64.b64decode(cluster["certificate-authority-data"]))
        authority.flush()
        pool = urllib3.PoolManager(ca_certs=authority.name, timeout=60)
        headers = {"Authorization": f"Bearer {user['token']}"}
        started, token, found = time.monotonic(), "", 0
        while True:
            query = {"limit": "500", **({"continue": token} if token else {})}
            page = orjson.loads(
                pool.request(
                    "GET", f"{cluster['server']}/api/v1/pods", fields=query, headers=headers
                ).data
            )
            found += len(page["items"])
            token = page["metadata"].get("continue", "")
            if not token:
                break
        taken = time.monotonic() - started
    assert found == int(count), found
    print(taken)


if __name__ == "__main__":
    main(*sys.argv[1:])
