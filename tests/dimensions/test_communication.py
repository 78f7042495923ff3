"""`communication`: hosts are parsed, and compared as a whole (SPEC 9)."""

from typing import Any

import pytest

from cstp_server.dimensions.built_in import built_in
from cstp_server.dimensions.internal_hosts import read_domains
from cstp_server.domain.constraints import CheckResult
from tests.dimensions.asking import check, check_all, check_with, complaint, tightens

UNREADABLE = CheckResult(satisfied=False, reason="`communication_target` must name one host, in a form that every program reads the same")
NO_DOMAINS = (
    "https://good.com", "good.com:443", "good.com/x", "a@good.com", "*", "*.", "a.*.com", "**.com", "good com", "*.127.1", "good..com", "?",
)  # fmt: skip
GOOD = {
    "mode": "allowed_domains",
    "allowed_domains": ["good.com", "*.good.org", "bücher.example", "203.0.113.7", "[2001:db8::7]", "Upper.Example."],
}


def admits(value: Any, target: Any) -> bool:
    """Whether a target may be talked to."""
    return check("communication", value, communication_target=target).satisfied


def internal(target: str, *domains: str) -> bool:
    """Whether a target is one's own, where these domains are."""
    dimension = built_in(read_domains(domains))["communication"]
    return check_with(dimension, "internal_only", communication_target=target).satisfied


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("good.com", True),
        ("GOOD.com", True),
        ("good.com.", True),
        ("good.com:8443", True),
        ("https://good.com", True),
        ("https://good.com/", True),
        ("https://GOOD.COM:443/path?query=x@y#fragment", True),
        ("https://GOOD.COM:443/path/a@b?query#fragment", True),
        ("HTTPS://good.com./v1", True),
        ("//good.com/x", True),
        ("good.com/x", True),
        ("ftp://user@good.com/x", True),
        ("https://user:secret@good.com", True),
        ("mailto:a@good.com", True),
        ("MAILTO:a@good.com", True),
        ("a@good.com", True),
        ("wss://good.com", True),
        ("evil.com", False),
        ("notgood.com", False),
        ("good.com.evil.com", False),
        ("sub.good.com", False),
        ("good.co", False),
        ("https://evil.com/good.com", False),
        ("https://evil.com/?u=https://good.com", False),
        ("https://evil.com#good.com", False),
        ("evil.com/x://good.com", False),
        ("https://good.com@evil.com", False),
        ("https://good.com:80@evil.com", False),
        ("https://good.com%2f@evil.com", False),
        ("https://evil.com%2f@good.com", False),
        ("good.com@evil.com", False),
        ("a.good.org", True),
        ("a.b.good.org", True),
        ("good.org", False),
        ("agood.org", False),
        ("a.good.org.evil.com", False),
        ("bücher.example", True),
        ("BÜCHER.example", True),
        ("xn--bcher-kva.example", True),
        ("XN--BCHER-KVA.EXAMPLE", True),
        ("bu\u0308cher.example", True),
        ("bucher.example", False),
        ("b\u00fcch\u0435r.example", False),
        ("good\u3002com", True),
        ("\uff47ood.com", True),
        ("g\u043e\u043ed.com", False),
        ("upper.example", True),
        ("203.0.113.7", True),
        ("203.0.113.7:80", True),
        ("0xcb.0x0.0x71.0x7", True),
        ("3405803783", True),
        ("::ffff:203.0.113.7", True),
        ("[::ffff:cb00:7107]:80", True),
        ("203.0.113.70", False),
        ("[2001:db8::7]", True),
        ("2001:DB8:0:0::7", True),
        ("http://[2001:db8::7]:8080/", True),
        ("[2001:db8::8]", False),
    ],
)
def test_hosts_are_compared_as_a_whole(target: str, expected: bool) -> None:
    """Not by substrings, whatever stands around them, however they are written."""
    assert admits(GOOD, target) is expected


