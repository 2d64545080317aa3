"""What the access code needs of the running application: its services, the clock, and where a request comes from."""

import ipaddress
import time

from flask import Request

from webhook_app.services import services

WEBHOOK_PREFIX = "/webhooks/"
API_PREFIX = "/api/"
PROBES = frozenset({"/healthz", "/readyz"})  # asked by address, by machines that know no name
_LOOPBACK_NAMES = frozenset({"localhost", "ip6-localhost"})


def now() -> int:
    """Unix seconds."""
    return int(time.time())


def is_webhook(request: Request) -> bool:
    """Whether this is Stripe's door, where nobody signs in."""
    return request.path.startswith(WEBHOOK_PREFIX)


def is_api(request: Request) -> bool:
    """Whether the asker is a program and wants JSON."""
    return request.path.startswith(API_PREFIX)


def is_secure(request: Request) -> bool:
    """Whether the browser came by HTTPS: seen here, or said by `HTTPS=1` when a proxy ends TLS."""
    return services().settings.https or request.is_secure


def on_loopback(request: Request) -> bool:
    """Whether the client is this machine and calls us by a loopback name (so no other site's name points at us)."""
    try:
        peer = ipaddress.ip_address(request.remote_addr or "")
    except ValueError:
        return False
    return peer.is_loopback and is_loopback_name(bare_host(request.host))


def bare_host(host: str) -> str:
    """A Host header's name without port, brackets and trailing dot, lower-case."""
    name = host.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.partition(":")[0].removesuffix(".")


def is_loopback_name(name: str) -> bool:
    """Whether a bare host name can only mean this machine."""
    if name in _LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def host_allowed(request: Request) -> bool:
    """Whether we answer to this Host (FAULTS S49): loopback names, and those in `ALLOWED_HOSTS` (comma-separated)."""
    name = bare_host(request.host)
    allowed = {bare_host(part) for part in services().settings.allowed_hosts.split(",") if part.strip()}
    return name in allowed or is_loopback_name(name)


def client_address(request: Request) -> str:
    """The client's address for throttling; of IPv6 its /64, which is what one client has."""
    try:
        address = ipaddress.ip_address(request.remote_addr or "")
    except ValueError:
        return "unknown"
    if address.version == 6:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
