"""The signs of the dashboard: outlines in a square of 16, drawn with the colour of the text."""

from markupsafe import Markup

_PATHS = {
    "check": '<path d="M3.5 8.5l3 3 6-7"/>',
    "cross": '<path d="M4.5 4.5l7 7M11.5 4.5l-7 7"/>',
    "stop": '<circle cx="8" cy="8" r="5.5"/><path d="M4.2 11.8l7.6-7.6"/>',
    "bolt": '<path d="M9 1.8L3.8 9H8l-1 5.2L12.2 7H8z"/>',
    "half": '<circle cx="8" cy="8" r="5.5"/><path d="M8 2.5a5.5 5.5 0 0 1 0 11z" fill="currentColor"/>',
    "lock": '<rect x="3.5" y="7" width="9" height="6.5" rx="1.5"/><path d="M5.5 7V5a2.5 2.5 0 0 1 5 0v2"/>',
    "clock": '<circle cx="8" cy="8" r="5.5"/><path d="M8 4.8V8l2.2 1.6"/>',
    "eye": '<path d="M1.5 8s2.4-4.2 6.5-4.2S14.5 8 14.5 8 12.1 12.2 8 12.2 1.5 8 1.5 8z"/><circle cx="8" cy="8" r="1.8"/>',
    "alert": '<path d="M8 2.2l6 10.8H2z"/><path d="M8 6.5v3M8 11.3v.2"/>',
    "question": '<circle cx="8" cy="8" r="5.5"/><path d="M6.3 6.4a1.7 1.7 0 1 1 2.5 1.5c-.6.3-.8.6-.8 1.2M8 11.2v.1"/>',
    "person": '<circle cx="8" cy="5.3" r="2.5"/><path d="M3 13.5c.4-2.7 2.4-4 5-4s4.6 1.3 5 4"/>',
    "up": '<path d="M8 13V3.5M4 7l4-4 4 4"/>',
    "down": '<path d="M8 3v9.5M4 9l4 4 4-4"/>',
    "document": '<path d="M4 2h5.5L12.5 5v9H4z"/><path d="M6 7.5h4.5M6 10.5h4.5"/>',
    "dot": '<circle cx="8" cy="8" r="2" fill="currentColor"/>',
    "overview": '<rect x="2.5" y="2.5" width="4.5" height="4.5" rx="1"/><rect x="9" y="2.5" width="4.5" height="4.5" rx="1"/>'
    '<rect x="2.5" y="9" width="4.5" height="4.5" rx="1"/><rect x="9" y="9" width="4.5" height="4.5" rx="1"/>',
    "circuit": '<path d="M1.5 8H5l6-4M11 8h3.5"/><circle cx="5" cy="8" r="1.2" fill="currentColor"/>'
    '<circle cx="11" cy="8" r="1.2" fill="currentColor"/>',
    "list": '<path d="M5.5 4h8M5.5 8h8M5.5 12h8M2.5 4h.1M2.5 8h.1M2.5 12h.1"/>',
    "heart": '<path d="M8 13S2.5 9.6 2.5 5.9A2.9 2.9 0 0 1 8 4.6a2.9 2.9 0 0 1 5.5 1.3C13.5 9.6 8 13 8 13z"/>',
    "search": '<circle cx="7" cy="7" r="4.2"/><path d="M10.2 10.2L14 14"/>',
    "sun": '<circle cx="8" cy="8" r="2.8"/><path d="M8 1.5v1.7M8 12.8v1.7M1.5 8h1.7M12.8 8h1.7M3.4 3.4l1.2 1.2M11.4 11.4l1.2 1.2M12.6 3.4'
    'l-1.2 1.2M4.6 11.4l-1.2 1.2"/>',
    "moon": '<path d="M13 9.5A5.5 5.5 0 0 1 6.5 3 5.5 5.5 0 1 0 13 9.5z"/>',
    "screen": '<rect x="2" y="3" width="12" height="8" rx="1.2"/><path d="M6 13.5h4"/>',
    "exit": '<path d="M9.5 3H3.5v10h6M7 8h7M11.5 5.5L14 8l-2.5 2.5"/>',
    "bell": '<path d="M4 11.5V7.2a4 4 0 0 1 8 0v4.3l1.2 1H2.8zM6.6 14h2.8"/>',
    "arrow": '<path d="M6 3.5L10.5 8 6 12.5"/>',
}


def icon(name: str) -> Markup:
    """A sign; it says nothing to those who listen, since a word always stands beside it."""
    outline = _PATHS[name]
    return Markup(  # noqa: S704 - the outlines stand above
        '<svg class="icon" viewBox="0 0 16 16" width="16" height="16" fill="none" stroke="currentColor" stroke-width="1.6" '
        f'stroke-linecap="round" stroke-linejoin="round" aria-hidden="true" focusable="false">{outline}</svg>'
    )
