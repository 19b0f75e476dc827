"""The process in which chat templates run: a program of its own, started by `rendering`, without llamatune.

One request a line on standard input, one answer a line on standard output, both JSON in ASCII. The environment is
that of `transformers.utils.chat_template_utils`, so that a template does here what it does in
`apply_chat_template`: the tests compare the two for every template.

Rendering a conversation anew for every step costs the square of their number. Most templates are a head, a loop over
the messages and a tail; `in_parts` recognises them, and one rendering tells the text of all steps. Others are rendered
step by step.
"""

import json
import signal
import sys
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from typing import Any, NamedTuple

import jinja2
import jinja2.ext
import jinja2.sandbox
from jinja2 import nodes

Request = dict[str, Any]

FEW = 3
"""Up to so many steps are rendered one by one: there is nothing to gain."""


class GenerationTag(jinja2.ext.Extension):
    """`{% generation %}` marks answers for upstream's masks; here its body is only rendered."""

    tags = {"generation"}

    def parse(self, parser: Any) -> Any:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller: Any) -> Any:
        return caller()


class PlainDict:
    """`dict` for templates, without the attributes of the class."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args)


class PlainNamespace(jinja2.utils.Namespace):
    """`namespace` for templates, without names that begin with an underscore."""

    def __setitem__(self, name: str, value: Any) -> None:
        if str(name).startswith("_"):
            raise jinja2.exceptions.SecurityError(f"a namespace cannot hold {name!r}")
        super().__setitem__(name, value)


def _tojson(value: Any, ensure_ascii: bool = False, indent: Any = None, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **options)


def _raise_exception(message: str) -> None:
    raise jinja2.exceptions.TemplateError(message)


def sandbox() -> jinja2.sandbox.ImmutableSandboxedEnvironment:
    """Upstream's environment for chat templates."""
    made = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[GenerationTag, jinja2.ext.loopcontrols]
    )
    made.filters["tojson"] = _tojson
    made.globals["raise_exception"] = _raise_exception
    made.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    made.globals["dict"] = PlainDict()
    made.globals["namespace"] = PlainNamespace
    return made


class TooLongError(Exception):
    """A rendered text is longer than the request allows."""


class Marked(NamedTuple):
    """A template with a mark before its loop over the messages and after each message; `two_ways`: after each message
    as the last one, and after the same as one in the middle."""

    template: jinja2.Template
    two_ways: bool


class Compiled(NamedTuple):
    """A template, and the same one with marks around its parts, if it has such."""

    plain: jinja2.Template
    marked: Marked | None


def answer(request: Request, templates: dict[str, Compiled]) -> Request:
    """What each step adds to the text of the step before it, or `error` with the step at which it occurred."""
    step = 0
    try:
        source = request["template"]
        if source not in templates:
            environment = sandbox()
            templates[source] = Compiled(environment.from_string(source), in_parts(environment, source))
        template, marked = templates[source]
        if marked is not None and len(request["steps"]) > FEW:
            together = put_together(template, marked, request)
            if together is not None:
                return {"added": together}
        added, done = [], ""
        for step, (end, is_prompt) in enumerate(request["steps"]):
            text = "".join(_pieces(template, request, end, is_prompt))
            if not text.startswith(done):
                return {"error": "changed", "step": step}
            added.append(text[len(done) :])
            done = text
        return {"added": added}
    except (MemoryError, TooLongError):
        return {"error": "too long", "step": step}
    # whatever a template raises is its author's fault
    except Exception as error:
        return {"error": "refused", "step": step, "message": str(error)[:300] or type(error).__name__}


def _pieces(
    template: jinja2.Template, request: Request, end: int, is_prompt: bool, **more: Any
) -> Iterator[str]:
    """The text of the first `end` messages, piece by piece."""
    length = 0
    for piece in template.generate(
        messages=request["messages"][:end],
        tools=None,
        documents=None,
        add_generation_prompt=is_prompt,
        **request["tokens"],
        **more,
    ):
        piece.encode()  # half a surrogate pair is no text
        length += len(piece)
        if length > request["most"]:
            raise TooLongError
        yield piece


# ---- in parts -----------------------------------------------------------------------------------------------

_MARK, _LAST, _INNER = "llamatune_mark", "llamatune_last", "llamatune_inner"
"""Names that a marked template has in addition: a function, and what `loop` knows of the two kinds of message."""

_BEGINNING = {"index", "index0", "first", "previtem"}
"""What `loop` knows that does not depend on the messages that follow."""

_ONCE = {
    "map",
    "select",
    "reject",
    "selectattr",
    "rejectattr",
    "batch",
    "slice",
    "unique",
    "items",
    "reverse",
}
"""Filters whose result can be read only once."""


