"""Reading logs: the page, its stream, what is dangerous in it, the download."""

import re
from typing import Any

from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import expect

from clusters.models import Cluster
from tests.console.browser import PHONE, Walk
from tests.console.conftest import Make, Walker
from tests.console.log_line_formats import LINES
from tests.socket_server import peer
from workloads.objects.log_lines import LineReader
from workloads.objects.log_merge import LogSource, merge_logs

# What a container may print: markup, a title and a colour for terminals, a line that runs backwards, a bell.
NASTY = "<img src=x onerror=alert(1)><script>alert(2)</script> \x1b]0;owned\x07\x1b[31mred\x1b[0m \x1b[2J\x08\x08 \u202edone"
TALK = f"""echo '{NASTY}'; for i in $(seq 1 380); do echo "request $i served"; sleep 1; done; sleep 99999"""


def talking(make: Make, name: str = "talker", **more: object) -> str:
    """A pod that talks; its name."""
    containers = [
        {"name": "main", "image": "busybox:1", "command": ["sh", "-c", TALK]},
        {"name": "side", "image": "nginx:1"},
    ]
    make(
        "pods",
        {"metadata": {"name": name}, "spec": {"containers": containers, **more}},
        running=True,
    )
    return name


def test_a_log_is_followed_and_searched(walk: Walk, cluster: Cluster, make: Make) -> None:
    name = talking(make)
    page = walk.open(f"/clusters/{cluster.pk}/pods/{make.space}/{name}/logs")
    expect(page.locator("#log-state")).to_have_text("Live")
    expect(page.locator("#log .line").nth(3)).to_contain_text("served")
    before = page.locator("#log .line").count()
    expect(page.locator("#log .line").nth(before + 1)).to_be_attached()
    # A late event of the page's own scrolling, with new lines below already, is not the person's.
    late = "box => { const last = document.createElement('div'); last.style.height = '300px'; box.append(last); box.dispatchEvent(new Event('scroll')); }"
    page.locator("#log").evaluate(late)
    expect(page.locator("#log .line").nth(before + 3)).to_be_attached()
    # Nor is what the browser moves when the lines above are laid out anew.
    moved = "box => { const more = document.createElement('div'); more.style.height = '500px'; box.append(more); box.scrollTop -= 60; }"
    page.locator("#log").evaluate(moved)
    expect(page.locator("#log .line").nth(before + 5)).to_be_attached()
    expect(page.locator("#log-jump")).to_be_hidden()
    # Who scrolls up reads in peace, and the button back lies on no other.
    page.locator("#log").hover()
    page.mouse.wheel(0, -5000)
    expect(page.locator("#log-jump")).to_be_visible()
    page.get_by_role("link", name="Download").click(trial=True)
    page.locator("#log-jump").click()
    expect(page.locator("#log-jump")).to_be_hidden()
    page.get_by_label("Search this log").fill("request 2")
    expect(page.locator("#log-found")).to_have_text(re.compile(r"\d+ of \d+"))
    page.get_by_label("Matches only").check()
    expect(page.locator("#log .line:visible").first).to_contain_text("request 2")
    walk.picture("searched")
    page.get_by_label("Container").select_option("*")
    expect(page.locator("#log.several")).to_be_attached()
    assert walk.axe() == []
    walk.picture("all")


def test_what_a_container_prints_is_text_and_nothing_else(
    walk: Walk, cluster: Cluster, make: Make
) -> None:
    page = walk.open(f"/clusters/{cluster.pk}/pods/{make.space}/{talking(make)}/logs")
    line = page.locator("#log .line").first
    expect(line).to_contain_text("<img src=x onerror=alert(1)><script>alert(2)</script>")
    text = line.locator(".text").inner_text()
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "owned" not in text
    assert page.title().startswith("Logs")
    assert line.locator("img, script").count() == 0
    expect(line.locator(".ansi-1")).to_have_text("red")


def test_a_lost_connection_is_taken_up_without_a_line_lost_or_doubled(
    walk: Walk, cluster: Cluster, make: Make
) -> None:
    page = walk.context.new_page()
    sockets: list[object] = []

    def cut_the_first(socket: object) -> None:
        sockets.append(socket)
        server = socket.connect_to_server()  # type: ignore[attr-defined]
        if len(sockets) == 1:
            seen = []

            def pass_on(message: str | bytes) -> None:
                seen.append(message)
                socket.send(message)  # type: ignore[attr-defined]
                if len(seen) == 4:
                    socket.close(code=1001)  # type: ignore[attr-defined]

            server.on_message(pass_on)

    page.route_web_socket(re.compile("/ws/logs/"), cut_the_first)
    page.goto(f"{walk.base}/clusters/{cluster.pk}/pods/{make.space}/{talking(make)}/logs")
    expect(page.locator("#log-state")).to_have_text(re.compile("Trying again"))
    expect(page.locator("#log-state")).to_have_text("Live")
    expect(page.locator("#log .line", has_text="served").nth(12)).to_be_attached()
    numbers = [
        int(found[1])
        for text in page.locator("#log .line .text").all_inner_texts()
        if (found := re.search(r"request (\d+)", text))
    ]
    assert len(sockets) == 2
    assert numbers == list(range(1, len(numbers) + 1))