@pytest.mark.parametrize(
    "target",
    [
        "", " ", " good.com", "good.com ", "good.com\n", "go\tod.com", "good.com\0", "good\u00a0.com", "good .com",
        "https://good.com\\@evil.com", "https:\\\\good.com", "https:/\\good.com", "good.com\\evil.com",
        "https://a@b@good.com", "a@b@good.com", "https://good%2ecom", "https://%67ood.com", "https://good.com%00.evil.com", "good.com%20",
        "https:good.com", "https:/good.com", "https:///good.com", "https://", "://good.com", "http://:80", "/good.com", "?good.com", "@",
        "https://good.com?@evil.com", "https://good.com#@evil.com",
        "good.com:", "good.com:http", "good.com:99999", "good.com:80:80", "https://good.com:80:80", "http://[good.com]", "[good.com",
        "http://[2001:db8::7", "http://2001:db8::7/", "http://[2001:db8::7]x", "[fe80::1%25eth0]", "fe80::1%eth0", "[v1.x]",
        "good..com", ".good.com", "good.com..", "-good.com", "good-.com", "good!.com", "g*od.com", "*.good.org", "good,com",
        "a" * 64 + ".com", ".".join(["a" * 60] * 5),
        "xn--a.example", "xn--.example", "good.com\u200e", "good.com\uff0fx", "\u2100.com", "good.com\uff20evil.com",
        "1.2.3.4.5", "256.1.1.1", "1.2.3.256", "4294967296", "good.1", "good.0x7f", "09.0.0.1", "1..2", "0x100.1.1.1",
        "mailto:", "mailto:good.com", "mailto:a@good.com,b@evil.com", "mailto:a@good.com?cc=b@evil.com", "mailto:a@good.com;b@evil.com",
        "mailto:<a@good.com>", "Somebody <a@good.com>", "tel:+4930123", "javascript:alert(1)", "data:text/html,x", "file:///etc/passwd",
        "git@good.com:owner/repository", "jdbc:postgresql://good.com/x", "mongodb://good.com,evil.com/x", "https://good.com" + "/x" * 5000,
    ],
)  # fmt: skip
def test_what_programs_read_differently_is_no_target(target: str) -> None:
    """Nor is what names no host, or several."""
    assert check("communication", GOOD, communication_target=target) == UNREADABLE
    assert check("communication", "internal_only", communication_target=target) == UNREADABLE


@pytest.mark.parametrize("target", [5, True, ["good.com"], {"host": "good.com"}, 127.1])
def test_a_target_is_a_text(target: Any) -> None:
    """Anything else fails."""
    assert check("communication", GOOD, communication_target=target).reason == (
        "`communication_target` must be a text: a URL, a host, or an e-mail address"
    )


@pytest.mark.parametrize("value", ["none", "internal_only", {"mode": "none"}, {"mode": "allowed_domains", "allowed_domains": []}, GOOD])
def test_null_says_that_nobody_is_talked_to(value: Any) -> None:
    """It passes, and a key that is missing does not."""
    assert check("communication", value, communication_target=None).satisfied
    assert check("communication", value).missing == "communication_target"


@pytest.mark.parametrize("value", ["none", {"mode": "none"}, {"mode": "allowed_domains", "allowed_domains": []}])
def test_none_admits_nobody(value: Any) -> None:
    """Not even oneself."""
    assert check("communication", value, communication_target="localhost") == CheckResult(satisfied=False, reason="nobody may be talked to")


@pytest.mark.parametrize(
    "target",
    [
        "api.internal.company.com", "https://api.internal.company.com/v1", "a.b.internal.c.d", "localhost", "LOCALHOST", "localhost.",
        "localhost:8080",
        "db.internal", "printer.local", "nas.lan", "x.y.LAN.", "user@mail.internal",
        "127.0.0.1", "127.1", "127.0.0.1.", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001", "0X7F.0.0.1",
        "http://127.1:80/",
        "127.255.255.254", "10.0.0.5", "10.255.255.255", "0xa.0.0.5", "167772165", "012.5", "172.16.0.1", "172.31.255.255", "192.168.0.1",
        "3232235521",
        "::1", "[::1]:80", "http://[::1]/", "0:0:0:0:0:0:0:1", "fd00::1", "[fc00::1]", "fdff:ffff::1",
        "::ffff:10.0.0.1", "[::ffff:a00:1]", "::FFFF:127.0.0.1", "0:0:0:0:0:ffff:c0a8:1", "\uff11\uff12\uff17.0.0.1", "\uff4cocalhost",
    ],
)  # fmt: skip
def test_one_s_own_hosts(target: str) -> None:
    """Private addresses in every spelling, `localhost`, names that are never public, and those with a label `internal`."""
    assert internal(target)


