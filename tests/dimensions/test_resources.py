"""`resources`, globs and plain paths (SPEC 9)."""

import tracemalloc
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wcmatch import glob

from cstp_server.dimensions.glob_inclusion import includes
from cstp_server.dimensions.globs import glob_of, names_of
from tests.dimensions.asking import check, check_all, complaint, tightens

SEED = ["data/**", "logs/*.log"]


def admits(patterns: Any, path: Any) -> bool:
    """Whether a path may be worked on."""
    return check("resources", patterns, resource_requested=path).satisfied


@pytest.mark.parametrize(
    ("patterns", "path", "expected"),
    [
        (SEED, "data/users.json", True),
        (SEED, "secrets/api.key", False),
        (SEED, "logs/app.log", True),
        (SEED, "logs/old/app.log", False),
        (SEED, "data/a/b/c", True),
        (SEED, "data/", True),
        (SEED, "data", False),
        (SEED, "database/x", False),
        (SEED, "x/data/y", False),
        (SEED, "Data/users.json", False),
        (SEED, "logs/app.LOG", False),
        (SEED, "logs/.log", True),
        (SEED, "logs/app.log\n", False),
        (SEED, "logs/app.log/", True),
        (SEED, "data//users.json", True),
        (SEED, "/data/users.json", False),
        (["/data/**"], "/data/x", True),
        (["/data/**"], "data/x", False),
        (["**"], "/etc/passwd", True),
        (["**"], "x", True),
        (["*"], "x", True),
        (["*"], "x/y", False),
        (["*"], "/x", False),
        (["*"], ".hidden", True),
        (["**/*.json"], "x.json", True),
        (["**/*.json"], "a/b/x.json", True),
        (["**/*.json"], "a/b/x.json.exe", False),
        (["a/**/b"], "a/b", True),
        (["a/**/b"], "a/x/y/b", True),
        (["a/**/b"], "ab", False),
        (["a/**/b/**/c"], "a/b/x/b/c", True),
        (["data/?.txt"], "data/a.txt", True),
        (["data/?.txt"], "data/ab.txt", False),
        (["data/?.txt"], "data//.txt", False),
        (["data/[a-c].txt"], "data/b.txt", True),
        (["data/[!a-c].txt"], "data/b.txt", False),
        (["data/[*].txt"], "data/*.txt", True),
        (["data/[*].txt"], "data/x.txt", False),
        (["data/{a,b}"], "data/a", False),
        (["!secrets/**"], "data/x", False),
        (["s3://bucket/**"], "s3://bucket/key", True),
        (["s3://bucket/**"], "s3://bucket-2/key", False),
        (["données/*"], "données/é", True),
        ("data/**", "data/x", True),
        ([], "x", False),
    ],
)
def test_a_resource_is_held_against_the_globs(patterns: Any, path: str, expected: bool) -> None:
    """`*` stays in its folder, `**` crosses them, case matters, and nothing else is special but `?` and brackets."""
    assert admits(patterns, path) is expected


@pytest.mark.parametrize(
    "path",
    [
        "data/../secrets/key", "../x", "..", "data/..", "data/./x", ".", "./x", "data/x/.",
        "data/x\0.json", "data\\..\\secrets", "data\\x", "data/x%00.json", "data/%00",
        "data/%2e%2e/secrets", "data/.%2e/secrets", "data/%2E./secrets", "data/%252e%252e/secrets", "data/%2e/x",
        "data%2fx", "data/..%2fsecrets", "data/..%2Fsecrets", "data/%252fx", "data/%25252fx", "data/x%5cy", "data/x%255Cy",
        "data/%%32%66x", "data/%c0%af", "data/%c0%ae%c0%ae/x", "data/%u002fx", "data/" + "%25" * 20 + "2fx",
        "data/\uff0e\uff0e/x", "data/x\uff0fy", "data/\u2025/x", "data/x\uff3cy", "data/\u2100", "",
        "data/..;/secrets", "data/..;a=b/secrets", "data/..%3b/secrets", "data/.. /secrets", "data/ ../secrets", "data/\n../x", "data/.;/x",
        "data/" + "x" * 5000, "a/" * 257,
    ],
)  # fmt: skip
def test_what_is_not_plain_is_refused(path: str) -> None:
    """Ways up, NUL, backslashes, and slashes and dots in any encoding, even where every path is admitted."""
    result = check("resources", ["**"], resource_requested=path)
    assert not result.satisfied
    assert result.reason.startswith("`resource_requested` must name one resource in its plain form: ")


@pytest.mark.parametrize(
    "path",
    ["data/100%", "data/50%25", "data/a%20b", "data/...", "data/..x", "data/x..", "data/caf%C3%A9", "data/%7Eme", "data/ﬁle", "data/a b"],
)
def test_what_only_looks_odd_is_admitted(path: str) -> None:
    """Percent signs, dots in names, blanks and other letters."""
    assert admits(["data/*"], path)