def test_the_pods_of_a_workload_are_read_together(
    walker: Walker, person: User, cluster: Cluster, make: Make
) -> None:
    command = ["sh", "-c", "while true; do echo from $HOSTNAME; sleep 1; done"]
    template = {
        "metadata": {"labels": {"app": "chat"}},
        "spec": {"containers": [{"name": "main", "image": "busybox:1", "command": command}]},
    }
    spec = {"replicas": 2, "selector": {"matchLabels": {"app": "chat"}}, "template": template}
    make("deployments", {"metadata": {"name": "chat"}, "spec": spec}, running=True)
    walk = walker(person, size=PHONE)
    page = walk.open(f"/clusters/{cluster.pk}/deployments/{make.space}/chat/logs")
    expect(page.locator("#log .source-1").first).to_be_visible()
    expect(page.locator("#log-jump")).to_be_hidden()
    page.get_by_label("with timestamps").check()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    file = download.value.path().read_text()
    stamps = re.findall(r"^\[pod/chat-[^ ]+/main\] (\S+Z) from chat-", file, re.M)
    assert len(stamps) > 2
    assert stamps == sorted(stamps)
    moments = page.locator("#log .line time").evaluate_all(
        "all => all.map(one => Date.parse(one.dateTime))"
    )
    assert len(moments) > 2
    assert moments == sorted(moments)
    assert not walk.is_wider_than_the_window()
    walk.picture("phone")


def test_the_download_is_the_whole_log_of_what_was_chosen(
    visitor: Client, cluster: Cluster, make: Make
) -> None:
    address = f"/clusters/{cluster.pk}/pods/{make.space}/{talking(make)}/logs/download"
    one = visitor.get(address, {"container": "main"})
    assert one["Content-Disposition"] == 'attachment; filename="talker-main.log"'
    assert b"onerror" in b"".join(one.streaming_content)
    both = b"".join(visitor.get(address, {"container": "*"}).streaming_content)
    assert both.startswith(b"[pod/talker/main] <img")
    stamped = visitor.get(address, {"container": "*", "timestamps": "1"})
    line = b"".join(stamped.streaming_content).split(b"\n")[0]
    assert re.match(rb"\[pod/talker/main\] \d{4}-[\dT:.-]+Z <img", line)
    refused = visitor.get(address, {"container": "nobody"})
    assert refused.status_code == 404
    assert b"There is no container to read" in refused.content


def test_a_download_says_what_is_missing_from_it(
    visitor: Client, cluster: Cluster, make: Make, settings: Any
) -> None:
    address = f"/clusters/{cluster.pk}/pods/{make.space}/{talking(make)}/logs/download"
    settings.LOG_DOWNLOAD_SOURCES = 1
    fewer = b"".join(visitor.get(address, {"container": "*"}).streaming_content)
    assert fewer.startswith(b"(Only 1 of 2 containers are in this file: ")
    settings.LOG_DOWNLOAD_BYTES = 40
    shorter = b"".join(visitor.get(address, {"container": "main"}).streaming_content)
    assert shorter[:5] == b"<img "
    assert shorter[40:] == b"\n(The log is larger than one download: the rest is missing.)\n"


def test_the_page_and_the_download_order_lines_alike(walk: Walk, cluster: Cluster) -> None:
    logs = {
        "b/app": b"2026-01-01T00:00:02Z b1\n2026-01-01T00:00:04Z b2\nwithout\n2026-01-01T00:00:01Z back\n",
        "a/app": b"2026-01-01T08:00:02+08:00 a1\n2026-01-01T00:00:04Z a2\n2026-01-01T00:00:04.000000001Z a3\n",
    }
    sources = [LogSource(name, [data]) for name, data in logs.items()]
    lines = b"".join(merge_logs(sources, timestamps=False)).decode().splitlines()
    frames = [
        {"source": name, "timestamp": line.cursor.time, "content": line.text}
        for name, data in logs.items()
        for line in LineReader().feed(data)
    ]
    page = walk.open(f"/clusters/{cluster.pk}")
    ordered = page.evaluate(
        "async frames => { const { LineOrder, indexFor } = await import('/static/console/js/log-order.js');"
        " const order = new LineOrder(); const rows = [];"
        " for (const frame of frames) { const place = order.place(frame);"
        " rows.splice(indexFor(rows, place), 0, { ...place, text: frame.content }); }"
        " return rows.map(row => `[pod/${row.source}] ${row.text}`); }",
        frames,
    )
    assert ordered == lines
    assert [line.split()[-1] for line in lines] == ["a1", "b1", "a2", "b2", "without", "back", "a3"]