def in_parts(environment: jinja2.Environment, source: str) -> Marked | None:
    """The template with marks around its parts; None if a rendering of all messages does not certainly tell the text of
    the first ones.

    It does if nothing up to the end of a message can know of a later one, and nothing after the loop can know what
    happened in it. So the list of messages may only be looped over, at the top level and once, cut at its front by a
    fixed number, and asked for its first element; `loop` may know where it began. If it asks whether a message is the
    last, then each is rendered twice, as the last and as one in the middle, and must leave nothing to remember.
    """
    tree, twin = environment.parse(source), environment.parse(source)
    lists = _lists(tree)
    loops = [
        at for at, node in enumerate(tree.body) if isinstance(node, nodes.For) and _made_of(node.iter, lists)
    ]
    if len(loops) != 1:
        return None
    (at,) = loops
    loop, other = tree.body[at], twin.body[at]
    assert isinstance(loop, nodes.For) and isinstance(other, nodes.For)
    before, after = tree.body[: at + 1], tree.body[at + 1 :]
    if _looks_ahead(tree, loop, lists) or _remembers(before, after) or "llamatune_" in source:
        return None
    lasts = [node for node, name in _asked_of(loop) if name == "last"]
    if lasts:
        if any(loop.find_all(nodes.NSRef)) or any(one.name in _ONCE for one in tree.find_all(nodes.Filter)):
            return None
        _ask(lasts, _LAST)
        _ask([node for node, name in _asked_of(other) if name == "last"], _INNER)
        loop.body = [nodes.Scope(loop.body), _mark(), nodes.Scope(other.body), _mark()]
    else:
        loop.body = [*loop.body, _mark()]
    tree.body.insert(at, _mark())
    tree.set_environment(environment)
    return Marked(environment.from_string(tree), bool(lasts))


def _lists(tree: nodes.Template) -> set[str]:
    """Names of the list of messages, and of what is left of it without its first ones."""
    found = {"messages"}
    while (
        more := {
            one.target.name
            for one in tree.find_all(nodes.Assign)
            if isinstance(one.target, nodes.Name) and _made_of(one.node, found)
        }
        - found
    ):
        found |= more
    return found


def _made_of(node: nodes.Node, lists: set[str]) -> list[nodes.Name]:
    """The names of which an expression makes the list of messages, or what is left of it without its first ones."""
    match node:
        case nodes.Name(name=name) if name in lists:
            return [node]
        case nodes.CondExpr(expr1=one, expr2=nodes.Expr() as other):
            both = _made_of(one, lists), _made_of(other, lists)
            return [*both[0], *both[1]] if all(both) else []
        case nodes.Getitem(
            node=of, arg=nodes.Slice(start=nodes.Const(value=int(first)), stop=None, step=None)
        ):
            return _made_of(of, lists) if first >= 0 else []
    return []


def _looks_ahead(tree: nodes.Template, loop: nodes.For, lists: set[str]) -> bool:
    """Whether something may depend on how many messages there are, or on one that the loop has not come to."""
    unusual = (nodes.Block, nodes.Extends, nodes.Include, nodes.Import, nodes.FromImport)
    if loop.else_ or loop.test or loop.recursive or any(tree.find_all(unusual)):
        return True
    if any(isinstance(node, (nodes.Break, nodes.Continue)) for node in _within(loop.body)):
        return True
    harmless = {id(name) for name in _made_of(loop.iter, lists)}
    for one in tree.find_all((nodes.Assign, nodes.Getitem)):
        match one:
            case nodes.Assign(target=nodes.Name(name=name) as target, node=made) if name != "messages":
                harmless |= {id(part) for part in _made_of(made, lists)}
                harmless |= {id(target)} if _made_of(made, lists) else set()
            case nodes.Getitem(node=nodes.Name(name="messages") as of, arg=nodes.Const(value=0)):
                harmless.add(id(of))
    if any(name.name in lists and id(name) not in harmless for name in tree.find_all(nodes.Name)):
        return True
    asked = {id(node.node) for node, name in _asked_of(loop) if name in _BEGINNING | {"last"}}
    return any(_is_loop(node) and id(node) not in asked for node in _within(loop.body))


def _remembers(before: list[nodes.Node], after: list[nodes.Node]) -> bool:
    """Whether what comes after the loop may know what happened in it, through a name or an object that counts."""
    names = [name for node in before for name in node.find_all(nodes.Name)]
    macros = [macro for node in before for macro in node.find_all(nodes.Macro)]
    known = {name.name for name in names if name.ctx != "load"} | {macro.name for macro in macros}
    known -= _texts(before)
    used = {name.name for node in after for name in node.find_all(nodes.Name)}
    return bool(known & used or {"joiner", "cycler"} & {name.name for name in names})


