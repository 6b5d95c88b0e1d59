"""The page where somebody signs in with an API key, where keys are on."""

from starlette.requests import Request

from console.page import Action, Page, View
from runtime.query import DIGITS


class Entrance:
    """The sign-in page; what it sends is taken by `runtime.access_routes`."""

    @property
    def pages(self) -> list[Page]:
        return [Page("/signin", "signin.html", "signin", self.show)]

    @property
    def actions(self) -> list[Action]:
        return []

    async def show(self, request: Request) -> View:
        query = request.query_params
        wait = query.get("wait", "")
        return {
            "next": query.get("next", "/"),
            "failed": "failed" in query,
            "wait": int(wait) if DIGITS.fullmatch(wait) else None,  # seconds
        }
