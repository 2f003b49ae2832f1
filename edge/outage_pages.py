"""What a browser sees while the servers behind the front do not answer: a page, no JSON.

It needs nothing of the servers that are away: texts, colours and picture are in it.
"""

import hashlib
import re
from base64 import b64encode
from html import escape

from edge.wire import GATEWAY_PREFIX, Refusal, Request

# Status -> after how many seconds a browser asks again. A start takes seconds; a server that
# ended over a request may do so again.
RELOAD_SECONDS = {502: 15, 503: 3, 504: 15}
# Nothing that changes something is sent twice by itself.
RELOADING_METHODS = frozenset({b"GET", b"HEAD"})
CHINESE = "zh-Hans"
THEMES = frozenset({"light", "dark"})
TITLES = {
    502: ("KubeGale did not answer", "KubeGale 没有响应"),
    503: ("KubeGale is not available right now", "KubeGale 暂时不可用"),
    504: ("KubeGale did not answer in time", "KubeGale 没有及时响应"),
}
CHINESE_SENTENCES = {
    "The server is starting or stopping: try again in a moment.": (
        "服务器正在启动或停止，请稍后重试。"
    ),
    "The server holds too many bodies of requests: try again later.": (
        "服务器上等待处理的请求内容过多，请稍后重试。"
    ),
    "The server holds too much that waits for your address: try again later.": (
        "服务器上为您的地址等待处理的内容过多，请稍后重试。"
    ),
    "The server ended before it answered.": "服务器在响应之前已结束。",
    "The server did not answer in time.": "服务器没有在规定时间内响应。",
    "The server's answer cannot be read.": "无法读取服务器的响应。",
}
RELOADS = (
    "This page reloads by itself every {seconds} seconds.",
    "此页面每 {seconds} 秒自动重新加载一次。",
)
NOT_DONE = (
    "What you sent was not done: go back and send it again.",
    "您提交的操作没有执行：请返回并重新提交。",
)
MAY_BE_DONE = (
    "What you sent may have been done or not: look before you send it again.",
    "您提交的操作可能已执行，也可能没有：请先查看，再决定是否重新提交。",
)
RETRY = ("Try again", "重试")
OVERVIEW = ("To the overview", "返回概览")
# The console's colours, in light and dark.
DARK = (
    "color-scheme:dark;--ground:#0f1418;--paper:#161c22;--ink:#e3e8ed;--soft:#aab5c0;"
    "--line:#2a343d;--accent:#4cb3d6;--accent-ink:#06202b"
)
STYLE = (
    ":root{color-scheme:light;--ground:#f5f6f8;--paper:#fff;--ink:#1a2027;--soft:#4b5663;"
    "--line:#dde2e8;--accent:#0a6485;--accent-ink:#fff}"
    "@media (prefers-color-scheme:dark){:root:not([data-theme=light]){" + DARK + "}}"
    ":root[data-theme=dark]{" + DARK + "}"
    "body{margin:0;min-height:100vh;display:grid;place-items:center;background:var(--ground);"
    "color:var(--ink);font:14px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans',"
    "'PingFang SC','Microsoft YaHei','Noto Sans CJK SC',sans-serif}"
    "main{box-sizing:border-box;width:min(32rem,calc(100vw - 2rem));padding:1.4rem 1.6rem;"
    "background:var(--paper);border:1px solid var(--line);border-radius:8px}"
    ".brand{display:flex;align-items:center;gap:.5rem;margin:0 0 1rem;font-weight:650}"
    "svg{width:24px;height:24px}"
    "h1{margin:0 0 .5rem;font-size:1.35rem;line-height:1.25;font-weight:620}"
    "p{margin:0 0 .6rem}.soft{color:var(--soft)}"
    ".acts{display:flex;flex-wrap:wrap;gap:.5rem;margin:1rem 0 0}"
    "a{padding:.35rem .8rem;border:1px solid var(--line);border-radius:6px;color:var(--ink);"
    "font-weight:600;text-decoration:none}"
    "a.primary{background:var(--accent);border-color:var(--accent);color:var(--accent-ink)}"
    "a:focus-visible{outline:2px solid var(--accent);outline-offset:2px}"
)
# Only this very style may apply: nothing of the request could add another.
STYLE_HASH = b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = (
    f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'self'"
)
ICON = (
    '<svg viewBox="0 0 32 32" aria-hidden="true"><rect width="32" height="32" rx="7" '
    'fill="#0b6e8f"/><g fill="none" stroke="#fff" stroke-width="2.6" stroke-linecap="round">'
    '<path d="M6 12h13a4 4 0 1 0-4-4"/><path d="M6 17h17.5a3.8 3.8 0 1 1-3.8 3.8"/>'
    '<path d="M6 22h8a3 3 0 1 1-3 3"/></g></svg>'
)


