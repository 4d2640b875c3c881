"""Which callables are taken for which hook: with fewer and more arguments, and in every form that Python has."""

from __future__ import annotations

import types

from supervisor.config.schema import Invalid, Kind
from supervisor.config.settings import TABLE
from tests.parity.oracle import Oracle

SOURCE = """
import functools, os

class Methods:
    def __init__(self, *ignored): pass
    def method(self, one): pass
    def method2(self, one, two): pass
    @staticmethod
    def static(one): pass
    @classmethod
    def of_class(cls, one, two): pass

class Called:
    def __call__(self, one): pass

class Called2:
    def __call__(self, one, two): pass

class Nothing: pass

def f1(one): pass
def f2(one, two): pass
def f3(one, two, three): pass
def two_or_three(one, two, three=None): pass
def some(*arguments): pass
def one_and_some(one, *arguments): pass
def named(**arguments): pass
def anything(*arguments, **named): pass
def keyword_only(one, *, two): pass
def optional_keyword(one, *, two=2): pass
def positional(one, /): pass
def annotated(_server: "Arbiter", _worker: "Worker") -> None: pass
async def coroutine(one): pass
def generator(one, two): yield
@functools.wraps(f1)
def wrapped(*arguments): pass

CANDIDATES = {
    **{f"function{n}": eval("lambda " + ", ".join("abcde"[:n]) + ": None") for n in range(6)},
    **{f"default{n}": eval("lambda " + ", ".join(f"{x}=0" for x in "abcde"[:n]) + ": None") for n in range(6)},
    "f1": f1, "f2": f2, "f3": f3, "two_or_three": two_or_three,
    "some": some, "one_and_some": one_and_some, "named": named, "anything": anything,
    "keyword_only": keyword_only, "optional_keyword": optional_keyword, "positional": positional,
    "annotated": annotated, "coroutine": coroutine, "generator": generator, "wrapped": wrapped,
    "partial": functools.partial(f2, 1), "partial_of_three": functools.partial(f3, 1),
    "partial_by_name": functools.partial(f2, two=2), "partial_of_first": functools.partial(f2, one=1),
    "method": Methods().method, "method2": Methods().method2, "unbound": Methods.method2,
    "static": Methods.static, "of_class": Methods.of_class, "class": Methods, "empty_class": Nothing,
    "called": Called(), "called2": Called2(), "not_called": Nothing(),
    "builtin": len, "print": print, "type": dict, "method_of_builtin": [].append,
    "string": "os.fspath", "string_of_two": "os.path.relpath", "string_without_dot": "fspath",
    "string_of_nothing": "os.nope", "string_of_no_module": "no.such.module", "string_of_no_callable": "os.sep",
    "none": None, "number": 5, "true": True, "list": [f1],
}
"""

CALLABLE = "it can be called with these arguments, which gunicorn does not ask: it counts the parameters"
KINDER = {
    **dict.fromkeys(("default2", "default3", "default4", "default5", "two_or_three", "string_of_two"), CALLABLE),
    **dict.fromkeys(("some", "one_and_some", "anything", "class", "print"), CALLABLE),
    "type": "what has no signature is called as it is",
    "none": "None is no hook",
}
"""What gunicorn refuses for some hooks, and we take."""

STRICTER = {"keyword_only": "its call would fail, each time: no hook is called by keyword"}
"""What gunicorn takes for some hooks, and we refuse."""


def test_the_same_callables_are_taken(oracle: Oracle) -> None:
    hooks = [name for name, setting in TABLE.items() if setting.kind is Kind.CALLABLE]
    theirs = oracle.answers("hooks", hooks=hooks, source=SOURCE)
    candidates = types.ModuleType("candidates")
    exec(SOURCE, vars(candidates))
    found: dict[bool, set[str]] = {True: set(), False: set()}
    for hook in hooks:
        for name, candidate in candidates.CANDIDATES.items():
            ours = taken(hook, candidate)
            if ours != theirs[f"{hook}/{name}"]:
                found[ours].add(name)
    assert found == {True: set(KINDER), False: set(STRICTER)}


def taken(hook: str, candidate: object) -> bool:
    try:
        TABLE[hook].validate(candidate)
    except Invalid:
        return False
    return True
