#!/usr/bin/env python3
"""Writes trees.json: YAML documents with the trees that PyYAML's safe loader makes of them.

Needs PyYAML (6.0.3 made the file that lies here). Run it again after adding a document:

    python3 generate.py > trees.json

Each entry is [document, tree]; the tree of a document that PyYAML refuses is {"refused": true}. Trees are JSON, where a
mapping is {"map": [[key, value], ...]} in order, and what JSON has no type for is {"type": NAME} or {"int": DIGITS}.
"""

import datetime
import json
import random

import yaml

# Every scalar is tried as the value of a key, plain.
PLAIN = """
36 0 -0 +0 00 007 010 08 018 -010 +17 1_000 1__0 _1 0_7 0b101 -0b11 0b 0b2 0x1F 0xfg 0x -0xAB_CD 0o17 0B1 0X1
1:30 1:3 1:60 60:1 0:30 190:20:30 -1:30 1:30:5: 1:5_0 1_0:59
1.10 1. .5 -.5 +.5 ._5 1_0.5_0 1.0e+3 1.0e3 1e3 1e+3 1.e+3 .5e-1 .5e1 12.E+01 -1.5 +1.5 1..2 1.2.3 . .. -. 1.5.
1:30.5 1:30. 1:60.5 190:20:30.15 0:30.5 .inf -.Inf +.INF .iNF .nan .NaN .NAN -.nan +.nan inf nan
yes Yes YES yEs no No NO true True TRUE tRue false False FALSE on On ON off Off OFF y Y n N t f
~ null Null NULL nUll none None nil
2020-01-01 2020-1-1 2020-01-1 202-01-01 20200-01-01 2020-01 2020-01-01T00:00:00Z 2020-1-1T1:02:03
2020-01-01t01:02:03.5+01:30 2020-01-01T01:02 2020-01-01T01:02:03-5 2020-01-01x 2020-01-01Z
= == =1 <<a a<< x:y a#b #a :a a: -a --a ?a ?? a?b @a `a %a &a *a !a |a >a ,a [a {a ]a }a a,b a]b a}b 'a" "a' a'b a"b
a\\b U:\\ U:/ http://x:80/y ${HOME} {{x}} ~/x ~x ../x ./x - -- --- ... .... é 日本 1.2.3-rc1 5.4.1-custom1
170141183460469231731687303715884105727 99999999999999999999 0xffffffffffffffff
""".split() + [
    "2020-01-01 01:02:03", "2020-1-1  1:02:03.25 +1", "2020-01-01 01:02:03 Z", "2020-01-01 1:2:3", "a b", "1 2", "yes no",
    "a  b", "a # c", "a #", "a: b", "- a", "? a", "1 # c", "1#c", "", " ", "a\tb", "\ta", "a\t", "a \t# c",
]