def asks_for_page(request: Request | None, refusal: Refusal) -> bool:
    """Whether the refusal is one of ours that a browser opened as a page.

    A browser names text/html first of all; programs that take anything name no type.
    """
    if request is None or refusal.status not in RELOAD_SECONDS:
        return False
    if refusal.target.startswith(GATEWAY_PREFIX):
        return False
    types = [part.partition(b";")[0] for part in request.value(b"accept").split(b",")]
    return b"text/html" in {name.strip().lower() for name in types}


def outage_page(request: Request, refusal: Refusal) -> tuple[list[str], bytes]:
    """(lines of the head, body) of the page, in the language and theme of the request."""
    language = page_language(request)
    is_reloading = request.method in RELOADING_METHODS
    seconds = RELOAD_SECONDS[refusal.status]
    lines = [
        "Content-Type: text/html; charset=utf-8",
        f"Content-Language: {language}",
        f"Content-Security-Policy: {POLICY}",
        "Cache-Control: no-store",
        "Vary: Accept, Accept-Language, Cookie",
        "X-Content-Type-Options: nosniff",
        "Referrer-Policy: same-origin",
        f"Retry-After: {seconds}",
    ]
    if is_reloading:
        lines.append(f"Refresh: {seconds}")
    theme = _cookie(request, "theme")
    attribute = f' data-theme="{theme}"' if theme in THEMES else ""
    body = (
        f'<!doctype html>\n<html lang="{language}"{attribute}><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_text(TITLES[refusal.status], language)} · KubeGale</title>"
        f"<style>{STYLE}</style></head><body>"
        f"{_main(request, refusal, language)}</body></html>\n"
    )
    return lines, body.encode()


def _main(request: Request, refusal: Refusal, language: str) -> str:
    is_reloading = request.method in RELOADING_METHODS
    sentence = refusal.sentence
    if language == CHINESE:
        sentence = CHINESE_SENTENCES.get(sentence, sentence)
    note = _text(_note(request, refusal), language)
    note = note.format(seconds=RELOAD_SECONDS[refusal.status])
    # An empty address is the page itself. After a form there is nothing to ask again for.
    retry = f'<a class="primary" href="">{_text(RETRY, language)}</a>' if is_reloading else ""
    return (
        f'<main><p class="brand">{ICON}KubeGale</p>'
        f"<h1>{_text(TITLES[refusal.status], language)}</h1>"
        f'<p role="status">{escape(sentence)}</p><p class="soft">{note}</p>'
        f'<p class="acts">{retry}<a href="/">{_text(OVERVIEW, language)}</a></p></main>'
    )


def _note(request: Request, refusal: Refusal) -> tuple[str, str]:
    """What happens next."""
    if request.method in RELOADING_METHODS:
        return RELOADS
    # Of a request that is refused with 503 no server has read anything.
    return NOT_DONE if refusal.status == 503 else MAY_BE_DONE


def _text(texts: tuple[str, str], language: str) -> str:
    """The English or the Chinese one of two texts."""
    english, chinese = texts
    return chinese if language == CHINESE else english


def page_language(request: Request) -> str:
    """`en` or `zh-Hans`: what the console's cookie says, else what the browser prefers."""
    cookie = _cookie(request, "language").lower()
    if cookie:
        return CHINESE if cookie.startswith("zh") else "en"
    preferred: list[tuple[float, str]] = []
    for part in request.value(b"accept-language").decode("latin-1").lower().split(","):
        name, _, rest = part.strip().partition(";")
        weight = re.fullmatch(r"\s*q=([01](?:\.[0-9]{0,3})?)\s*", rest)
        preferred.append((float(weight[1]) if weight else 1.0, name.strip()))
    # Of equal weights the first counts: sorting keeps their order.
    for weight_of_name, name in sorted(preferred, key=lambda pair: -pair[0]):
        if weight_of_name > 0 and name.startswith(("zh", "en")):
            return CHINESE if name.startswith("zh") else "en"
    return "en"


def _cookie(request: Request, name: str) -> str:
    """The value of a cookie; "" when it is missing."""
    for value in (value for key, value in request.headers if key == b"cookie"):
        for part in value.decode("latin-1").split(";"):
            key, _, text = part.strip().partition("=")
            if key == name:
                return text.strip('" ')
    return ""
