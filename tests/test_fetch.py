"""Fetching pages: from servers that behave, from those that do not, and never from the person's own network."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from typing import Any

import pytest

from rag.addresses import absolute, canonical, closed
from rag.errors import BadAddress, Gone
from rag.incoming import wire
from rag.incoming.fetch import USER_AGENT, Fetcher, Page, document
from rag.jobs import Stopped
from tests import loopback
from tests.loopback import LoopbackSite, Reply, redirect

pytestmark = pytest.mark.slow

BREAD = "<p>Sourdough rises overnight in a cool kitchen.</p>"


@pytest.fixture
def site() -> Iterator[LoopbackSite]:
    with LoopbackSite({"/bread": loopback.post_page("Bread", BREAD)}) as made:
        yield made


@pytest.fixture
def fetcher() -> Iterator[Fetcher]:
    made = Fetcher(allow_private=True, delay=0, seconds=3, max_bytes=2_000_000, pause=0.02, patience=1)
    yield made
    made.close()


def refusal(fetcher: Fetcher, address: str) -> str:
    with pytest.raises(BadAddress) as refused:
        fetcher.get(address)
    assert str(refused.value).endswith(".")
    return str(refused.value)


# what an address is


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("example.com/blog", "https://example.com/blog"),
        (" HTTP://Example.COM:80 ", "http://example.com/"),
        ("https://example.com./a/../b/%2e%2E/c#top", "https://example.com/c"),
        ("https://example.com/?utm_source=feed&id=3&fbclid=x&UTM_Medium=y", "https://example.com/?id=3"),
        ("https://münchen.example/brot?mit=käse", "https://xn--mnchen-3ya.example/brot?mit=k%C3%A4se"),
        ("https://example.com/100%/%c3%a4", "https://example.com/100%25/%C3%A4"),
        ("localhost:8000/blog", "https://localhost:8000/blog"),
        ("http://[::FFFF:7f00:1]:8080", "http://[::ffff:7f00:1]:8080/"),
        ("//example.com/a", "https://example.com/a"),
    ],
)
def test_an_address_has_one_form(typed: str, kept: str) -> None:
    assert canonical(typed) == kept
    assert canonical(kept) == kept


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "bread",
        "my bread.md",
        "ftp://example.com/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "data:text/html,hello",
        "mailto:a@example.com",
        "http://",
        "http:///path",
        "http://example.com:0/",
        "http://example.com:99999/",
        "http://a..b/",
        "http://[::1",
        "http://[fe80::1%25eth0]/",
        "http://example.com\\@127.0.0.1/",
        "http://exa mple.com/",
        "http://example.com/a\nb",
        "http://127%2e0.0.1/",
        "https://example.com/" + "a" * 3000,
    ],
)
def test_what_is_no_web_address_is_refused(typed: str) -> None:
    with pytest.raises(BadAddress):
        canonical(typed)


def test_an_address_with_a_password_is_refused_and_not_repeated() -> None:
    with pytest.raises(BadAddress) as refused:
        absolute("https://baker:yeast@example.com/")
    assert "yeast" not in str(refused.value)


@pytest.mark.parametrize(
    "ip",
    """127.0.0.1 127.9.9.9 10.0.0.1 172.31.0.1 192.168.1.1 169.254.1.1 169.254.169.254 100.64.0.1 100.100.100.200
    0.0.0.0 0.1.2.3 224.0.0.1 239.1.1.1 240.0.0.1 255.255.255.255 198.18.0.1 203.0.113.9 192.0.0.192 192.88.99.1
    168.63.129.16 ::1 :: fe80::1 fe80::1%eth0 fec0::1 fc00::1 fd00:ec2::254 ff02::1 2001:db8::1 2001::1 100::1 3fff::1
    5f00::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::127.0.0.1 ::ffff:0:7f00:1 64:ff9b::7f00:1
    64:ff9b:1::1 64:ff9b::a9fe:a9fe 2002:7f00:1:: 2002:c0a8:101::1""".split(),
)
def test_no_address_inside_is_open(ip: str) -> None:
    assert closed(ip, allow_private=False)


def test_the_internet_is_open_and_a_home_server_if_the_person_says_so() -> None:
    for ip in ("93.184.216.34", "2606:2800:220:1::1", "64:ff9b::5db8:d822", "::ffff:93.184.216.34"):
        assert closed(ip, allow_private=False) == ""
    for ip in ("127.0.0.1", "192.168.1.1", "::1", "fd12::1", "100.64.0.1"):
        assert closed(ip, allow_private=True) == ""
    for ip in ("169.254.169.254", "fd00:ec2::254", "0.0.0.0", "224.0.0.1", "::ffff:169.254.169.254", "240.0.0.1"):
        assert closed(ip, allow_private=True)


# what is fetched


def test_a_page_is_fetched_with_a_plain_user_agent_and_no_cookie(site: LoopbackSite, fetcher: Fetcher) -> None:
    site.pages["/welcome"] = Reply(
        "<p>Hello</p>", headers={"Set-Cookie": "seen=1", "Last-Modified": "Wed, 01 May 2024"}
    )
    first, second = fetcher.get(site.address("/welcome")), fetcher.get(site.address("/bread"))
    assert (first.status, first.media_type, first.charset) == (200, "text/html", "utf-8")
    assert first.modified == "Wed, 01 May 2024"
    assert b"Sourdough" in second.data
    assert second.address == site.address("/bread")
    for headers in site.headers:
        assert headers["user-agent"] == USER_AGENT
        assert headers["host"] == f"127.0.0.1:{site.port}"
        assert "cookie" not in headers
        assert "br" not in headers["accept-encoding"]


def test_an_unchanged_page_is_304(site: LoopbackSite, fetcher: Fetcher) -> None:
    first = fetcher.get(site.address("/bread"))
    again = fetcher.get(site.address("/bread"), etag=first.etag, modified=first.modified)
    assert (again.status, again.data, again.etag) == (304, b"", first.etag)
    site.pages["/bread"] = "<p>Rye keeps longer.</p>"
    assert fetcher.get(site.address("/bread"), etag=first.etag).status == 200
    site.pages["/never"] = Reply("", 304, etag="")
    assert "304" in refusal(fetcher, site.address("/never"))


def test_redirects_are_followed_to_the_end(site: LoopbackSite, fetcher: Fetcher) -> None:
    site.pages |= {
        "/old": redirect("/older", 301),
        "/older": redirect("bread?utm_source=x"),
        "/bread?utm_source=x": BREAD,
    }
    assert fetcher.get(site.address("/old")).address == site.address("/bread?utm_source=x")
    site.pages |= {"/round": redirect("/about"), "/about": redirect("/round")}
    assert "back to itself" in refusal(fetcher, site.address("/round"))
    site.pages |= {f"/{n}": redirect(f"/{n + 1}") for n in range(9)}
    assert "more than 5 times" in refusal(fetcher, site.address("/0"))
    for target in ("file:///etc/passwd", "http://a:b@example.com/", "gopher://example.com", "http://[::"):
        site.pages["/away"] = redirect(target)
        assert "leads to an address that cannot be fetched" in refusal(fetcher, site.address("/away"))


def test_packed_pages_are_unpacked_and_bombs_are_not(site: LoopbackSite, fetcher: Fetcher) -> None:
    import gzip
    import zlib

    raw = zlib.compressobj(wbits=-15)
    for coding, data in [
        ("gzip", gzip.compress(BREAD.encode())),
        ("x-gzip", gzip.compress(BREAD[:9].encode()) + gzip.compress(BREAD[9:].encode())),
        ("deflate", zlib.compress(BREAD.encode())),
        ("deflate", raw.compress(BREAD.encode()) + raw.flush()),
        ("identity", BREAD.encode()),
    ]:
        site.pages["/packed"] = Reply(data, headers={"Content-Encoding": coding}, etag="")
        assert fetcher.get(site.address("/packed")).data.decode() == BREAD
    site.pages["/bomb"] = loopback.gzip_bomb(50)
    assert "more than 2 MB" in refusal(fetcher, site.address("/bomb"))
    for coding, data in [("br", b"\x0b\x02\x80"), ("gzip, gzip", b"x")]:
        site.pages["/odd"] = Reply(data, headers={"Content-Encoding": coding}, etag="")
        assert "packed in a way" in refusal(fetcher, site.address("/odd"))
    for data in (b"no gzip", gzip.compress(BREAD.encode())[:-12]):
        site.pages["/odd"] = Reply(data, headers={"Content-Encoding": "gzip"}, etag="")
        assert "damaged" in refusal(fetcher, site.address("/odd"))


@pytest.mark.parametrize(
    ("behaviour", "why"),
    [
        (loopback.drip_headers, "longer than 0.5 seconds"),
        (loopback.drip_body, "longer than 0.5 seconds"),
        (loopback.silent, "longer than 0.5 seconds"),
        (loopback.endless, "more than 2 MB"),
        (loopback.endless_headers, "broke off"),
        (loopback.wrong_length, "broke off"),
        (loopback.broken_chunks, "broke off"),
        (loopback.reset, "broke off"),
        (loopback.no_http, "broke off"),
        (Reply(b"\x89PNG", type="image/png"), "no text but image/png"),
        (Reply(" "), "empty page"),
        (Reply("<p>Log in</p>", 401), "login"),
        (Reply("<p>No</p>", 403), "refuses"),
        (Reply("<p>No</p>", 451), "refuses"),
        (Reply("<p>One moment</p>", 403, headers={"CF-Mitigated": "challenge"}), "Cloudflare"),
        (Reply("<p>Tea</p>", 418), "418"),
        (Reply("<p>Broken</p>", 500), "out of order"),
        (Reply("x", headers={"Content-Length": "99999999"}), "more than 2 MB"),
    ],
    ids=lambda value: getattr(value, "__name__", None) or (value if isinstance(value, str) else str(value.status)),
)
def test_a_server_that_misbehaves_costs_a_sentence(
    site: LoopbackSite, fetcher: Fetcher, behaviour: loopback.Answer, why: str
) -> None:
    site.pages["/bad"] = behaviour
    fetcher._seconds = 0.5 if "0.5" in why else 3
    began = time.monotonic()
    assert why in refusal(fetcher, site.address("/bad"))
    assert time.monotonic() - began < 5
    assert fetcher.get(site.address("/bread")).status == 200


def test_a_missing_page_is_gone_and_a_stumble_is_forgiven(site: LoopbackSite, fetcher: Fetcher) -> None:
    for status in (404, 410):
        site.pages["/away"] = Reply("<h1>Gone</h1>", status)
        with pytest.raises(Gone):
            fetcher.get(site.address("/away"))
    site.pages["/shaky"] = [Reply("", 502), BREAD]
    site.pages["/cut"] = [loopback.wrong_length, BREAD]
    assert fetcher.get(site.address("/shaky")).status == fetcher.get(site.address("/cut")).status == 200


def test_hosts_that_are_not_there_are_named(fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        assert "does not answer" in refusal(fetcher, f"http://127.0.0.1:{taken.getsockname()[1]}/")

    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert "no host called nowhere.example" in refusal(fetcher, "https://nowhere.example/")


def test_a_server_without_a_certificate_is_not_believed(site: LoopbackSite, fetcher: Fetcher) -> None:
    assert "does not prove who it is" in refusal(fetcher, f"https://127.0.0.1:{site.port}/bread")


# what is never fetched


Dial = Callable[[dict[str, list[str]]], list[str]]


@pytest.fixture
def internet(site: LoopbackSite, monkeypatch: pytest.MonkeyPatch) -> Dial:
    """Give names to addresses, in turn, and let each that is dialled be the loopback site. Return what was dialled."""

    def make(names: dict[str, list[str]]) -> list[str]:
        dialled: list[str] = []

        def look_up(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
            answers = names.get(host, [host])
            found = answers.pop(0) if len(answers) > 1 else answers[0]
            families = {True: socket.AF_INET6, False: socket.AF_INET}
            return [(families[":" in ip], socket.SOCK_STREAM, 6, "", (ip, port)) for ip in found.split()]

        def dial(family: int, where: tuple[Any, ...], clock: wire.Clock) -> socket.socket:
            dialled.append(where[0])
            return socket.create_connection(("127.0.0.1", site.port))

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        monkeypatch.setattr(wire, "_dial", dial)
        return dialled

    return make


@pytest.fixture
def outside() -> Iterator[Fetcher]:
    made = Fetcher(delay=0, seconds=1, pause=0.02)
    yield made
    made.close()


@pytest.mark.parametrize(
    "address",
    """http://127.0.0.1/ http://localhost/ http://localhost./ http://0x7f.1/ http://2130706433/ http://017700000001/
    http://127.1/ http://[::1]/ http://[::ffff:127.0.0.1]/ http://[::ffff:7f00:1]/ http://[64:ff9b::7f00:1]/
    http://１２７.0.0.1/ http://127。0。0。1/ http://0/ http://0.0.0.0/ http://[::]/ http://169.254.169.254/latest/meta-data
    http://[fd00:ec2::254]/ http://192.168.0.1/ http://10.1:80/""".split(),
)
def test_no_spelling_reaches_this_machine_or_its_network(site: LoopbackSite, outside: Fetcher, address: str) -> None:
    host, _, path = address.removeprefix("http://").partition("/")
    refusal(outside, f"http://{host}:{site.port}/{path}" if not host.endswith(":80") else address)
    assert site.requests == []


