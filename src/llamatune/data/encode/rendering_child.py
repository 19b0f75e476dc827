"""The process in which chat templates run: a program of its own, started by `rendering`, without llamatune.

One request a line on standard input, one answer a line on standard output, both JSON in ASCII. The environment is
that of `transformers.utils.chat_template_utils`, so that a template does here what it does in
`apply_chat_template`: the tests compare the two for every template.
"""

import json
import signal
import sys
from datetime import datetime
from typing import Any

import jinja2
import jinja2.ext
import jinja2.sandbox

Request = dict[str, Any]


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


def answer(request: Request, templates: dict[str, jinja2.Template]) -> Request:
    """What each step adds to the text of the step before it, or `error` with the step at which it occurred."""
    step = 0
    try:
        source = request["template"]
        if source not in templates:
            templates[source] = sandbox().from_string(source)
        added, done = [], ""
        for step, (end, is_prompt) in enumerate(request["steps"]):
            text = _render(templates[source], request, end, is_prompt)
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


def _render(template: jinja2.Template, request: Request, end: int, is_prompt: bool) -> str:
    pieces, length = [], 0
    for piece in template.generate(
        messages=request["messages"][:end],
        tools=None,
        documents=None,
        add_generation_prompt=is_prompt,
        **request["tokens"],
    ):
        pieces.append(piece)
        length += len(piece)
        if length > request["most"]:
            raise TooLongError
    return "".join(pieces)


def main() -> None:
    """Answer requests until standard input is closed. Memory is limited here; time is limited by the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]), int(sys.argv[1])))
    # systems without such limits
    except (ImportError, OSError, ValueError):
        pass
    templates: dict[str, jinja2.Template] = {}
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(json.loads(line), templates)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