# Written as they are.
DOCUMENTS = [
    # Quotes and escapes.
    "a: ''", 'a: ""', "a: 'it''s'", 'a: "\\n\\t\\\\\\"\\/\\x41\\u00e9\\U0001F600\\0\\e\\_\\N"', 'a: "\\q"', 'a: "\\x4"', "a: 'a\n  b'",
    'a: "a\n  b\n\n  c"', 'a: "a\\\n  b"', "a: 'a", 'a: "a', 'a: "U:\\"', "a: 'U:\\'", "a: 'x' y", 'a: "1"', "a: '~'", "a: 'yes'",
    'a: "a\tb"', "'a': 1\n\"b\": 2", "'<<': 1", "a: '='", 'a: "x" # c', "'a' : b", "a : b",
    # Blocks.
    "a: |\n  x\n  y\n", "a: |\n  x\n  y", "a: |-\n  x\n\n", "a: |+\n  x\n\n", "a: >\n  x\n  y\n\n  z\n", "a: >-\n  x\n   y\n  z\n",
    "a: |2\n   x\n  y\n", "a: |1-\n  x\n", "a: |-2\n   x\n", "a: |0\n  x\n", "a: | # c\n  x\n", "a: |x\n  y\n", "a: |\n\n\n  x\n", "a: |\nb: 1\n",
    "a: |\n  # no comment\n# comment\nb: 1\n", "a: |\n  x\n y\n", "- |\n x\n", "a: |\n  \tx\n  y\tz\n", "a: |\r\n  x\r\n  y\r\n", "a: |\n  x  \n  y \n",
    # Plain text over several lines.
    "a: b\n  c\n", "a: b\n\n  c\n", "a: b\nc\n", "a:\n  b\n  c\n", "a: b # c\n  d\n", "a: [b\n  c, d]\n",
    # Mappings and lists.
    "a: 1\nb: 2\n", "a: 1\n b: 2\n", " a: 1\n b: 2\n", "a:\n  b: 1\n c: 2\n", "a:\n- 1\n- 2\n", "a:\n  - 1\n  - 2\nb: 3\n", "a:\n - 1\n  - 2\n",
    "a: - 1", "a:\n  - b: 1\n    c: 2\n  - d\n", "a:\n  -\n    b: 1\n  - - 1\n    - 2\n", "a:\n", "a:\nb:\n", "a:\n  -\n  -\n", "a:1", "a:1\nb: 2", "a", "a: b: c",
    "a: {}", "a: []", "a: {b: 1, c: 2}", "a: {b: 1, c: 2,}", "a: [1, 2,]", "a: [1,,2]", "a: {,}", "a: {b, c: 1}", "a: {b: , c}", "a: [b: 1]", "a: [b: 1, c]",
    "a: {b: 1", "a: [1", "a: [1}", "a: {b: {c: [1, {d: e}]}}", "a: [\n  1,\n  2\n]\n", "a: {\n  b: 1\n}\n", "a: {b: 1} c", "a: {'b':1}", 'a: {"b":[1]}',
    "a: {b:c}", "a: [x:y]", "a: [http://x]", "a: [a b, c d]", "a: {b: c d, e: f}", "a: [-1, - 2]", "a: [?, b]", "{a: 1}", "{a: 1}\n", "[a]", "a: [#c\n 1]",
    # Keys.
    "? a\n: b\n", "? a\n", "? [a]\n: b\n", "? {a: 1}\n: b\n", "{[a]: b}", "1: a", "yes: a", "~: a", "1.5: a", "2020-01-01: a", ": a", "'': a", "a b: c", "=: a", "? |\n  x\n: y\n",
    "36: x\nb: y\n", "a: {on: 1}", "é: 1", "a.b: 1", "-a: 1", "?a: 1", "a?: 1", '"a\\nb": 1', "x" * 200 + ": 1",
    # Duplicate keys: the last one wins, at the position of the first.
    "a: 1\nb: 2\na: 3\n", "a: {b: 1}\na: {c: 2}\n", "a: 1\n'a': 2\n", "a: x\n? a\n: y\n", "{a: 1, b: 2, a: [3]}",
    # Anchors and aliases.
    "a: &x 1\nb: *x\n", "a: &x {b: 1}\nc: *x\n", "a: &x [1]\nb: [*x, *x]\n", "a: *x\n", "a: &x 1\nb: &x 2\n", "&x a: 1\nb: *x\n", "&x\na: 1\n", "&x a: *x\n", "a: &x\nb: *x\n",
    "a: &x-1_b 1\nb: *x-1_b\n", "a: &x.y 1\n", "a: &é 1\n", "a: & b\n", "a: * b\n", "*x : 1\n", "a: &x b\n*x : 1\n", "a: &x !!str 1\nb: *x\n", "a: !!str &x 1\nb: *x\n", "a: &x &y 1\n",
    "a: &x |\n  t\nb: *x\n", "a: [&x 1, *x]\n", "a: &x 'q'\nb: *x # c\n", "a: &x 1\nb: *x x\n",
    # Merge keys.
    "a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}\n", "a: &x {b: 1}\nd:\n  c: 1\n  <<: *x\n", "a: &x {b: 1}\nc: &y {b: 2, d: 3}\ne: {<<: [*x, *y]}\n",
    "a: &x {b: 1}\nc: &y {b: 2, d: 3}\ne: {<<: *x, <<: *y}\n", "a: &x {b: 1}\nc: &y {<<: *x, d: 2}\ne: {<<: *y}\n", "<<: {a: 1}\nb: 2\n", "<<: [{a: 1}, {a: 2, b: 3}]\n",
    "<<: []\na: 1\n", "<<: 1\n", "<<: ~\n", "<<: [1]\n", "<<: [[]]\n", "a: <<\n", "a: [<<]\n", "a: {<<: {b: {c: 1}}, b: {d: 2}}\n", "b: 0\n<<: {a: 1, b: 2}\nc: 3\n", "!!merge x: {a: 1}\n",
    "a: &x {b: 1, c: 2}\nd: {c: 0, b: 9, <<: *x}\n", "<<: {1: a, b: c}\n", "a: =\n", "a: [=]\n", "a: {=: 1}\n",
    # Tags.
    "a: !!str 36", "a: !!str", "a: !!str yes", "a: !!str [a]", "a: !!int '36'", "a: !!int x", "a: !!int 0x1F", "a: !!int '010'", "a: !!int ''", "a: !!float 3", "a: !!float x", "a: !!float 1e3",
    "a: !!bool 'yes'", "a: !!bool x", "a: !!bool NO", "a: !!null x", "a: !!null ''", "a: !!map {}", "a: !!map []", "a: !!map x", "a: !!seq []", "a: !!seq {}", "a: !!seq x", "a: !!set {b, c}", "a: !!set [b]",
    "a: !!omap [b: 1]", "a: !!omap [b]", "a: !!omap {b: 1}", "a: !!omap []", "a: !!pairs [b: 1, b: 2]", "a: !!pairs [{b: 1, c: 2}]", "a: !!binary aGVsbG8=", "a: !!timestamp 2020-01-01", "a: !!timestamp x",
    "a: ! 36", "a: ! '36'", "a: ! yes", "a: ! [1]", "a: !x 1", "a: !x [1]", "a: !x {b: 1}", "a: !!x 1", "a: !!python/none x", "a: !<tag:yaml.org,2002:str> 36", "a: !<x> 1", "a: !<tag:yaml.org,2002:str 36",
    "%TAG !e! tag:yaml.org,2002:\n---\na: !e!str 36\n", "a: !e!str 36\n", "!!map {a: 1}\n", "!!str a: 1\n", "!!int 1: 2\n", "!!binary x: 1\n", "a: !!str\nb: 1\n", "a: !!str |\n  x\n",
    # Streams.
    "", "\n", "# c\n", "---\n", "---\n...\n", "--- a: 1\n", "---\na: 1\n", "---\na: 1\n...\n", "a: 1\n...\n", "a: 1\n---\nb: 2\n", "a: 1\n---\n", "a: 1\n...\nb: 2\n", "%YAML 1.1\n---\na: 1\n", "%FOO x\n---\na: 1\n",
    "~", "null\n", "a\n", "- a\n", "36\n", "--- {a: 1}\n", "\ufeffa: 1\n", "a: \ufeffb\n", "a: 1\r\nb: 2\r\n", "a: 1\rb: 2\r", "a: 1\n\n\n", "   \n", "a: x # é\nb: é\n",
    # Tabs and characters that cannot be printed.
    "a:\tb\n", "\ta: b\n", "a:\n\tb: 1\n", "a: b\t\n", "a: b\t# c\n", "a: 'b'\t\n", "a: [1,\t2]\n", "-\ta\n", "a: b # c\td\n", "# c\td\na: 1\n", "\t\n", "a: 1\n\t\n", "a: '\tb'\n", "a: \x00\n", "a: \x07\n", "a: \x7f\n",
    "a: \x85b\n", "a: \xa0b\n", 'a: "\\x07"\n',
]


