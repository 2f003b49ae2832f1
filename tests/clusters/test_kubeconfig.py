"""What a kubeconfig may say, and what is refused before anything is loaded."""

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from clusters import kubeconfig
from core.errors import Invalid


def config(*, cluster: dict[str, Any] | None = None, user: dict[str, Any] | None = None) -> str:
    """A kubeconfig with one of each."""
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "one",
            "contexts": [{"name": "one", "context": {"cluster": "one", "user": "one"}}],
            "clusters": [
                {"name": "one", "cluster": {"server": "https://10.0.0.1:6443", **(cluster or {})}}
            ],
            "users": [{"name": "one", "user": {"token": "secret-token", **(user or {})}}],
        }
    )


def access(text: str, **options: Any) -> kubeconfig.Access:
    """What the text says, under the default policy."""
    return kubeconfig.access(text, **{"policy": "private", **options})


def test_server_token_and_authority_are_read() -> None:
    found = access(
        config(cluster={"certificate-authority-data": base64.b64encode(b"PEM").decode()})
    )
    assert (found.server, found.token, found.ca, found.verify) == (
        "https://10.0.0.1:6443",
        "secret-token",
        "PEM",
        True,
    )


def test_secrets_stay_out_of_the_representation() -> None:
    assert "secret-token" not in repr(access(config()))


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        (
            "user",
            "exec",
            {
                "command": "touch",
                "args": ["/tmp/owned"],
                "apiVersion": "client.authentication.k8s.io/v1",
            },
        ),
        ("user", "auth-provider", {"name": "gcp", "config": {"cmd-path": "touch"}}),
        ("user", "tokenFile", "/etc/passwd"),
        ("user", "client-certificate", "/etc/passwd"),
        ("user", "client-key", "/etc/passwd"),
        ("user", "as", "system:admin"),
        ("cluster", "certificate-authority", "/etc/passwd"),
        ("cluster", "proxy-url", "http://169.254.169.254"),
    ],
)
def test_what_runs_a_command_or_reads_a_file_is_refused(
    section: str, key: str, value: object
) -> None:
    with pytest.raises(Invalid, match=key):
        access(config(**{section: {key: value}}))


def test_a_dangerous_entry_is_refused_even_when_no_context_uses_it() -> None:
    text = yaml.safe_load(config())
    text["users"].append({"name": "other", "user": {"exec": {"command": "id"}}})
    with pytest.raises(Invalid, match="exec"):
        access(yaml.safe_dump(text))


@pytest.mark.parametrize(
    "server",
    [
        "https://169.254.169.254/",
        "https://[fe80::1]:6443",
        "https://[::ffff:169.254.169.254]",
        "https://0.0.0.0:6443",
        "https://100.100.100.200",
        "https://[fd00:ec2::254]",
        "https://[64:ff9b::a9fe:a9fe]",
        "ftp://10.0.0.1",
        "10.0.0.1:6443",
        "https://",
        "https://user:pw@10.0.0.1",
        "https://10.0.0.1:99999",
    ],
)
def test_addresses_that_must_never_be_called_are_refused(server: str) -> None:
    with pytest.raises(Invalid):
        access(config(cluster={"server": server}))


@pytest.mark.parametrize(
    ("policy", "server", "good"),
    [
        ("public", "https://10.0.0.1", False),
        ("public", "https://8.8.8.8", True),
        ("10.0.0.0/8,fd00::/8", "https://10.1.2.3", True),
        ("10.0.0.0/8,fd00::/8", "https://192.168.0.1", False),
        ("169.254.0.0/16", "https://169.254.169.254", False),
        ("0.0.0.0/0,::/0", "https://[::169.254.169.254]", False),
        ("0.0.0.0/0,::/0", "https://[64:ff9b:1::a9fe:a9fe]", False),
        ("0.0.0.0/0", "https://255.255.255.255", False),
        ("private", "https://[::1]:6443", True),
        ("::1/128", "https://[::1]:6443", True),
        ("public", "https://[::1]:6443", False),
        ("private", "https://240.1.2.3", False),
        ("public", "https://240.1.2.3", False),
        ("240.0.0.0/4", "https://240.1.2.3", True),
        ("198.18.0.0/15", "https://198.19.0.1", True),
    ],
)
def test_the_address_policy_decides(policy: str, server: str, good: bool) -> None:
    text = config(cluster={"server": server})
    if good:
        assert access(text, policy=policy).server == server
        return
    with pytest.raises(Invalid, match="not allowed"):
        access(text, policy=policy)


@pytest.mark.parametrize(
    "cluster", [{"insecure-skip-tls-verify": True}, {"server": "http://10.0.0.1"}]
)
def test_tls_must_be_verified_unless_the_operator_allows_otherwise(cluster: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match="TLS"):
        access(config(cluster=cluster))
    assert access(config(cluster=cluster), allow_insecure=True).server


@pytest.mark.parametrize(
    "text",
    [
        "",
        "just text",
        "- a\n- b",
        "clusters: 5",
        "a: b: c",
        "current-context: none",
        config(user={"token": 5}),
        config(user={"token": "line\nbreak"}),
        config(cluster={"certificate-authority-data": "%%%"}),
        "a: &a [1]\n"
        + "\n".join(
            f"b{i}: &b{i} [{', '.join(['*' + ('a' if i == 0 else f'b{i - 1}')] * 10)}]"
            for i in range(9)
        ),
        "[" * 5000,
        "x" * (1024 * 1024 + 1),
        "!!python/object/apply:os.system ['id']",
    ],
)
def test_anything_else_is_a_clear_refusal(text: str) -> None:
    with pytest.raises(Invalid):
        access(text)


def test_no_file_is_read_and_no_command_is_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    with pytest.raises(Invalid):
        access(
            config(
                user={
                    "exec": {
                        "apiVersion": "client.authentication.k8s.io/v1",
                        "command": "touch",
                        "args": [str(marker)],
                    }
                }
            )
        )
    assert not marker.exists()
