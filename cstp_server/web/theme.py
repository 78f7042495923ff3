"""Light or dark: as the system has it, unless somebody has chosen."""

from starlette.requests import Request

THEME = "cstp-theme"
THEMES = ("system", "light", "dark")


def theme_of(request: Request) -> str:
    """What was chosen in this browser."""
    chosen = request.cookies.get(THEME, "")
    return chosen if chosen in THEMES else THEMES[0]