def main():
    documents = ["a: " + text for text in PLAIN] + ["a: [" + text + "]" for text in PLAIN[:200:3]] + DOCUMENTS
    documents += generated(random.Random(2027), 300)
    entries = [[document, tree_of(document)] for document in dict.fromkeys(documents)]
    print("[" + ",\n".join(json.dumps(entry, ensure_ascii=True) for entry in entries) + "]")


def tree_of(document):
    try:
        value = yaml.safe_load(document)
    # PyYAML lets the errors of Python's own conversions through.
    except (yaml.YAMLError, ValueError, KeyError, IndexError, AttributeError, TypeError):
        return {"refused": True}
    if value is None:
        value = {}
    try:
        return tree(value) if isinstance(value, dict) else {"refused": True}
    except RecursionError:
        # PyYAML makes values that hold themselves. No configuration can use one, so we refuse them.
        return {"refused": True}


def tree(value):
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return {"int": str(value)}
    if isinstance(value, list):
        return [tree(item) for item in value]
    if isinstance(value, dict):
        entries = [[key, tree(item)] for key, item in value.items() if isinstance(key, str)]
        return {"map": entries, "other_keys": len(entries) < len(value)}
    types = {float: "float", bytes: "binary", set: "set", tuple: "pair", datetime.date: "date", datetime.datetime: "date"}
    return {"type": types[type(value)]}


def generated(rnd, count):
    """Nested documents of every style."""

    def scalar():
        return rnd.choice("a 1 yes 'x' \"y\" ~ &x *x v 1.0 é a#b x:y".split() + ["a b", "", "&x 5", "!!str 5"])

    def flow(depth):
        def item():
            return scalar() if depth == 0 or rnd.random() < 0.6 else flow(depth - 1)

        if rnd.random() < 0.5:
            return "[" + ", ".join(item() for _ in range(rnd.randint(0, 3))) + "]"
        return "{" + ", ".join(rnd.choice(["a", "b", "'c'", "<<"]) + ": " + item() for _ in range(rnd.randint(0, 3))) + "}"

    def block(indent, depth):
        lines, mapping = [], depth == 3 or rnd.random() < 0.6
        for _ in range(rnd.randint(1, 3)):
            lead = " " * indent + (rnd.choice(["a", "b", "c", "<<", "'d'", "on"]) + ":" if mapping else "-")
            form = rnd.random()
            if depth == 0 or form < 0.4:
                lines.append(lead + " " + scalar() + rnd.choice(["", "", " # c"]))
            elif form < 0.6:
                lines.append(lead + " " + flow(1))
            elif form < 0.75:
                lines.append(lead + " " + rnd.choice(["|", "|-", ">", ">+"]))
                lines += [" " * (indent + 2) + rnd.choice(["x", "# y", "  z", ""]) for _ in range(rnd.randint(1, 3))]
            else:
                lines.append(lead + rnd.choice(["", " &x", " &y"]))
                lines += block(indent + rnd.choice([1, 2, 4]), depth - 1)
        return lines

    return ["\n".join(block(0, 3)) + "\n" for _ in range(count)]


if __name__ == "__main__":
    main()