def test_signing_out_ends_the_stream(
    live_streams: None, visitor: Client, cluster: Cluster, make: Make
) -> None:
    address = f"/clusters/{cluster.pk}/pods/{make.space}/{talking(make)}/logs/ticket"
    ticket = visitor.post(address, {"containers": "main"}, content_type="application/json").json()
    with peer(ticket["ws_url"]) as client:
        client.until(lambda one: one.types().count("batch") > 1)
        visitor.post("/signout")
        assert client.end() == 4001
    answer = visitor.post(address, {}, content_type="application/json")
    assert (answer.status_code, answer.json()["hint"]) == (401, "Sign in again.")


def test_a_changed_password_ends_the_stream(
    live_streams: None, visitor: Client, person: User, cluster: Cluster, make: Make
) -> None:
    address = f"/clusters/{cluster.pk}/pods/{make.space}/{talking(make)}/logs/ticket"
    ticket = visitor.post(address, {"containers": "main"}, content_type="application/json").json()
    with peer(ticket["ws_url"]) as client:
        client.until(lambda one: one.types().count("batch") > 1)
        person.set_password("another-long-Passphrase-8")
        person.save()
        assert client.end() == 4001


def test_a_log_that_may_not_be_read_has_no_ticket(
    client: Client, cluster: Cluster, make: Make
) -> None:
    address = f"/clusters/{cluster.pk}/pods/{make.space}/{talking(make)}/logs/ticket"
    client.force_login(User.objects.create_user("nobody"))
    answer = client.post(address, {}, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (403, 1005)


FILTERS = """echo 'level=info msg=begin'; echo 'ERROR first'; echo '  at frame'; echo 'WARN second';
echo 'plain words'; echo 'level=debug token=abc-42'; echo 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab';
sleep 99999"""


def test_the_level_of_a_line_is_read_from_what_loggers_write(
    walk: Walk, cluster: Cluster, make: Make
) -> None:
    page = walk.open(f"/clusters/{cluster.pk}")
    levels = page.evaluate(
        "async lines => { const { levelOf } = await import('/static/console/js/log-levels.js');"
        " return lines.map(levelOf); }",
        [line for line, _ in LINES],
    )
    read = [(line, level) for (line, _), level in zip(LINES, levels, strict=True)]
    assert read == list(LINES)


def test_a_log_is_filtered_by_level_and_by_expression(
    walk: Walk, cluster: Cluster, make: Make
) -> None:
    command = ["sh", "-c", FILTERS]
    container = {"name": "main", "image": "busybox:1", "command": command}
    pod = {"metadata": {"name": "levels"}, "spec": {"containers": [container]}}
    make("pods", pod, running=True)
    page = walk.open(f"/clusters/{cluster.pk}/pods/{make.space}/levels/logs?dock=one")
    lines = page.locator("#log .line:not(.note):visible")
    expect(lines).to_have_count(7)
    page.get_by_label("Level").select_option("warn")
    # A line of a stack trace belongs to the error before it.
    expect(lines.locator(".text")).to_have_text(["ERROR first", "  at frame", "WARN second"])
    expect(page.locator("#log-hidden")).to_have_text("4 hidden")
    page.get_by_label("Regular expression").check()
    page.get_by_label("Matches only").check()
    page.get_by_label("Search this log").fill("^(err|warn)")
    expect(lines.locator(".text")).to_have_text(["ERROR first", "WARN second"])
    expect(page.locator("#log-found")).to_have_text("2 of 2")
    assert walk.axe() == []
    # The filters are there again, and nobody had to press anything.
    page.reload()
    expect(lines.locator(".text")).to_have_text(["ERROR first", "WARN second"])
    expect(page.get_by_label("Search this log")).to_have_value("^(err|warn)")
    page.get_by_label("Search this log").fill("(token")
    expect(page.locator("#log-found")).to_have_text("No regular expression: Unterminated group")
    # This one would take years; the page goes on and says so.
    page.get_by_label("Level").select_option("")
    page.get_by_label("Search this log").fill("^(a+)+$")
    expect(page.locator("#log-found")).to_contain_text("takes too long")
    expect(lines).to_have_count(7)
    page.get_by_label("Search this log").fill(r"token=\w+-\d")
    expect(lines.locator(".text")).to_have_text(["level=debug token=abc-42"])
    walk.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_label("Times", exact=True).uncheck()
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == "level=debug token=abc-42"
    walk.picture("filters")
