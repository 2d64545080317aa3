"""How a delivery reaches a URL."""

import http.client
import threading
from urllib.parse import urlsplit


class HttpSender:
    """POSTs over HTTP, one kept-alive connection per thread. Redirects count as failures, as at Stripe."""

    def __init__(self, url: str, timeout: float = 10) -> None:
        self._parts = urlsplit(url)
        self._timeout = timeout
        self._local = threading.local()

    def __call__(self, body: bytes, headers: dict[str, str]) -> int:
        """The status of the answer.

        Raises:
            OSError, http.client.HTTPException: there was none.
        """
        if getattr(self._local, "connection", None) is not None:
            try:
                return self._post(body, headers)
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                self.close()  # it had been closed while it was idle
        return self._post(body, headers)

    def _post(self, body: bytes, headers: dict[str, str]) -> int:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            kind = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
            connection = self._local.connection = kind(self._parts.hostname or "", self._parts.port, timeout=self._timeout)
        try:
            connection.request("POST", self._parts.path or "/", body, headers)
            response = connection.getresponse()
            response.read()
        except BaseException:
            self.close()
            raise
        return response.status

    def close(self) -> None:
        """Close this thread's connection."""
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._local.connection = None
