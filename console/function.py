"""The page of one function: what it is, a form to run it, what became of that, and how it does."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import dedent

from starlette.requests import Request
from starlette.responses import Response

from console.app import see_other
from console.field import fields_of
from console.function_form import FunctionForm
from console.function_state import FunctionState, address
from console.functions import broken_view, summary
from console.launch import Refused, launch
from console.page import Action, Again, Page, View
from console.policy import span
from console.ran import find, ran, together
from console.shape import in_words
from console.sources import Sources
from runtime.errors import NotFound
from runtime.function import FunctionSpec
from runtime.model import Invocation


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A part of a docstring."""

    text: str
    code: bool = False


class FunctionPage:
    """One function, and the form that runs it.

    `?ran=ID` shows what became of an invocation, `?ids=A,B` of two with the same input, and
    `?from=ID` only fills the form with its input; all three do that.
    """

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._form = FunctionForm(sources)
        self._state = FunctionState(sources)
        self._page = Page(
            "/functions/{name}", "function.html", "functions", self.show, twin=True, shared=True
        )

    @property
    def pages(self) -> list[Page]:
        return [self._page]

    @property
    def actions(self) -> list[Action]:
        return [Action("/functions/{name}/run", self.run, counts=True)]

    async def run(self, request: Request) -> Response | Again:
        """Run what the form says and lead to where its result will be; or tell what is wrong."""
        spec = await self._sources.admission.function(request.path_params["name"])
        started = await launch(self._sources, spec, request)
        if isinstance(started, Refused):
            view = self._told(spec) | await self._ran(spec, request, [])
            view |= self._form.refused(spec, started) | await self._state.of(spec, request)
            return Again(self._page, view, started.status)
        query = f"ran={started[0]}" if len(started) == 1 else f"ids={','.join(started)}"
        return see_other(f"/functions/{spec.name}?{query}#result")

    async def show(self, request: Request) -> View:
        """All of it, or only what the live region needs that asks for it."""
        name = request.path_params["name"]
        await self._sources.admission.catalog_ready()
        if broken := self._sources.catalog.broken.get(name):
            return {"name": name, "broken": broken_view(broken)}
        spec = await self._sources.admission.function(name)
        block = request.headers.get("hx-target", "").partition("#")[2]
        if block == "ran":
            return await self._ran(spec, request, await self._asked(spec, request, "ids", "ran"))
        if block == "live":
            return await self._state.of(spec, request)
        view = self._told(spec) | await self._state.of(spec, request)
        view |= await self._ran(spec, request, await self._asked(spec, request, "ids", "ran"))
        if earlier := await self._asked(spec, request, "ids", "ran", "from"):
            return view | self._form.from_earlier(spec, request, earlier)
        return view | self._form.new(spec, request)

    def _told(self, spec: FunctionSpec) -> View:
        return {
            "broken": None,
            "summary": summary(spec.description),
            "paragraphs": paragraphs(spec.description),
            "file": spec.file,
            "version": spec.version,
            "timeout": span(spec.timeout),
            "cost": spec.cost,
            "streams": spec.streams,
            "batching": spec.batching,
            "retries": spec.retries,
            "max_attempts": spec.max_attempts,
            "takes": fields_of(spec),
            "gives": in_words(spec.output_schema, spec.output_schema),
        }

    async def _asked(
        self, spec: FunctionSpec, request: Request, *parameters: str
    ) -> list[Invocation]:
        """The invocations that the first of these query parameters names; NotFound if they lack."""
        for parameter in parameters:
            if given := request.query_params.get(parameter):
                if found := await find(self._sources, spec, given.split(",")):
                    return found
                raise NotFound(f"there is no invocation {given[:80]!r} of {spec.name}")
        return []

    async def _ran(
        self, spec: FunctionSpec, request: Request, invocations: Sequence[Invocation]
    ) -> View:
        shown = [await ran(self._sources, spec, each) for each in invocations]
        return {
            "name": spec.name,
            "at": address(spec, request),
            "ran": shown,
            "together": together(invocations, shown),
            "over": all(each.over for each in shown),
        }


def paragraphs(text: str) -> list[Paragraph]:
    """The paragraphs of a docstring behind its first; what is indented is code."""
    _, _, rest = text.strip().partition("\n\n")
    blocks = [block.strip("\n") for block in rest.split("\n\n") if block.strip()]
    return [
        Paragraph(dedent(block), code=True)
        if f"\n{block}".count("\n ") == block.count("\n") + 1
        else Paragraph(_flowing(block))
        for block in blocks
    ]


def _flowing(block: str) -> str:
    """The lines of a paragraph as one, but for items of a list."""
    return re.sub(r"\s*\n\s*(?![-*•] )", " ", block.strip())