@pytest.mark.parametrize(
    "target",
    [
        "external.api.com", "internal.evil.com", "internal", "local", "lan", ".internal", "notinternal", "db-internal",
        "my-internal.company.com",
        "api.internals.company.com", "x.local.evil.com", "x.lan.evil.com",
        "localhost.evil.com", "evil-localhost", "127.0.0.1.evil.com",
        "10.0.0.5.nip.io",
        "https://api.internal.company.com@evil.com", "evil.com/api.internal.company.com", "evil.com?host=localhost",
        "8.8.8.8", "11.0.0.1", "126.255.255.255", "128.0.0.1", "172.15.255.255", "172.32.0.1", "192.167.255.255", "192.169.0.1",
        "134744072",
        "169.254.169.254", "2852039166", "0.0.0.0",  # noqa: S104  nobody binds to it here
        "0", "100.64.0.1", "255.255.255.255", "224.0.0.1",
        "::", "fe80::1", "ff02::1", "2001:db8::1", "::10.0.0.1", "::ffff:8.8.8.8",
        "::ffff:169.254.169.254",
        "64:ff9b::10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "2002:7f00:1::", "2001:0:a00:1::",
    ],
)  # fmt: skip
def test_hosts_of_others(target: str) -> None:
    """Public, link-local and translated addresses, and names that only look like one's own."""
    assert not internal(target)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("corp.example", True),
        ("api.corp.example", True),
        ("a.b.corp.example", True),
        ("notcorp.example", False),
        ("corp.example.evil.com", False),
        ("only-below.example", False),
        ("x.only-below.example", True),
        ("münchen.example", True),
        ("x.xn--mnchen-3ya.example", True),
        ("api.internal.company.com", False),
        ("localhost", True),
        ("x.internal", True),
        ("10.1.2.3", True),
    ],
)
def test_the_policy_s_own_domains(target: str, expected: bool) -> None:
    """They and what is below them; the label `internal` says nothing once they are given."""
    assert internal(target, "Corp.Example", "*.only-below.example", "münchen.example") is expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("all", "must be one of `none`, `internal_only`, `allowed_domains`, or a mapping with `mode`"),
        ("internal", "must be one of `none`, `internal_only`, `allowed_domains`, or a mapping with `mode`, did you mean `internal_only`?"),
        (None, "must be one of `none`, `internal_only`, `allowed_domains`, or a mapping with `mode`"),
        (["good.com"], "must be one of `none`, `internal_only`, `allowed_domains`, or a mapping with `mode`"),
        ("allowed_domains", "must be a mapping with `mode` and `allowed_domains` for that mode"),
        ({"mode": "allowed_domains"}, "must have as `allowed_domains` a list of texts, at most 1000"),
        ({"mode": "allowed_domains", "allowed_domains": "good.com"}, "must have as `allowed_domains` a list of texts, at most 1000"),
        ({"allowed_domains": ["good.com"]}, "must have as `mode` one of `none`, `internal_only`, `allowed_domains`"),
        ({"mode": "none", "allowed_domains": []}, "must not have `allowed_domains` with the mode `none`"),
        ({"mode": "none", "domains": []}, "must have no key but `mode`, `allowed_domains`, did you mean `allowed_domains`?"),
        *(
            (
                {"mode": "allowed_domains", "allowed_domains": [domain]},
                "must have hosts alone in `allowed_domains`, such as `api.example.org` or `*.example.org`",
            )
            for domain in NO_DOMAINS
        ),
    ],
)  # fmt: skip
def test_what_is_no_mode_is_refused(value: Any, message: str) -> None:
    """With what would be right."""
    assert complaint("communication", value) == message


@pytest.mark.parametrize("domain", ["10.0.0.1", "https://x.example", "x.example:80", "", "*", "a b", "x..y", "*.*.x"])
def test_what_is_no_domain_of_one_s_own_is_refused(domain: str) -> None:
    """Addresses among them: private ones are internal anyway."""
    with pytest.raises(ValueError, match=r"^(is|must|has) "):
        read_domains([domain])


def test_composed_constraints_all_hold() -> None:
    """Hosts that are in all lists, and one's own where one of them says so."""
    wide = {"mode": "allowed_domains", "allowed_domains": ["*.corp.internal", "good.com", "*.org"]}
    narrow = {"mode": "allowed_domains", "allowed_domains": ["api.corp.internal", "*.good.org", "evil.com"]}
    for target, expected in {"api.corp.internal": True, "x.good.org": True, "good.com": False, "evil.com": False, "x.org": False}.items():
        assert check_all("communication", wide, narrow, communication_target=target).satisfied is expected
    assert not check_all("communication", wide, narrow, "internal_only", communication_target="x.good.org").satisfied
    assert check_all("communication", wide, narrow, "internal_only", communication_target="api.corp.internal").satisfied
    assert not check_all("communication", wide, "none", communication_target="good.com").satisfied


@pytest.mark.parametrize(
    ("parent", "child", "expected"),
    [
        (GOOD, GOOD, True),
        (GOOD, "none", True),
        ("none", GOOD, False),
        ("none", "none", True),
        ("internal_only", "none", True),
        ("internal_only", GOOD, False),
        (GOOD, "internal_only", False),
        (GOOD, {"mode": "allowed_domains", "allowed_domains": ["GOOD.com", "a.good.org", "*.b.good.org"]}, True),
        (GOOD, {"mode": "allowed_domains", "allowed_domains": ["good.com", "good.org"]}, False),
        (GOOD, {"mode": "allowed_domains", "allowed_domains": ["*.org"]}, False),
        (
            "internal_only",
            {"mode": "allowed_domains", "allowed_domains": ["db.internal", "10.0.0.5", "*.internal.company.com", "*.lan"]},
            True,
        ),
        ("internal_only", {"mode": "allowed_domains", "allowed_domains": ["internal.company.com"]}, False),
        ("internal_only", {"mode": "allowed_domains", "allowed_domains": ["8.8.8.8"]}, False),
    ],
)
def test_fewer_hosts_tighten(parent: Any, child: Any, expected: bool) -> None:
    """A list of one's own hosts is within `internal_only`."""
    assert tightens("communication", parent, child) is expected
