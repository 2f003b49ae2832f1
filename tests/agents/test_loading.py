"""What loads the protocol's library."""

import subprocess
import sys


def test_only_the_event_driven_server_loads_the_library() -> None:
    program = (
        "import sys, kubegale.wsgi, kubegale.asgi, kubegale.urls, kubegale.celery;"
        "kubegale.celery.app.loader.import_default_modules();"
        "print(sorted(sys.modules.keys() & {'mcp', 'starlette', 'httpx2'}))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120
    )
    assert ended.stdout.strip().splitlines()[-1] == "[]"