def _texts(before: list[nodes.Node]) -> set[str]:
    """Names that are set once, ahead of the loop, to a text, which nothing can change."""
    *ahead, _ = before
    set_to = {
        one.target.name: one.node
        for one in ahead
        if isinstance(one, nodes.Assign) and isinstance(one.target, nodes.Name)
    }
    stored = [name.name for node in before for name in node.find_all(nodes.Name) if name.ctx != "load"]
    return {name for name, value in set_to.items() if _is_text(value) and stored.count(name) == 1}


def _is_text(node: nodes.Node | None) -> bool:
    match node:
        case nodes.Const(value=str()):
            return True
        case nodes.Name(name=name):
            return name.endswith("_token")
        case nodes.CondExpr(expr1=one, expr2=other):
            return _is_text(one) and _is_text(other)
    return False


def _within(body: list[nodes.Node]) -> Iterator[nodes.Node]:
    """All nodes of a loop's body in which `loop` is that loop, not one inside it."""
    for node in body:
        yield node
        inner = ("target", "body") if isinstance(node, nodes.For) else ()
        yield from _within(list(node.iter_child_nodes(exclude=inner)))


def _is_loop(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Name) and node.name == "loop"


def _asked_of(loop: nodes.For) -> list[tuple[nodes.Getattr | nodes.Getitem, str]]:
    """Where the loop's body asks for something of `loop`, and for what."""
    found: list[tuple[nodes.Getattr | nodes.Getitem, str]] = []
    for node in _within(loop.body):
        match node:
            case nodes.Getattr(node=of, attr=name) if _is_loop(of):
                found.append((node, name))
            case nodes.Getitem(node=of, arg=nodes.Const(value=str(name))) if _is_loop(of):
                found.append((node, name))
    return found


def _ask(questions: list[nodes.Getattr | nodes.Getitem], name: str) -> None:
    for question in questions:
        question.node = nodes.Name(name, "load")


def _mark() -> nodes.Output:
    return nodes.Output([nodes.Call(nodes.Name(_MARK, "load"), [], [], None, None)])


class Parts(NamedTuple):
    """A conversation's text in parts. `last[i]` is message i as the last one, `inner[i]` as one in the middle."""

    head: str
    inner: list[str]
    last: list[str]
    tail: str


def _cut(marked: Marked, request: Request, end: int, is_prompt: bool) -> Parts:
    pieces: list[str] = []
    marks: list[int] = []

    def mark() -> str:
        marks.append(len(pieces))
        return ""

    knows = {_MARK: mark, _LAST: {"last": True}, _INNER: {"last": False}}
    for piece in _pieces(marked.template, request, end, is_prompt, **knows):
        pieces.append(piece)
    texts = ["".join(pieces[start:stop]) for start, stop in pairwise([0, *marks, len(pieces)])]
    head, *middle, tail = texts
    return (
        Parts(head, middle[1::2], middle[::2], tail) if marked.two_ways else Parts(head, middle, middle, tail)
    )


def put_together(plain: jinja2.Template, marked: Marked, request: Request) -> list[str] | None:
    """What each step adds to the one before it, from the parts of the whole conversation; None where only rendering
    step by step tells, such as why and where the template refuses it."""
    steps = request["steps"]
    whole, ends_as_prompt = steps[-1]
    try:
        parts = {
            is_prompt: _cut(marked, request, whole, is_prompt) for is_prompt in {step[1] for step in steps}
        }
        expected = "".join(_pieces(plain, request, whole, ends_as_prompt))
    except Exception:
        return None
    first, *others = parts.values()
    if any((other.head, other.inner) != (first.head, first.inner) for other in others):
        return None
    # a system message may not be in the loop
    outside = whole - len(first.inner)
    added, so_far, begun, end = [], 0, first.head, ""
    for number, is_prompt in steps:
        last = number - outside - 1
        if last < 0:
            return None
        own = parts[is_prompt].last[last] + parts[is_prompt].tail
        text = begun + "".join(first.inner[so_far:last]) + own
        if not text.startswith(end):
            return None
        added.append(text[len(end) :])
        so_far, begun, end = last, "", own
    return added if "".join(added) == expected else None


def main() -> None:
    """Answer requests until standard input is closed. Memory is limited here; time is limited by the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]), int(sys.argv[1])))
    # systems without such limits
    except (ImportError, OSError, ValueError):
        pass
    templates: dict[str, Compiled] = {}
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(json.loads(line), templates)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
