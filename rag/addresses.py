"""Addresses: the one form in which an address is kept, and which machines may be asked for a page.

At the top of the core, because readers and lists need the form of an address and never the network.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from rag.errors import BadAddress

LONGEST = 2000  # characters; servers and browsers refuse longer ones
_TRACKING = re.compile(r"(?:utm_\w*|fbclid|gclid|mc_cid|mc_eid)(?:=|$)", re.I)
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):(?!\d)", re.I)  # "localhost:8000" names a port, not a scheme
_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?")
_PATH_SAFE = "/!$&'()*+,;=:@~-._%"
_METADATA = frozenset(
    ipaddress.ip_address(known)  # where clouds hand their machines' secrets out
    for known in (
        "168.63.129.16",
        "100.100.100.200",
        "192.0.0.192",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fd20:ce::254",
        "fd00:42::42",
        "fe80::a9fe:a9fe",
    )
)
_HOME = tuple(ipaddress.ip_network(net) for net in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"))
_SHARED = ipaddress.ip_network("100.64.0.0/10")
_RELAYS = ipaddress.ip_network("192.88.99.0/24")
_INTERNET = ipaddress.ip_network("2000::/3")  # all of IPv6 that is given out; the rest is special or unused
_DOCUMENTED = ipaddress.ip_network("3fff::/20")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_LIFTED = ("a loopback", "a private", "a link-local", "a shared")

_IP = ipaddress.IPv4Address | ipaddress.IPv6Address


def canonical(address: str) -> str:
    """Return the one form of an address under which its page is known.

    Lower-case host, no fragment, no default port, no marks of where the reader came from (utm_source, say).
    "example.com/blog", as a person types it, becomes https. Raise BadAddress for what is no web address.
    """
    parts = urlsplit(absolute(address))
    kept = [piece for piece in parts.query.split("&") if piece and not _TRACKING.match(piece)]
    return parts._replace(query="&".join(kept)).geturl()


def absolute(address: str, base: str = "") -> str:
    """Return an address as it is asked for: plain ASCII, host in lower case, without fragment or default port.

    `base` is the page on which it stood, for one that is relative. Raise BadAddress for what is no web address.
    """
    text = address.strip()
    name = text[:200] if text.isprintable() else repr(text[:200])
    if not text or len(text) > LONGEST or "\\" in text or not text.isprintable():
        raise BadAddress(f"{name or 'The address'}: this is no web address. Check it and try again.")
    try:
        parts = urlsplit(urljoin(base, text) if base else _with_scheme(text))
        if parts.scheme not in ("http", "https"):
            raise BadAddress(f"{name}: Footnote reads http and https addresses only. Give it one of those.")
        if "@" in parts.netloc:
            raise BadAddress(
                f"{name.rpartition('@')[2]}: an address with a user name or password in it is not fetched. "
                "Leave them out."
            )
        return _plain(parts)
    except (ValueError, UnicodeError) as error:
        raise BadAddress(f"{name}: this is no web address. Check it and try again.") from error


def host_of(address: str) -> str:
    """Return the host of an absolute address, without its port."""
    return urlsplit(address).hostname or ""


def same_host(address: str, other: str) -> bool:
    """Say whether two absolute addresses are of one host; "www." makes no difference."""
    return host_of(address).removeprefix("www.") == host_of(other).removeprefix("www.")


def closed(ip: str, allow_private: bool) -> str:
    """Say what kind of address this is if nothing may be fetched from it ("a private"), else "".

    `allow_private` opens the person's own machine and network; clouds' metadata services stay shut.
    """
    address = ipaddress.ip_address(ip.partition("%")[0])
    kind = _kind(address)
    return "" if allow_private and kind in _LIFTED else kind


def _with_scheme(text: str) -> str:
    if text.startswith("//"):
        return f"https:{text}"
    if _SCHEME.match(text):
        return text
    host = re.split(r"[/?#]", text, maxsplit=1)[0]
    if "." not in host.strip(".") and ":" not in host and host != "localhost":
        raise ValueError("one word is no address")
    return f"https://{text}"


def _plain(parts: SplitResult) -> str:
    host, port = parts.hostname or "", parts.port
    if parts.netloc.startswith("["):
        if "%" in host:
            raise ValueError("a zone means nothing to anyone else")
        host = f"[{ipaddress.IPv6Address(host)}]"
    else:
        host = _ascii_host(host)
    if port == 0:
        raise ValueError("no such port")
    default = {"http": 80, "https": 443}[parts.scheme]
    netloc = host if port in (None, default) else f"{host}:{port}"
    return f"{parts.scheme}://{netloc}{_path(parts.path)}" + (f"?{_quoted(parts.query, '?')}" if parts.query else "")


def _ascii_host(host: str) -> str:
    if not host.isascii():
        # imported here: few hosts need it
        import idna

        host = idna.encode(host, uts46=True).decode("ascii")
    host = host.removesuffix(".")
    if len(host) > 253 or ".." in host or not _HOST.fullmatch(host):
        raise ValueError("no such host")
    return host


def _path(path: str) -> str:
    """Return a path without "." and "..", written as such or as %2e: robots.txt must see what the server will."""
    dotted = re.sub(r"%2e", ".", path, flags=re.I)
    return _quoted(urlsplit(urljoin("http://h/", "/" + dotted.lstrip("/"))).path or "/", "")


def _quoted(text: str, also: str) -> str:
    text = re.sub(r"%(?![0-9a-fA-F]{2})", "%25", text)
    text = quote(text, safe=_PATH_SAFE + also)
    return re.sub(r"%[0-9a-f]{2}", lambda match: match.group().upper(), text, flags=re.I)


def _kind(ip: _IP) -> str:
    if ip in _METADATA or (ip.version == 4 and ip.is_link_local):  # all of 169.254: clouds use more than one of it
        return "a cloud's metadata"
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return _kind(inner)
    if ip.is_multicast:
        return "a multicast"
    if ip.is_unspecified:
        return "an unspecified"
    if ip.is_loopback:
        return "a loopback"
    if ip.is_link_local:
        return "a link-local"
    if any(ip in network for network in _HOME):
        return "a private"
    if ip in _SHARED:
        return "a shared"
    stray = ip not in _INTERNET or ip in _DOCUMENTED if ip.version == 6 else ip in _RELAYS
    return "a reserved" if stray or not ip.is_global else ""