@pytest.mark.parametrize("path", [5, True, ["data/x"], {"path": "data/x"}, 1.5])
def test_a_resource_is_a_text(path: Any) -> None:
    """Anything else fails."""
    assert check("resources", ["**"], resource_requested=path).reason == "`resource_requested` must be a text"


def test_null_says_that_no_resource_is_asked_for() -> None:
    """It passes, even where nothing is allowed; a key that is missing does not."""
    assert check("resources", [], resource_requested=None).satisfied
    assert check("resources", ["**"]).missing == "resource_requested"


def test_the_reason_names_the_patterns_and_not_the_resource() -> None:
    """Which may be secret; of many patterns it names the first ones."""
    assert check("resources", SEED, resource_requested="secrets/api.key").reason == "the resource matches none of `data/**`, `logs/*.log`"
    many = [f"{letter}/*" for letter in "abcdefgh"]
    assert check("resources", many, resource_requested="x").reason == (
        "the resource matches none of `a/*`, `b/*`, `c/*`, `d/*`, `e/*` and 3 more"
    )
    assert check("resources", [], resource_requested="x").reason == "the resource matches nothing: none is allowed"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (5, "must be a list of globs, at most 1000, such as `data/**` and `logs/*.log`"),
        (None, "must be a list of globs, at most 1000, such as `data/**` and `logs/*.log`"),
        (["data/**", 5], "must be a list of globs, at most 1000, such as `data/**` and `logs/*.log`"),
        ([f"d{number}" for number in range(1001)], "must be a list of globs, at most 1000, such as `data/**` and `logs/*.log`"),
        ([""], "must not have a pattern that is empty, or longer than 1024 characters"),
        (["x" * 1000] * 66, "must have patterns of at most 65536 characters together"),
        (["a/" * 64 + "b"], "must have at most 64 names between slashes in a pattern"),
        (["x" * 1025], "must not have a pattern that is empty, or longer than 1024 characters"),
        (["a\\b"], "must not have a backslash in a pattern: folders end with `/`, and `[*]` is a star"),
        (["data/../x"], "must not have `.` or `..` in a pattern: no resource with them is ever admitted"),
        (["**.json"], "must have `**` alone between slashes, as in `data/**/*.json`"),
        (["a/**/b/**/c/**/d/**/e/**"], "must have at most 4 `**` in a pattern"),
    ],
)
def test_what_is_no_glob_is_refused(value: Any, message: str) -> None:
    """With what would be right."""
    assert complaint("resources", value) == message


def test_four_crossings_are_allowed() -> None:
    """And cost no more than the length of the path."""
    assert admits(["**/a/**/b/**/c/**/d"], "x/a/b/x/c/y/z/d")


def test_no_path_takes_long() -> None:
    """The worst patterns over the longest paths: a matcher that tries everything would not come back from one of them."""
    paths = ["a/" * 256 + "c", "a" * 4000, "/".join(["a" * 200] * 20)]
    patterns = ["**/a/**/a/**/a/**/b", "*a" * 30 + "*b", "**/" + "*a" * 20 + "b", "**/a*a*a*a*b/**/*?*?*?b"]
    assert not any(admits([pattern], path) for pattern, path in product(patterns, paths))


