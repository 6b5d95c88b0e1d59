"""Who looks at a page, and which of its buttons work for them."""

from dataclasses import dataclass

from starlette.requests import Request

from console.sources import Sources
from runtime.scopes import Scope, in_order


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody with a key, or anybody where no keys are asked for.

    `scopes` is None where a key is not asked for; it has every scope for a key with `admin`.
    """

    name: str | None  # of the key
    scopes: frozenset[Scope] | None
    read_only: bool  # nobody changes anything on these pages

    def may(self, scope: str) -> bool:
        """Whether a page should offer what changes something and needs this scope."""
        return not self.read_only and (self.scopes is None or scope in self.scopes)

    @property
    def known(self) -> bool:
        """Whether it is somebody who may see what goes on here."""
        return self.scopes is None or self.name is not None

    def barred(self, what: str, scope: str) -> str | None:
        """Why a page does not offer what is told in a word or two, as a sentence; None if it does.

        It is `what` that needs this scope.
        """
        if self.may(scope):
            return None
        if self.read_only:
            return "This console shows and changes nothing: it was started with --read-only."
        if self.name is None or self.scopes is None:
            return f"{what} needs an API key with the scope {scope}."
        has = ", ".join(in_order(self.scopes))
        return f"{what} needs the scope {scope}, and the API key {self.name} has {has}."


def visitor_of(request: Request, sources: Sources) -> Visitor:
    """Who sends a request."""
    access, read_only = sources.access, sources.settings.read_only
    if not access.enabled:
        return Visitor(None, None, read_only)
    who = access.who(dict(request.scope["headers"]))
    if who is None:
        return Visitor(None, frozenset(), read_only)
    return Visitor(who.name, frozenset(s for s in Scope if who.may(s)), read_only)
