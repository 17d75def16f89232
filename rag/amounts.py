"""Amounts as one reads them: so many posts, so much of a disk."""

from __future__ import annotations


def counted(number: int, name: str) -> str:
    """Say how many there are of something, by its English name for one: "1 post", "1,200 posts"."""
    return f"{number:,} {name}{'s' * (number != 1)}"


def size(count: float) -> str:
    """Say how large something of so many bytes is."""
    if count < 1e6:
        return f"{count / 1e3:.0f} kB"
    if count < 1e7:
        return f"{count / 1e6:.1f} MB"
    return f"{count / 1e6:,.0f} MB" if count < 1e9 else f"{count / 1e9:.1f} GB"
