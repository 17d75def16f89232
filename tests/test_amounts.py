"""Amounts as one reads them."""

from rag.amounts import counted, size


def test_things_are_counted_by_the_name_for_one() -> None:
    assert [counted(number, "post") for number in (0, 1, 2, 1200)] == ["0 posts", "1 post", "2 posts", "1,200 posts"]


def test_sizes_have_the_unit_that_fits() -> None:
    sizes = [size(count) for count in (0, 800, 256_000, 1_340_000, 98_000_000, 999_000_000, 1_340_000_000)]
    assert sizes == ["0 kB", "1 kB", "256 kB", "1.3 MB", "98 MB", "999 MB", "1.3 GB"]
