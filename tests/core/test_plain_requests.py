"""Ordinary requests are read as gunicorn reads them; every other one is left to gunicorn."""

import random
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.http.errors import ParseException
from gunicorn.http.parser import RequestParser
from gunicorn.http.unreader import IterUnreader
from gunicorn.http.wsgi import create

from kubegale.plain_requests import Origin, PlainRequest, read_plain

UNIX = ("", "/run/web")
TCP = (("127.0.0.1", 5000), ("127.0.0.1", 8000))
STRANGER = (("192.0.2.7", 5000), ("127.0.0.1", 8000))
PLACES = (UNIX, TCP, STRANGER)
GET = b"GET /a?b=c HTTP/1.1\r\n"
HOST = b"Host: localhost:81\r\n"
# Each request makes its own.
UNLIKE = frozenset({"wsgi.input", "wsgi.errors", "wsgi.early_hints", "wsgi.multithread"})


def config(**settings: Any) -> Config:
    """gunicorn's settings as the web server has them."""
    cfg = Config()
    for name, value in {"limit_request_fields": 110, **settings}.items():
        cfg.set(name, value)
    return cfg


# Making it takes longer than reading a request.
USUAL = config()


def plain(
    data: bytes, place: Any = UNIX, cfg: Config | None = None
) -> tuple[PlainRequest, int] | None:
    """(the request, where its body begins); None for one that is not ordinary."""
    client, server = place
    # No request speaks to the socket.
    origin = Origin.of_connection(cfg or USUAL, None, client, server)  # type: ignore[arg-type]
    return read_plain(bytearray(data), origin, IterUnreader([]))


def slow(data: bytes, place: Any) -> tuple[Any, dict[str, Any], bytes]:
    """(the request, its environment, what follows the head) by gunicorn alone."""
    client, server = place
    parser = RequestParser(USUAL, [data], client)
    request = next(parser)
    _, environ = create(request, None, client, server, USUAL)
    return request, environ, parser.unreader.take_buffered()


def alike(environ: dict[str, Any]) -> dict[str, Any]:
    """The part of an environment that depends on the request alone."""
    return {key: value for key, value in environ.items() if key not in UNLIKE}


def check(data: bytes, place: Any) -> PlainRequest:
    """Both read the same."""
    reading = plain(data, place)
    assert reading
    request, size = reading
    other, environ, rest = slow(data, place)
    assert alike(request.environ) == alike(environ)
    assert request.body.reader.length == other.body.reader.length
    assert data[size:] == rest
    shape = (request.method, request.uri, request.path, request.query, request.version)
    assert shape == (other.method, other.uri, other.path, other.query, other.version)
    assert request.should_close() == other.should_close()
    return request


