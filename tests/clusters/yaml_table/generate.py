"""Ask kubectl how it reads scalars and shapes of YAML, and what we write: its answers go to table.json and written.json.

    python -m tests.clusters.yaml_table.generate KUBECONFIG

The API server of the kubeconfig is asked for its kinds only; nothing is made there. Each row is
{"text": the document, "value": what kubectl made of its member `value`} or {"text", "refused": true}.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clusters.manifests import to_yaml

TABLE = Path(__file__).with_name("table.json")
WRITTEN = Path(__file__).with_name("written.json")
HEAD = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n"

WORDS = (
    "y Y n N yes Yes YES yEs no No NO nO on On ON oN off Off OFF oFF true True TRUE tRUE false"
    " False FALSE null Null NULL nULL ~ ~~ nil none t f T F o O yy nn y1 tru true1 nullx"
)
NUMBERS = (
    "0 1 -1 +1 00 01 07 08 09 010 017 018 0017 -017 +017 0o7 0o17 -0o17 +0o17 0O17 0o8 0b0 0b11"
    " -0b11 +0b11 0B11 0b2 0x0 0x1f 0X1F 0xfF -0x1f +0x1f 0xg 1_000 _1 1_ 1__0 0x_1 0_7 1_000.5"
    " 12e03 1e3 1E3 1e+3 1e-3 1e03 -1e3 +1e3 1e 1e+ e3 1.e3 .e3 1.5 -1.5 +1.5 1. -1. +1. .5 -.5 +.5"
    " 0.5 00.5 01.5 1.5.5 1..5 . .. ... - + -- +- 3.0 -3.0 2.50 0.0 -0.0 -0 +0 1.00065e+09"
    " 1e10 1e15 1e18 1e19 1e20 1e21 1e22 123456789012345680.0 1e-5 1e-6 1e-7 1.5e300 1e308"
    " 0.1 100000000000000000000.5 9007199254740993 9007199254740993.0"
    " 2147483648 4294967296 9223372036854775807 -9223372036854775808 1_e3 0e0 0e5 00e1"
    " 0x7fffffffffffffff 0o777777777777777777777 0b111111111111111111111111111111111111"
    " 0x1p4 0x1.8p1 0x.8p1 1p4 .0x1 ._1 .1_0 .5e3 .5e 1:30 190:20:30 190:20:30.15 -1:30 12:30:45 0:0"
    " 1,000 1'000 1/2 50% 100m 1Gi 1.2.3 v1 1a a1 0b 0o 0x 0xZ 1-2 1+2 +-1 infinity Infinity inf Inf"
    " nan NaN NAN -inf +inf .infx .nanx -.nan +.nan 0777777777777777777777777 -0_777777777777777777777777"
    " 00185035942822670313 0939328511660445853 7.785107338225844e+17 -9007199254740994.0 0o1777777777777777777777"
)
DATES = (
    "2024-01-01 2024-1-1 2024-01-01T10:00:00Z 2024-01-01t10:00:00z 2024-01-01T10:00:00.123+08:00"
    " 2024-13-45 24-01-01 2024-01 2024 20240101 2024-01-01T1:2:3Z"
)
SIGNS = "= == != < > << >> <=> <> =~ ~= a=b <<a - -a ?a :a a:b a# $ ^ ( ) ; / \\ . _ __ -- ----"
INFINITE = ".inf .Inf .INF -.inf +.inf .nan .NaN .NAN 1e309 -1e309"
BEYOND = (
    "9223372036854775808 18446744073709551615 18446744073709551616 -9223372036854775809"
    " 123456789012345678901234567890 0xffffffffffffffff 0x1ffffffffffffffff 0xffffffffffffffffffff"
)
PHRASES = (
    "2024-01-01 10:00:00", "2024-01-01 10:00:00 +0800", "a b", "yes no", "1 2", "a: b: c"[:4] + "c",
    "x # comment", "x#no comment", "'single'", '"double"', "''", '""', "'yes'", '"1e3"', "'<<'",
    "'null'", '"\\u00e9"', '"\\x41"', '"\\U0001F600"', '"a\\tb"', '"a\\nb"', '"\\e\\0"', '"\\N\\_"',
    "'it''s'", "пароль", "日本語", "😀", "é", "a\u0301", '"\\/"', "\u00a0", "a\u2028b", "'\u2029'",
    "`a", "@a", "%a", "a%b", "!", "! a", "&a", "&a 1", "&a yes", "[]", "{}", "[ ]", "{ }",
)  # fmt: skip
TAGGED = (
    "!!str 5", "!!str yes", "!!str null", "!!str", "!!str ''", "!!int 5", '!!int "5"', "!!int 0x1f",
    "!!int x", "!!int 5.5", "!!int yes", "!!float 5", "!!float 5.5", '!!float "5"', "!!float x",
    "!!bool yes", "!!bool true", '!!bool "true"', "!!bool x", "!!bool 1", "!!null null", "!!null ''",
    "!!null x", "!!null", "!!binary aGVsbG8=", "!!binary 'aGVsbG8='", "!!binary aGVsbG8", "!!binary ///",
    "!!binary |\n  aGVs\n  bG8=", "!!binary /w==", "!!timestamp 2024-01-01", "!!timestamp x",
    "!x foo", "!x 5", "!x yes", "!x 'yes'", "!x", "!x [1, yes]", "!x {a: yes}", "!!x foo", "!!x 5",
    "!<tag:yaml.org,2002:str> 5", "!<tag:yaml.org,2002:int> 5", "!<x> 5", "! 5", "! yes", "! [1]",
    "!!map {a: 1}", "!!seq [1]", "!!set {a, b}", "!!set {a: 1}", "!!omap [a: 1]", "!!pairs [a: 1]",
    "!!map [1]", "!!seq {a: 1}", "!!str [1]", "!!int {a: 1}", "!!merge <<", "!!value =", "!!python/none x",
)  # fmt: skip
SHAPES = (
    "[1, yes, ~, a]", "[1,]", "[,]", "[1, 2", "{a: 1, b: 2}", "{a: 1,}", "{a}", "{a, b: 1}", "{a:1}",
    '{"a":1}', "{'a':1}", "[a: 1]", "[a: 1, b: 2]", "[? a : 1]", "{? a : 1}", "{a: }", "{: a}", "[[], {}]",
    "[[1], [2, [3]]]", "{a: {b: {c: 1}}}", "\n  a: 1\n  b: 2", "\n- 1\n- 2", "\n  - 1\n  - - 2\n    - 3",
    "\n  - a: 1\n    b: 2\n  - a: 3", "\n  a:\n  - 1\n  b:\n    - 2", "\n  ? a\n  : b", "\n  ? [a]\n  : b",
    "\n  ? {a: 1}\n  : b", "\n  a: 1\n  a: 2", "{a: 1, a: 2}", "{1: a, '1': b}", "{1: a}", "{1.5: a}",
    "{1.0: a}", "{1e3: a}", "{true: a}", "{yes: a}", "{on: a}", "{n: a}", "{y: a}", "{~: a}", "{null: a}",
    "{'': a}", "{0x1f: a}", "{017: a}", "{08: a}", "{2024-01-01: a}", "{1:30: a}", "{=: a}", "{.5: a}",
    "{.inf: a}", "{.nan: a}", "{-1: a}", "{9223372036854775807: a}", "{9223372036854775808: a}",
    "{18446744073709551616: a}", "{1e30: a}", "{1234567.5: a}", "{0.1: a}", "{1e-7: a}", "{100000000.0: a}",
    "{16777217.0: a}", "{-0.0: a}", "{-1e-300: a}", "{-0: a}",
    "{0777777777777777777777777: a}", "{!!str 1: a}", "{!!binary aGk=: a}", "{!x 1: a}", "{[1]: a}", "{a b: c}",
    "|\n  a\n  b\n", "|-\n  a\n  b\n", "|+\n  a\n  b\n\n", ">\n  a\n  b\n", ">-\n  a\n  b\n\n  c\n", ">+\n  a\n\n",
    "|2\n    a\n", "|1\n  a\n", "|\n", "|-\n", ">\n  a\n    b\n  c\n", "|\n  yes\n", "|-\n  5\n", "!!int |-\n  5\n",
    "a\n  b", "a\n\n  b", "\"a\n  b\"", "\"a\\\n  b\"", "'a\n\n  b'", "&x [1, 2]", "[&x 1, *x, *x]",
    "[&x yes, *x]", "[&x {a: 1}, *x]", "[&x [1], *x]", "[*x]", "{a: &x 1, b: *x}", "{&x a: 1, b: *x}",
    "{&k a: b, c: *k}", "[&x 1, &x 2, *x]", "&x [*x]", "{*x : 1}", "[&x a, {*x : 1}]",
    "\n  a: &x {p: 1, q: 2}\n  b:\n    <<: *x\n    q: 3", "\n  a: &x {p: 1, q: 2}\n  b:\n    q: 3\n    <<: *x",
    "\n  a: &x {p: 1}\n  c: &y {p: 2, q: 3}\n  b:\n    <<: [*x, *y]",
    "\n  a: &x {p: 1}\n  c: &y {p: 2, q: 3}\n  b:\n    <<: [*x, *y]\n    q: 9\n    r: 1",
    "{<<: {a: 1}}", "{<<: {a: 1}, a: 2}", "{a: 2, <<: {a: 1}}", "{<<: [{a: 1}, {a: 2, b: 3}]}", "{<<: 1}",
    "{<<: ~}", "{<<: [1]}", "{<<: []}", "{<<: {}}", "{<<: x}", "{'<<': {a: 1}}", '{"<<": 1}', "{!!str <<: {a: 1}}",
    "{!!merge <<: {a: 1}}", "{<<: {<<: {a: 1}, b: 2}}", "{<<: {a: 1}, <<: {b: 2}}", "{<<: &m {a: 1}, b: *m}",
    "{<<: {1: a}}", "{<<: [[{a: 1}]]}", "[<<]", "[<<, =]", "[!=, =, <]", "[!=, =]", "[!=,=]", "[=, !=]", "[!=, ]",
    "[!= , =]", "[!x,\n 5,\n !y, # c\n 6]", "[!!int, 5]", "[!!int,5]", "[!<x>, a]", "[!x, ~]",
    "[!x, 'q']", "[!x, !y c]", "[!x, !y, c]",
    "[&b 1, !x, *b]", "[!x, &a c, *a]", "[!x &a, c, *a]", "[!x, [1]]", "[!x, {a: 5}, 3]",
    "[!x, yes: b]", "[!x, ? a : b]", "[!x, &m {a: 1}, *m]",
    "{x: !=, y: =}", "{x: !=, }", "[[!x, 1], 2]", "{a: [!=, 5]}", "['', !x '', 1]", "[!x \"\", 1]",
    "{a: =, =: b}", "- 1", "@", "`", "\tx", "x\ty",
    "a: b", "'a", '"a', '"\\q"', '"\\ud83d\\ude00"', '"\\ud83d"', "[1]]", "{a: 1}}", "? a", "*", "&", "&a", "%", "!!",
    "|3\n  a\n", "\n\tb: 1", "\n    a: 1\n  b: 2", "\n  a: 1\n   b: 2", "# only a comment", "", " ", "x\n# after\n",
    '"a": 1', "{\"a\": [1.0, 2.5, 1e3, -0.0]}", "{\n  a: 1\n  }", "[\n  1,\n  2 ]", "{a: 1, # c\n  b: 2}",
    "\x85", "a\x7fb", "a\x01b", "\ufeffx", "a\ufeffb", '"\\ufeff"', "\ufffd", "\U0001f600\U0001f600",
)  # fmt: skip
WHOLE = (
    "\ufeff{head}value: 1\n", "\ufeff# a comment\n{head}value: 2\n", "%YAML 1.1\n---\n{head}value: yes\n",
    "%YAML 1.2\n---\n{head}value: yes\n", "%YAML 1.3\n---\n{head}value: 1\n", "%YAML 2.0\n---\n{head}value: 1\n",
    "%TAG !e! tag:example.com,2000:\n---\n{head}value: !e!x 5\n", "%FOO bar\n---\n{head}value: 1\n",
    "---\n{head}value: 3\n", "---\n{head}value: 3\n...\n", "{head}value: 4\n---\n", "---\n---\n{head}value: 5\n",
    "# c\n---\n# d\n{head}value: 6\n", "null\n---\n{head}value: 7\n", "{head}value: 8\n---\nnull\n",
    "{head}value: 9\n# end", "{head}value:\n- a\n- b\n", "{head}value: a\nvalue: b\n", "{head}value: 1\n? value2\n: 2\n",
    "--- # c\n{head}value: 10\n", "\n\n{head}value: 11\n", "{head}value: 12\n...\n", "{head}value: 13\r\n",
)  # fmt: skip
JSON_VALUES = (
    "1", "1.0", "1e3", "1E3", "-0", "-0.0", "1.5", "1e400", "9223372036854775807", "9223372036854775808",
    "18446744073709551616", "123456789012345678901234567890", "01", "+1", ".5", "1.", "NaN", "Infinity", "true", "True",
    "null", '"yes"', '"\\ud83d\\ude00"', '"\\u00e9"', '"\\/"', "[1,2]", "[1,]", '{"a":1,"a":2}', "yes", "'a'", "a",
    "[1.0,{\"b\":2.0}]", "1 ", "\t1",
)  # fmt: skip
WRITTEN_TOO = (
    "", " ", "a\n", "a\nb\n", "\n", "\na", " a\nb", "a \nb", "\ta\nb", "a\r\nb", "a\tb", "a: b", "a #b", "- a", "? a", "[a]",
    "{a}", "'a'", '"a"', "*a", "&a", "!a", "!!a", "%a", "@a", "`a", "a\\nb", "a\x01b", "a\x7fb", "a\x85b", "a\u2028b", "\ufeffa",
    "a\ufeffb", "😀", "日本語", "e\u0301", "2024-01-01 10:00:00", "---", "--- a", "...", "a\n---\nb", "a\n...\nb\n", "# a\nb",
    "a\n# b\n", "x" * 400, "x " * 200, "a\n\n\nb\n\n", "\u00a0", "\x00",
)  # fmt: skip


def texts() -> Iterator[str]:
    """Every document of the table; `{name}` in it is the object's name."""
    for word in " ".join((WORDS, NUMBERS, DATES, SIGNS, INFINITE, BEYOND)).split():
        yield HEAD + f"value: {word}\n"
    for value in (*PHRASES, *TAGGED, *SHAPES):
        yield HEAD + f"value: {value}\n"
    for text in WHOLE:
        yield text.replace("{head}", HEAD)
        yield text.replace("{head}", HEAD).replace("\r\n", "\n").replace("\n", "\r\n")
    for value in JSON_VALUES:
        start = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"{name}"},"value":'
        yield start + value + "}"