@pytest.mark.parametrize("name", ["a", "?", "*", "[!b]*", "*a*"])
def test_no_list_takes_long(name: str) -> None:
    """As many patterns as there may be, of as many names, over the deepest path: each is walked once, and not from every folder anew."""
    pattern = "/".join(["**", *[name] * 60, "b"])
    patterns = [f"{pattern}{number}" for number in range(min(1000, 65_000 // (len(pattern) + 3)))]
    assert not admits(patterns, "/".join(["a"] * 257))


NAMES = st.text(alphabet="ab.é", min_size=1, max_size=3).filter(lambda name: name not in (".", ".."))
PATHS = st.builds(
    lambda start, names, end: start + "/".join(names) + end,
    st.sampled_from(["", "/"]),
    st.lists(NAMES, min_size=1, max_size=5),
    st.sampled_from(["", "/"]),
)
PIECES = st.one_of(
    NAMES, st.text(alphabet="ab*?.", min_size=1, max_size=4), st.sampled_from(["**", "*", "[ab]", "[!a]*", "?[.]", "[a"])
).filter(lambda piece: piece not in (".", "..") and ("**" not in piece or piece == "**"))
PATTERNS = st.builds(
    lambda start, pieces, end: start + "/".join(pieces) + end,
    st.sampled_from(["", "/"]),
    st.lists(PIECES, min_size=1, max_size=4),
    st.sampled_from(["", "", "/"]),
)


def test_lists_that_callers_bring_along_fill_no_memory() -> None:
    """They go with the call that brought them."""
    assert not admits(["x"], "data")
    tracemalloc.start()
    try:
        for number in range(60):
            assert not admits([f"{number}/{pattern}/" + "x" * 600 for pattern in range(100)], "data")
        assert tracemalloc.get_traced_memory()[0] < 3_000_000
    finally:
        tracemalloc.stop()


@given(PATTERNS, PATHS)
def test_globs_are_those_of_wcmatch(pattern: str, path: str) -> None:
    """Crossing folders here comes to the same as there, where it can take hours."""
    expected = glob.globmatch(path, pattern, flags=glob.GLOBSTAR | glob.DOTGLOB | glob.FORCEUNIX)
    assert glob_of(pattern).matches(names_of(path)) is expected


@given(st.frozensets(PATTERNS, max_size=3), PATTERNS, st.lists(PATHS, min_size=1, max_size=20))
def test_what_includes_a_glob_matches_all_that_it_matches(wide: frozenset[str], narrow: str, paths: list[str]) -> None:
    """Whatever the path."""
    if includes(wide, frozenset({narrow})):
        for path in paths:
            names = names_of(path)
            assert not glob_of(narrow).matches(names) or any(glob_of(pattern).matches(names) for pattern in wide)


SHORT_PATHS = [
    start + "/".join(names) + end
    for size in (1, 2, 3)
    for names in product(["a", "b", "ab", "c"], repeat=size)
    for start in ("", "/")
    for end in ("", "/")
]
PLAIN_PATTERNS = st.builds("/".join, st.lists(st.sampled_from(["a", "b", "*", "a*", "?", "**"]), min_size=1, max_size=3))


@given(st.frozensets(PLAIN_PATTERNS, max_size=2), PLAIN_PATTERNS)
def test_inclusion_is_told_exactly(wide: frozenset[str], narrow: str) -> None:
    """Without brackets there is no doubt: where it says no, some path is the reason, and for patterns this short a short one."""
    if not includes(wide, frozenset({narrow})):
        counterexamples = [
            path
            for path in (
                *SHORT_PATHS,
                "a/a/a/a",
                "a/c/c/b",
                "c/c/c/c",
                "ac/cc/ca",
                "/a/c/c/c/c",
                "c/a/c/b/c",
                "a/c/a/c/",
                "ccc",
                "acc",
                "/acc/c",
                "/",
            )
            if glob_of(narrow).matches(names_of(path)) and not any(glob_of(pattern).matches(names_of(path)) for pattern in wide)
        ]
        assert counterexamples, (wide, narrow)


@pytest.mark.parametrize(
    ("parent", "child", "expected"),
    [
        (["data/**"], ["data/**"], True),
        (["data/**", "logs/*"], ["logs/*"], True),
        (["data/**"], ["data/users.json"], True),
        (["data/**"], ["data/x/*.json"], True),
        (["data/**"], ["data/*/y", "data/**/z"], True),
        (["data/**"], ["data"], False),
        (["data/**"], ["database/**"], False),
        (["data/**"], ["**"], False),
        (["data/*"], ["data/**"], False),
        (["data/*"], ["data/*.json"], True),
        (["data/*.json"], ["data/*"], False),
        (["data/*.json"], ["data/a*.json"], True),
        (["data/*.json"], ["data/*.json.bak"], False),
        (["data/?.txt"], ["data/a.txt"], True),
        (["data/?.txt"], ["data/*.txt"], False),
        (["**"], ["/etc/**", "x"], True),
        (["**/*.json"], ["a/**/b/x.json"], True),
        (["a/*", "a/*/**"], ["a/**/b"], True),
        (["a/**", "b"], ["a/x", "b", "c"], False),
        (["data/[ab].txt"], ["data/[ab].txt"], True),
        (["data/*"], ["data/[ab].txt"], True),
        (["data/[ab].txt"], ["data/a.txt"], True),
        (["data/[ab]*"], ["data/a*"], False),
        (["data/x"], [], True),
        ([], ["data/x"], False),
        ([], [], True),
    ],
)
def test_a_narrower_list_tightens(parent: Any, child: Any, expected: bool) -> None:
    """By what the patterns match, not by how they look; only a parent's brackets are not looked into."""
    assert tightens("resources", parent, child) is expected


def test_inclusion_gives_up_before_it_takes_long() -> None:
    """It is no then: patterns that are made to be hard are not worth minutes."""
    hard = "*a" + "?" * 400
    assert not tightens("resources", [hard, "*b" + "?" * 400], ["*a" + "?" * 399 + "*"])
    assert not tightens("resources", [hard], [f"{number}*a" + "?" * 401 for number in range(150)])
    assert not tightens("resources", [f"*{chr(0x4E00 + number)}*x" for number in range(300)], ["*a*b*c*d*"])
    assert not tightens("resources", ["x" * 60 + str(number) for number in range(999)] + ["**"], [f"*{number}" for number in range(1000)])
    assert tightens("resources", [hard], [hard])


def test_composed_lists_are_all_to_be_matched() -> None:
    """One pattern of each."""
    both = (["data/**", "logs/**"], ["**/*.json"])
    assert check_all("resources", *both, resource_requested="data/x.json").satisfied
    assert not check_all("resources", *both, resource_requested="data/x.csv").satisfied
    assert not check_all("resources", *both, resource_requested="x.json").satisfied