ORDINARY = [
    GET + HOST + b"\r\n",
    b"DELETE /a%2Fb%C3%A9/c HTTP/1.1\r\nhost:x\r\nConnection:Close\r\n\r\n",
    b"OPTIONS /?a=/?b HTTP/1.1\r\nhost: [::1]:8000 \t\r\nX-Note: \xc3\xa9\t z\r\nX-Empty:\r\n\r\n",
    GET + HOST + b"X-Forwarded-Proto: https\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n",
    GET + HOST + b"X-Forwarded-Proto: http\r\nX-Forwarded-SSL: off\r\n\r\n",
    GET + HOST + b"Connection: keep-alive, close\r\nCookie: a=b; c=d\r\n\r\n",
    b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Type: a/b\r\n\r\nabcGET / HT",
    GET + HOST + b"a: b\r\n" + b"".join(b"x%d: y\r\n" % number for number in range(108)) + b"\r\n",
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("data", ORDINARY)
def test_an_ordinary_request_is_read_as_gunicorn_reads_it(data: bytes, place: Any) -> None:
    check(data, place)


def test_a_proxy_that_we_trust_says_that_its_client_speaks_tls() -> None:
    data = GET + HOST + b"X-Forwarded-Proto: https\r\n\r\n"
    schemes = [check(data, place).environ["wsgi.url_scheme"] for place in PLACES]
    assert schemes == ["https", "https", "http"]


@pytest.mark.parametrize(
    "data",
    [
        GET + HOST,
        GET + b"\r\n",
        GET + b"Host:\r\n\r\n",
        GET + HOST + HOST + b"\r\n",
        GET + HOST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\n",
        GET + HOST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        GET + HOST + b"Transfer-Encoding: chunked\r\n\r\n",
        GET + HOST + b"Transfer-Encoding: identity\r\n\r\n",
        GET + HOST + b"Content-Length: +3\r\n\r\n",
        GET + HOST + b"Content-Length: 0x3\r\n\r\n",
        GET + HOST + b"Content-Length: \xb2\r\n\r\n",
        GET + HOST + b"Content-Length:\r\n\r\n",
        GET + HOST + b"Content-Length: 1234567890123456789\r\n\r\n",
        GET + HOST + b"Content-Type: a/b\r\nContent-Type: a/b\r\n\r\n",
        GET + HOST + b"Cookie: a\r\ncookie: b\r\n\r\n",
        GET + HOST + b"Expect: 100-continue\r\n\r\n",
        GET + HOST + b"X-Forwarded-Proto: https\r\nX-Forwarded-SSL: off\r\n\r\n",
        GET + HOST + b"X_Forwarded_For: 10.0.0.1\r\n\r\n",
        GET + HOST + b"a: b\r\n c\r\n\r\n",
        GET + HOST + b"a: b\r\n\tc: d\r\n\r\n",
        GET + HOST + b"a : b\r\n\r\n",
        GET + HOST + b": b\r\n\r\n",
        GET + HOST + b"a\r\n\r\n",
        GET + HOST + b"a: b\x00c\r\n\r\n",
        GET + HOST + b"a: b\rc\r\n\r\n",
        GET + HOST + b"a: b\nc: d\r\n\r\n",
        GET + HOST + b"a: b\x7f\r\n\r\n",
        GET + HOST + b"\xe9: b\r\n\r\n",
        GET + b" " + HOST + b"\r\n",
        GET + HOST[:-2] + b"\n\n",
        b"\r\n" + GET + HOST + b"\r\n",
        b"get / HTTP/1.1\r\n" + HOST + b"\r\n",
        b"CONNECT / HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET / HTTP/1.1 \r\n" + HOST + b"\r\n",
        b"GET / HTTP/1.0\r\n" + HOST + b"\r\n",
        b"GET / HTTP/1.2\r\n" + HOST + b"\r\n",
        b"GET /\r\n" + HOST + b"\r\n",
        b"GET http://localhost/ HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET //localhost/ HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /a#b HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /\xc3\xa9 HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /\x7f HTTP/1.1\r\n" + HOST + b"\r\n",
        b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n",
        GET + HOST + b"a: " + b"b" * 8190 + b"\r\n\r\n",
        GET + HOST + b"".join(b"x%d: y\r\n" % number for number in range(110)) + b"\r\n",
    ],
)
def test_what_could_be_read_in_two_ways_is_left_to_gunicorn(data: bytes) -> None:
    for place in (UNIX, TCP):
        assert plain(data, place) is None


def test_where_settings_change_the_reading_nothing_is_ordinary(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = ORDINARY[0]
    assert plain(data, TCP, config(proxy_protocol=True)) is None
    assert plain(data, TCP, config(limit_request_line=len(data) - 1)) is None
    monkeypatch.setenv("SCRIPT_NAME", "/below")
    assert plain(data, TCP) is None


def mutate(data: bytes, chance: random.Random) -> bytes:
    """Some bytes put in, taken out or changed."""
    pieces = [b"\r\n", b"\x85", b"\xa0", b"Host: y\r\n", b"Content-Length: 1\r\n"]
    pieces += [b"Transfer-Encoding: chunked\r\n", *(b"%c" % byte for byte in b"\r\n \t:\0_-#/0")]
    changed = bytearray(data)
    for _ in range(chance.randint(1, 3)):
        place = chance.randrange(len(changed))
        changed[place : place + chance.randint(0, 2)] = chance.choice(pieces)
    return bytes(changed)


def test_what_is_changed_at_random_is_read_in_one_way_or_refused() -> None:
    """Of ten thousand, each that is ordinary is one for gunicorn too, and the same."""
    chance = random.Random(7)  # the same in every run
    ordinary = 0
    for _ in range(10_000):
        data = mutate(chance.choice(ORDINARY[:7]), chance)
        place = chance.choice(PLACES)
        if plain(data, place):
            ordinary += 1
            try:
                check(data, place)
            except ParseException as error:
                pytest.fail(f"gunicorn refuses {data!r}: {error}")
    assert ordinary > 1000
