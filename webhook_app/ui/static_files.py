"""Our static files: addresses that change with the content (so browsers may keep them for a year), sent compressed.

Only these are compressed: pages hold form tokens, and compressing those beside text from outside leaks them (BREACH).
"""

import gzip
import hashlib
from functools import cache
from pathlib import Path

from flask import Flask, request, url_for
from werkzeug.wrappers import Response

STATIC = Path(__file__).parents[1] / "static"
_TEXT = {".js", ".css", ".svg", ".txt"}
_YEAR = "public, max-age=31536000, immutable"


def install(app: Flask) -> None:
    """Serve `static` that way and give templates `static_url(name)`."""

    @app.after_request
    def _compress(response: Response) -> Response:
        if request.endpoint != "static" or response.status_code not in (200, 304):
            return response
        name = (request.view_args or {}).get("filename", "")
        response.headers["Cache-Control"] = _YEAR if request.args.get("v") == _version(name) else "no-cache"
        if Path(name).suffix in _TEXT:
            response.headers["Vary"] = "Accept-Encoding"
            if response.status_code == 200 and request.method == "GET" and request.accept_encodings.quality("gzip") > 0:
                response.direct_passthrough = False
                response.close()  # the file it would have been sent from
                response.set_data(_gzipped(name))
                response.headers["Content-Encoding"] = "gzip"
        return response

    @app.context_processor
    def _for_templates() -> dict[str, object]:
        return {"static_url": static_url}


def static_url(name: str) -> str:
    """The address of a static file at its present content."""
    return url_for("static", filename=name, v=_version(name))


@cache
def _version(name: str) -> str:
    path = STATIC / name
    return hashlib.sha256(path.read_bytes()).hexdigest()[:10] if path.is_file() else ""


@cache
def _gzipped(name: str) -> bytes:
    return gzip.compress((STATIC / name).read_bytes(), 9, mtime=0)
