"""SipHash-2-4 against its authors' reference vectors, and what a keyed tag must do."""
from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinbeat_core.errors import SettingsError
from twinbeat_core.siphash import siphash24

# The reference vectors: key 00..0f, message 00..n-1 for n = 0..63, tag as little-endian bytes.
VECTORS = (
    "310e0edd47db6f72", "fd67dc93c539f874", "5a4fa9d909806c0d", "2d7efbd796666785",
    "b7877127e09427cf", "8da699cd64557618", "cee3fe586e46c9cb", "37d1018bf50002ab",
    "6224939a79f5f593", "b0e4a90bdf82009e", "f3b9dd94c5bb5d7a", "a7ad6b22462fb3f4",
    "fbe50e86bc8f1e75", "903d84c02756ea14", "eef27a8e90ca23f7", "e545be4961ca29a1",
    "db9bc2577fcc2a3f", "9447be2cf5e99a69", "9cd38d96f0b3c14b", "bd6179a71dc96dbb",
    "98eea21af25cd6be", "c7673b2eb0cbf2d0", "883ea3e395675393", "c8ce5ccd8c030ca8",
    "94af49f6c650adb8", "eab8858ade92e1bc", "f315bb5bb835d817", "adcf6b0763612e2f",
    "a5c91da7acaa4dde", "716595876650a2a6", "28ef495c53a387ad", "42c341d8fa92d832",
    "ce7cf2722f512771", "e37859f94623f3a7", "381205bb1ab0e012", "ae97a10fd434e015",
    "b4a31508beff4d31", "81396229f0907902", "4d0cf49ee5d4dcca", "5c73336a76d8bf9a",
    "d0a704536ba93e0e", "925958fcd6420cad", "a915c29bc8067318", "952b79f3bc0aa6d4",
    "f21df2e41d4535f9", "87577519048f53a9", "10a56cf5dfcd9adb", "eb75095ccd986cd0",
    "51a9cb9ecba312e6", "96afadfc2ce666c7", "72fe52975a4364ee", "5a1645b276d592a1",
    "b274cb8ebf87870a", "6f9bb4203de7b381", "eaecb2a30b22a87f", "9924a43cc1315724",
    "bd838d3aafbf8db7", "0b1a2a3265d51aea", "135079a3231ce660", "932b2846e4d70666",
    "e1915f5cb1eca46c", "f325965ca16d629f", "575ff28e60381be5", "724506eb4c328a95",
)
KEY = bytes(range(16))


def test_there_is_a_vector_for_every_length() -> None:
    assert len(VECTORS) == 64


@pytest.mark.parametrize("size", range(64))
def test_reference_vector(size: int) -> None:
    assert siphash24(KEY, bytes(range(size))).to_bytes(8, "little").hex() == VECTORS[size]


@settings(max_examples=100, deadline=None)
@given(st.binary(min_size=1, max_size=100), st.data())
def test_every_bit_of_message_and_key_counts(message: bytes, data: st.DataObject) -> None:
    bit = data.draw(st.integers(0, 8 * len(message) - 1))
    changed = bytearray(message)
    changed[bit // 8] ^= 1 << bit % 8
    other_key = bytearray(KEY)
    other_key[bit % 16] ^= 1 << bit % 8
    tag = siphash24(KEY, message)
    assert siphash24(KEY, bytes(changed)) != tag
    assert siphash24(bytes(other_key), message) != tag
    assert siphash24(KEY, message + b"\0") != tag


def test_length_beyond_one_byte_is_taken_modulo_256_like_the_reference() -> None:
    assert siphash24(KEY, bytes(256)) != siphash24(KEY, b"")
    assert 0 <= siphash24(KEY, bytes(100_000)) < 1 << 64


@pytest.mark.parametrize("size", [0, 15, 17, 32])
def test_key_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(SettingsError, match=f"key: {size} bytes; SipHash-2-4 takes 16"):
        siphash24(bytes(size), b"")


def test_none_is_refused() -> None:
    with pytest.raises(TypeError):
        siphash24(None, b"")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        siphash24(KEY, None)  # type: ignore[arg-type]
