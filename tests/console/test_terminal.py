"""A shell in a container: typed into, lost and found again, ended with the session of its person."""

import re
from typing import Any

from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import Page, expect

from clusters.models import Cluster
from tests.console.browser import PHONE, Walk
from tests.console.conftest import Make, Walker
from tests.socket_server import peer


def server(make: Make, name: str = "web") -> str:
    """A pod that runs on; its name."""
    make(
        "pods",
        {
            "metadata": {"name": name},
            "spec": {"containers": [{"name": "main", "image": "nginx:1"}]},
        },
        running=True,
    )
    return name


def opened(page: Page) -> Any:
    """The rows of the terminal, once it is connected."""
    expect(page.locator("#terminal-state")).to_have_text("Connected")
    return page.locator("#terminal .xterm-rows")


def test_a_shell_is_opened_and_runs_a_command(walk: Walk, cluster: Cluster, make: Make) -> None:
    page = walk.open(f"/clusters/{cluster.pk}/pods/{make.space}/{server(make)}/terminal")
    rows = opened(page)
    page.keyboard.type("echo the answer is $(echo forty-two)\n")
    expect(rows).to_contain_text("the answer is forty-two")
    page.keyboard.type("printf '\\e[31mred\\e[0m \\e[38;2;10;200;30mfree\\e[0m'\n")
    expect(rows.locator("span", has_text="red").last).to_have_css("color", "rgb(184, 38, 27)")
    assert walk.axe() == []
    walk.picture("shell")
    page.keyboard.type("exit 3\n")
    expect(page.locator("#terminal-state")).to_have_text("The shell ended with code 3.")
    page.get_by_role("button", name="Open a new session").click()
    opened(page)


def test_a_shell_begins_in_the_directory_of_the_address(
    walk: Walk, visitor: Client, cluster: Cluster, make: Make
) -> None:
    address = f"/clusters/{cluster.pk}/pods/{make.space}/{server(make)}/terminal?directory="
    page = walk.open(f"{address}/etc")
    rows = opened(page)
    expect(rows).to_contain_text("cd '/etc'")
    page.keyboard.type("echo in $(pwd)\n")
    expect(rows).to_contain_text("in /etc")
    # What a shell would take for a key is typed by nobody.
    assert b'"directory": "/a b"' in visitor.get(f"{address}/a b").content
    for path in ("etc", "/etc%0Areboot", "/etc%03", "/etc%1b"):
        assert b'"directory": ""' in visitor.get(f"{address}{path}").content, path


def test_a_lost_connection_comes_back_to_the_same_shell(
    walk: Walk, cluster: Cluster, make: Make, settings: Any
) -> None:
    page = walk.context.new_page()
    routes: list[Any] = []
    servers: list[Any] = []

    def through(socket: Any) -> None:
        routes.append(socket)
        if len(routes) == 3:
            socket.close(code=1012)
        else:
            servers.append(socket.connect_to_server())

    page.route_web_socket(re.compile("/ws/terminal/"), through)
    page.goto(f"{walk.base}/clusters/{cluster.pk}/pods/{make.space}/{server(make)}/terminal")
    rows = opened(page)
    page.keyboard.type("export SECRETLY=still-here\n")
    expect(rows).to_contain_text("SECRETLY")
    # What a network does that goes away: nobody says goodbye.
    routes[0].close(code=1012)
    expect(page.locator("#terminal-state")).to_have_text("Connected again; the shell went on.")
    page.keyboard.type("echo it is $SECRETLY\n")
    expect(rows).to_contain_text("it is still-here")
    assert len(routes) == 2
    # Who comes back too late finds the shell gone.
    settings.TERMINAL_HOLD_SECONDS = 0.1
    servers[1].close()
    routes[1].close(code=1001)
    expect(page.locator("#terminal-state")).to_have_text("The session is over.")