def test_a_name_is_refused_if_any_of_its_addresses_is_inside(internet: Dial, outside: Fetcher) -> None:
    dialled = internet({"blog.example": ["93.184.216.34 10.0.0.5"]})
    assert "a private address" in refusal(outside, "http://blog.example/bread")
    assert dialled == []


def test_the_address_that_was_checked_is_the_one_dialled(site: LoopbackSite, internet: Dial, outside: Fetcher) -> None:
    site.pages["/bread"] = Reply(BREAD, headers={"Connection": "close"})
    dialled = internet({"blog.example": ["93.184.216.34", "93.184.216.35", "127.0.0.1"]})
    assert outside.get("http://blog.example/bread").status == 200
    assert dialled[0] == "93.184.216.34"  # robots.txt; on this answer no second question was asked
    assert set(dialled) <= {"93.184.216.34", "93.184.216.35"}
    time.sleep(0.05)  # the connection is closed now, and the name leads elsewhere
    assert "a loopback address" in refusal(outside, "http://blog.example/bread")
    assert "127.0.0.1" not in dialled


@pytest.mark.parametrize(
    "target", ["http://127.0.0.1/admin", "http://169.254.169.254/latest", "http://inside.example/"]
)
def test_no_redirect_leads_inside(site: LoopbackSite, internet: Dial, outside: Fetcher, target: str) -> None:
    dialled = internet({"blog.example": ["93.184.216.34"], "inside.example": ["192.168.1.1"]})
    site.pages["/bread"] = redirect(target)
    assert "Footnote fetches from the internet only" in refusal(outside, "http://blog.example/bread")
    assert set(dialled) == {"93.184.216.34"}
    assert site.requests == ["/robots.txt", "/bread"]