def asked(documents: list[str], kubeconfig: str) -> list[dict[str, Any]]:
    """kubectl's answers, row by row."""
    with tempfile.TemporaryDirectory() as folder:
        for number, text in enumerate(documents):
            name = f"c{number:04}"
            file = Path(folder) / f"{name}.yaml"
            file.write_bytes(text.replace("{name}", name).encode())
        command = ["kubectl", "--kubeconfig", kubeconfig, "create", "--dry-run=client"]
        command += ["--validate=false", "-o", "json", "-f", folder]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
    decoder, rest, answers = json.JSONDecoder(), answer.stdout.strip(), {}
    while rest:
        found, end = decoder.raw_decode(rest)
        rest = rest[end:].lstrip()
        for item in found.get("items") or [found]:
            answers[item["metadata"]["name"]] = item
    rows: list[dict[str, Any]] = []
    for number, text in enumerate(documents):
        item = answers.get(f"c{number:04}")
        rows.append(
            {"text": text, "refused": True}
            if item is None
            else {"text": text, "value": item.get("value")}
        )
    return rows


def main(kubeconfig: str) -> None:
    """Write the table."""
    documents = list(dict.fromkeys(texts()))
    rows = asked(documents, kubeconfig)
    lines = ",\n".join(json.dumps(row, ensure_ascii=True) for row in rows)
    TABLE.write_text(f"[\n{lines}\n]\n")
    names = list(
        dict.fromkeys(
            (*" ".join((WORDS, NUMBERS, DATES, SIGNS, INFINITE, BEYOND)).split(), *WRITTEN_TOO)
        )
    )
    written = [to_yaml({name: name}) for name in names]
    read = asked([HEAD + to_yaml({"value": {name: name}}) for name in names], kubeconfig)
    rows = [
        {"value": name, "written": text, "read": row.get("value")}
        for name, text, row in zip(names, written, read, strict=True)
    ]
    lines = ",\n".join(json.dumps(row, ensure_ascii=True) for row in rows)
    WRITTEN.write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main(sys.argv[1])