def test_a_page_that_is_loaded_again_shows_the_same_shell(
    walk: Walk, cluster: Cluster, make: Make
) -> None:
    page = walk.open(f"/clusters/{cluster.pk}/pods/{make.space}/{server(make)}/terminal")
    rows = opened(page)
    page.keyboard.type("export RELOADED=no-new-one\n")
    expect(rows).to_contain_text("RELOADED=no")
    page.reload()
    expect(page.locator("#terminal-state")).to_have_text("Connected again; the shell went on.")
    # What was printed before is there, and the shell knows what it knew.
    expect(rows).to_contain_text("RELOADED=no-new-one")
    page.keyboard.type("echo is $RELOADED\n")
    expect(rows).to_contain_text("is no-new-one")
    # A shell that was ended is not gone back to.
    page.get_by_role("button", name="End the session").click()
    expect(page.get_by_role("button", name="Open a new session")).to_be_visible()
    page.reload()
    rows = opened(page)
    page.keyboard.type("echo now:$RELOADED:\n")
    expect(rows).to_contain_text("now::")


def test_a_terminal_fits_a_phone_and_says_when_there_is_nothing_to_open(
    walker: Walker, person: User, cluster: Cluster, make: Make
) -> None:
    walk = walker(person, size=PHONE)
    page = walk.open(f"/clusters/{cluster.pk}/pods/{make.space}/{server(make)}/terminal")
    opened(page)
    assert not walk.is_wider_than_the_window()
    walk.picture("phone")
    make(
        "pods",
        {
            "metadata": {"name": "broken"},
            "spec": {"containers": [{"name": "main", "image": "nginx:does-not-exist"}]},
        },
    )
    page = walk.open(f"/clusters/{cluster.pk}/pods/{make.space}/broken/terminal")
    expect(page.get_by_role("heading", name="No container runs here")).to_be_visible()


def test_a_shell_on_a_node_is_opened_by_a_press_and_not_before(
    walk: Walk, cluster: Cluster, apiserver: Any
) -> None:
    node = apiserver.list("nodes")[0]["metadata"]["name"]
    before = len(apiserver.list("pods"))
    page = walk.open(f"/clusters/{cluster.pk}/nodes/-/{node}/terminal")
    expect(page.get_by_text("makes one privileged pod")).to_be_visible()
    assert len(apiserver.list("pods")) == before
    page.get_by_role("button", name="Open a root shell").click()
    opened(page)
    page.keyboard.type("whoami\n")
    expect(page.locator("#terminal .xterm-rows")).to_contain_text("root")
    page.get_by_role("button", name="End the session").click()
    expect(page.locator("#terminal-state")).to_have_text(
        re.compile("closed by the client|The session is over")
    )
    apiserver.wait(
        lambda: (
            len(
                [
                    pod
                    for pod in apiserver.list("pods")
                    if not pod["metadata"].get("deletionTimestamp")
                ]
            )
            <= before
        )
    )


def test_signing_out_ends_the_shell(
    live_streams: None, visitor: Client, cluster: Cluster, make: Make
) -> None:
    address = f"/clusters/{cluster.pk}/pods/{make.space}/{server(make)}/terminal/ticket"
    ticket = visitor.post(address, {}, content_type="application/json").json()
    with peer(ticket["terminal_url"]) as client:
        client.until(lambda one: "connected" in one.states())
        visitor.post("/signout")
        assert client.end() == 4001


def test_a_shell_that_waits_for_its_page_is_gone_after_signing_out(
    live_streams: None, visitor: Client, cluster: Cluster, make: Make, settings: Any
) -> None:
    # Nobody looks at the rights meanwhile but who lets the client back in.
    settings.STREAM_REAUTHORISE_SECONDS = 600.0
    address = f"/clusters/{cluster.pk}/pods/{make.space}/{server(make)}/terminal/ticket"
    ticket = visitor.post(address, {}, content_type="application/json").json()
    with peer(ticket["terminal_url"]) as client:
        client.until(lambda one: "connected" in one.states())
        token = next(frame for frame in client.frames if frame.get("token"))["token"]
    visitor.post("/signout")
    with peer(ticket["terminal_url"].partition("?")[0]) as again:
        again.send(type="attach", session=ticket["session"], token=token)
        assert again.end() == 4001
        assert again.output == ""


