"""TypeScript types generated from the OpenAPI document; skipped where node or npm's packages are missing."""

import shutil
import subprocess
from pathlib import Path

import pytest
from django.test import Client

CHECK = Path(__file__).resolve().parents[1] / "typescript" / "check.sh"
# Ignored by git, and the folder that `make lint-api` uses: packages are fetched once.
PACKAGES = CHECK.parents[2] / "test-artifacts" / "typescript"
CANNOT_INSTALL = 3


@pytest.mark.slow
@pytest.mark.skipif(
    not (shutil.which("node") and shutil.which("npm")),
    reason="NOT CHECKED: node and npm are not installed, so no TypeScript program was compiled",
)
def test_a_strict_program_compiles_against_the_generated_types(tmp_path: Path) -> None:
    document = tmp_path / "openapi.json"
    document.write_bytes(Client().get("/api/schema?format=json").content)
    try:
        result = subprocess.run(
            [CHECK, document, PACKAGES], capture_output=True, text=True, timeout=100
        )
    except subprocess.TimeoutExpired:
        pytest.skip("NOT CHECKED: npm's registry and the compiler took longer than 100 seconds")
    if result.returncode == CANNOT_INSTALL:
        pytest.skip(f"NOT CHECKED: npm's packages cannot be had: {result.stderr.strip()[-300:]}")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "tsc: no error" in result.stdout