def test_a_robots_txt_does_not_lead_inside_either(site: LoopbackSite, internet: Dial, outside: Fetcher) -> None:
    dialled = internet({"blog.example": ["93.184.216.34"]})
    site.pages["/robots.txt"] = redirect("http://10.0.0.1/")
    assert "a private address" in refusal(outside, "http://blog.example/bread")
    assert dialled == ["93.184.216.34"]


def test_metadata_stays_shut_on_a_home_server(site: LoopbackSite, fetcher: Fetcher) -> None:
    site.pages["/bread"] = redirect("http://169.254.169.254/latest/meta-data")
    assert "metadata" in refusal(fetcher, site.address("/bread"))


def test_a_proxy_of_the_environment_is_not_used(
    site: LoopbackSite, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    assert fetcher.get(site.address("/bread")).status == 200


# how politely


def test_robots_txt_is_kept_and_read_once(site: LoopbackSite, fetcher: Fetcher) -> None:
    site.pages["/robots.txt"] = loopback.robots(
        "User-agent: *\nAllow: /\n\nUser-agent: Footnote\nDisallow: /private\nSitemap: https://example.com/map.xml"
    )
    site.pages |= {"/private/diary": BREAD, "/to": redirect("/x/../private/diary")}
    for path in ("/private/diary", "/%70rivate/diary", "/x/%2e%2e/private/diary", "/to"):
        assert "robots.txt" in refusal(fetcher, site.address(path))
    assert fetcher.get(site.address("/bread")).status == 200
    assert fetcher.sitemaps(site.address()) == ("https://example.com/map.xml",)
    assert site.requests == ["/robots.txt", "/to", "/bread"]


def test_a_robots_txt_that_cannot_be_read_shuts_the_site_for_now(site: LoopbackSite, fetcher: Fetcher) -> None:
    site.pages["/robots.txt"] = Reply("", 503)
    assert "Try again later" in refusal(fetcher, site.address("/bread"))
    assert "Try again later" in refusal(fetcher, site.address("/bread"))
    assert site.requests == ["/robots.txt"] * 2  # tried twice at once, then not again for a while


@pytest.mark.parametrize(
    "answer", [Reply("", 404), Reply("", 403), Reply("<html>Not here", 200), redirect("/robots.txt")]
)
def test_no_robots_txt_forbids_nothing(site: LoopbackSite, fetcher: Fetcher, answer: Reply) -> None:
    site.pages["/robots.txt"] = answer
    assert fetcher.get(site.address("/bread")).status == 200


def test_a_monstrous_robots_txt_costs_little(site: LoopbackSite, fetcher: Fetcher) -> None:
    names = "".join(f"User-agent: robot{n}\n" for n in range(10_000))
    rules = "".join(f"Disallow: /{n}*a*b*c\n" for n in range(10_000))
    site.pages["/robots.txt"] = loopback.robots(
        f"{names}{rules}User-agent: *\nDisallow: /{'*a' * 1000}\nDisallow: /no\n"
    )
    began = time.monotonic()
    assert fetcher.get(site.address("/bread")).status == 200
    assert "robots.txt" in refusal(fetcher, site.address("/no/entry"))
    assert time.monotonic() - began < 3


def test_a_host_gets_one_request_at_a_time_with_a_pause_between(site: LoopbackSite) -> None:
    fetcher = Fetcher(allow_private=True, delay=0.05)

    def slowly(handler: Any) -> None:
        time.sleep(0.02)
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nBread")

    site.pages |= {f"/{n}": slowly for n in range(6)}
    threads = [threading.Thread(target=fetcher.get, args=(site.address(f"/{n}"),)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert sorted(site.requests) == sorted(["/robots.txt", *(f"/{n}" for n in range(6))])
    assert site.most_at_once == 1
    assert min(later - sooner for sooner, later in zip(site.times, site.times[1:], strict=False)) >= 0.05


def test_a_crawl_delay_is_kept_but_not_an_endless_one(
    site: LoopbackSite, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.pages["/robots.txt"] = loopback.robots("User-agent: *\nCrawl-delay: 0.2\n")
    for _ in range(3):
        fetcher.get(site.address("/bread"))
    assert site.times[2] - site.times[1] >= 0.2
    assert site.times[3] - site.times[2] >= 0.2
    monkeypatch.setattr("rag.incoming.fetch.LONGEST_CRAWL_DELAY", 0.1)
    site.pages["/robots.txt"] = loopback.robots("User-agent: *\nCrawl-delay: 86400\n")
    hasty = Fetcher(allow_private=True, delay=0)
    for _ in range(2):
        assert hasty.get(site.address("/bread")).status == 200


def test_come_back_later_is_obeyed(site: LoopbackSite, fetcher: Fetcher) -> None:
    site.pages["/busy"] = [loopback.later("0.2"), loopback.later("0", 503), BREAD]
    assert fetcher.get(site.address("/busy")).status == 200
    assert site.times[2] - site.times[1] >= 0.2
    assert site.count("/busy") == 3


@pytest.mark.parametrize("as_date", [False, True], ids=["seconds", "date"])
def test_come_back_much_later_is_said_and_kept(site: LoopbackSite, fetcher: Fetcher, as_date: bool) -> None:
    then = time.time() + 3600
    site.pages["/busy"] = loopback.later(formatdate(then, usegmt=True) if as_date else "3600")
    said = refusal(fetcher, site.address("/busy")).split("Try again after ")[1].rstrip(".")
    assert abs(time.mktime(time.strptime(said, "%Y-%m-%d %H:%M")) - then) <= 120
    assert "left alone" in refusal(fetcher, site.address("/bread"))
    assert site.requests == ["/robots.txt", "/busy"]


def test_a_site_that_is_always_busy_is_given_up(site: LoopbackSite, fetcher: Fetcher) -> None:
    site.pages["/busy"] = loopback.later("0.01")
    assert "left alone" in refusal(fetcher, site.address("/busy"))
    assert site.count("/busy") == 4
    site.pages["/odd"] = Reply("", 429, headers={"Retry-After": "tomorrow, perhaps"}, etag="")
    time.sleep(0.02)
    assert "left alone" in refusal(fetcher, site.address("/odd"))


@pytest.mark.parametrize("answer", [loopback.silent, loopback.drip_body, loopback.later("30")])
def test_stopping_takes_no_longer_than_a_blink(site: LoopbackSite, answer: loopback.Answer) -> None:
    fetcher = Fetcher(allow_private=True, delay=0)
    site.pages["/slow"] = answer
    stop = threading.Event()
    threading.Timer(0.1, stop.set).start()
    began = time.monotonic()
    with pytest.raises(Stopped):
        fetcher.get(site.address("/slow"), stop=stop)
    assert time.monotonic() - began < 1


def test_stopping_does_not_wait_for_a_name_to_be_found(fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch) -> None:
    found = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found.wait(20) or [])
    stop = threading.Event()
    threading.Timer(0.1, stop.set).start()
    began = time.monotonic()
    with pytest.raises(Stopped):
        fetcher.get("http://slow.example/", stop=stop)
    fetcher._seconds = 0.5
    assert "longer than 0.5 seconds" in refusal(fetcher, "http://slow.example/")
    assert time.monotonic() - began < 2
    found.set()


# what becomes of it


def page(path: str, media_type: str, data: bytes = b"x", charset: str = "") -> Page:
    return Page(f"https://example.com{path}", 200, data, media_type, charset, "", "")


@pytest.mark.parametrize(
    ("path", "media_type", "name"),
    [
        ("/", "text/html", "index.html"),
        ("/2024/bread", "text/html", "bread.html"),
        ("/bread.html", "text/html", "bread.html"),
        ("/bread.php", "text/html", "bread.php.html"),
        ("/feed/", "application/rss+xml", "feed.xml"),
        ("/sitemap.xml.gz", "application/octet-stream", "sitemap.xml.gz"),
        ("/paper.pdf", "application/octet-stream", "paper.pdf"),
        ("/paper", "application/pdf", "paper.pdf"),
        ("/notes.md", "text/plain", "notes.md"),
        ("/notes", "text/plain", "notes.txt"),
        ("/feed", "application/json", "feed.json"),
        ("/v1.2", "", "v1.2.html"),
        ("/ä%2F..%2Fb", "text/html", "2F..-2Fb.html"),
    ],
)
def test_a_fetched_page_becomes_a_file_whose_ending_says_its_format(path: str, media_type: str, name: str) -> None:
    made = document(page(path, media_type), "https://example.com/source")
    assert (made.name.lstrip("-ä"), made.source) == (name, "https://example.com/source")
    assert made.address == f"https://example.com{path}"


def test_a_character_set_that_only_the_server_named_is_heard() -> None:
    assert (
        document(page("/", "text/html", "käse".encode("cp1252"), "iso-8859-1"), "s").data.decode("utf-8-sig") == "käse"
    )
    assert (
        document(page("/", "text/html", "パン".encode("shift_jis"), "shift_jis"), "s").data.decode("utf-8-sig")
        == "パン"
    )
    for none in ("punycode", "cp9999"):
        assert document(page("/", "text/html", b"xn--", none), "s").data == b"xn--"