def test_another_browser_does_not_come_back_to_a_shell(
    live_streams: None, visitor: Client, person: User, cluster: Cluster, make: Make
) -> None:
    address = f"/clusters/{cluster.pk}/pods/{make.space}/{server(make)}/terminal/ticket"
    # Pages and sockets on one host: the browser sends its cookie to both.
    ticket = visitor.post(
        address, {}, content_type="application/json", headers={"host": "127.0.0.1"}
    ).json()
    with peer(ticket["terminal_url"]) as client:
        client.until(lambda one: "connected" in one.states())
        token = next(frame for frame in client.frames if frame.get("token"))["token"]
    other = Client()
    other.force_login(person)
    socket = ticket["terminal_url"].partition("?")[0]
    attach = {"type": "attach", "session": ticket["session"], "token": token}
    for cookies in ("", f"sessionid={other.session.session_key}"):
        with peer(socket, additional_headers={"Cookie": cookies}) as thief:
            thief.send(**attach)
            assert thief.end() == 4003
            assert thief.output == ""
    # The token is not spent by that: its own browser comes back with it.
    own = {"Cookie": f"sessionid={visitor.session.session_key}"}
    with peer(socket, additional_headers=own) as back:
        back.send(**attach)
        back.until(lambda one: "connected" in one.states())


def test_the_output_is_searched_copied_and_enlarged_and_text_is_pasted(
    walker: Walker, person: User, cluster: Cluster, make: Make
) -> None:
    walk = walker(person, size=PHONE)
    walk.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = walk.open(f"/clusters/{cluster.pk}/pods/{make.space}/{server(make)}/terminal")
    rows = opened(page)
    page.keyboard.type("for i in $(seq 1 200); do echo 中文 line-$i-; done\n")
    expect(rows).to_contain_text("line-200-")
    page.get_by_label("Search the output").fill("文 LINE-15-")
    expect(page.locator("#terminal-found")).to_have_text("1 of 1")
    expect(rows).to_contain_text("line-15-")
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == "文 line-15-"
    # The newest first, then those above it.
    page.get_by_label("Search the output").fill("line-1")
    expect(page.locator("#terminal-found")).to_have_text("111 of 111")
    page.get_by_role("button", name="Match before").click()
    expect(page.locator("#terminal-found")).to_have_text("110 of 111")
    page.get_by_label("Search the output").fill("nowhere to be read")
    expect(page.locator("#terminal-found")).to_have_text("No match")
    # Nothing is selected: what the screen shows is copied.
    page.keyboard.press("Escape")
    page.keyboard.press("Control+Shift+C")
    page.wait_for_function("navigator.clipboard.readText().then(text => text.includes('\\n'))")
    assert "中文 line-1" in page.evaluate("navigator.clipboard.readText()")
    page.get_by_role("button", name="Larger letters").click()
    expect(rows).to_have_css("font-size", "13px")
    page.evaluate("navigator.clipboard.writeText('echo is-$((40 + 2))-pasted')")
    page.get_by_role("button", name="Paste").click()
    expect(rows).to_contain_text("2))-pasted")
    assert walk.axe() == []
    assert not walk.is_wider_than_the_window()
    walk.picture("tools")
    # The size stays for the browser.
    page.reload()
    expect(rows).to_have_css("font-size", "13px")


def test_a_finished_init_container_opens_no_shell_in_another_by_itself(
    walk: Walk, cluster: Cluster, make: Make
) -> None:
    setup = {"name": "setup", "image": "busybox:1", "command": ["true"]}
    main = {"name": "main", "image": "nginx:1"}
    spec = {"initContainers": [setup], "containers": [main]}
    make("pods", {"metadata": {"name": "web"}, "spec": spec}, running=True)
    address = f"/clusters/{cluster.pk}/pods/{make.space}/web"
    page = walk.open(address)
    row = page.locator("li", has=page.get_by_text("setup", exact=True))
    expect(row.get_by_role("link", name="Logs")).to_be_visible()
    expect(row.get_by_role("link", name="Terminal")).to_have_count(0)
    page = walk.open(f"{address}/terminal?container=setup")
    expect(page.get_by_text("Container setup does not run")).to_be_visible()
    expect(page.locator("#terminal-state")).to_be_hidden()
    page.get_by_role("button", name="Open a new session").click()
    opened(page)
