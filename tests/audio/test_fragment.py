"""Parts of recordings: the same samples whether a part is named or cut by hand, and identities that tell them apart."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from earmark.audio.clip import Clip
from earmark.audio.decode import decode
from earmark.audio.fragment import Span, cut, cut_blocks, fragment, split_fragment
from earmark.cache.entries import FeatureCache
from earmark.errors import TooShortError
from earmark.features.extractor import Extractor
from earmark.features.group import feature_group
from earmark.features.item import Item
from earmark.inference.inputs import expand_inputs

RATE = 8_000


@pytest.fixture
def song(tmp_path):
    path = tmp_path / "song.wav"
    soundfile.write(path, np.random.default_rng(1).uniform(-1, 1, 5 * RATE).astype(np.float32), RATE)
    return path


@feature_group("test.ends", columns=("first", "last", "length_s"), sample_rate=RATE)
def ends(clip):
    return [clip.samples[0], clip.samples[-1], clip.duration_s]


@given(st.lists(st.integers(0, 900), max_size=12), st.integers(0, 2000), st.integers(1, 3000))
def test_blocks_are_cut_as_the_whole_is(sizes, first, length):
    samples = np.arange(sum(sizes), dtype=np.float32)
    blocks = np.split(samples, np.cumsum(sizes)[:-1]) if sizes else []
    span = Span(first / 1000, (first + length) / 1000)

    def of_blocks():
        return np.concatenate([*cut_blocks(iter(blocks), span, sample_rate=1000), np.empty(0, np.float32)])

    if first >= len(samples):
        with pytest.raises(TooShortError):
            of_blocks()
    else:
        assert np.array_equal(of_blocks(), cut(Clip(samples, 1000), span).samples)


@given(st.floats(0, 1e5), st.floats(0.001, 1e4))
def test_a_written_fragment_is_read_back(start_s, length_s):
    uri = fragment("a b.mp3", start_s, start_s + length_s)
    name, span = split_fragment(uri)
    assert name == "a b.mp3"
    assert span.start_s == pytest.approx(start_s, abs=1e-6)
    assert span.end_s == pytest.approx(start_s + length_s, abs=1e-6)
    assert fragment(name, span.start_s, span.end_s) == uri


@pytest.mark.parametrize(
    "uri", ["song.mp3", "song.mp3#t=4,4", "song.mp3#t=5,4", "song.mp3#t=-1,4", "s#t=1,2.wav"]
)
def test_what_is_no_part_is_a_name(uri):
    assert split_fragment(uri) == (uri, None)


def test_a_file_that_bears_such_a_name_is_itself(tmp_path):
    path = tmp_path / "take#t=1,2"
    path.touch()
    assert split_fragment(str(path)) == (str(path), None)


def test_parts_have_the_samples_of_the_whole(song):
    whole = decode(song, sample_rate=RATE).samples
    uris = [fragment(str(song), start, start + 2) for start in (0, 1.5, 4)]
    table = Extractor([ends], workers=0).run([Item(uri, uri) for uri in uris])
    expected = [
        [whole[0], whole[2 * RATE - 1], 2],
        [whole[12_000], whole[27_999], 2],
        [whole[32_000], whole[-1], 1],
    ]
    np.testing.assert_array_equal(table.values, np.array(expected, dtype=np.float32))


def test_a_recording_is_decoded_once_for_its_parts_and_again_when_it_changes(song, monkeypatch):
    import earmark.features.compute as compute

    decoded = []
    monkeypatch.setattr(compute, "decode", lambda uri, **how: decoded.append(uri) or decode(uri, **how))
    items = [Item(str(start), fragment(str(song), start, start + 1)) for start in range(4)]
    Extractor([ends], workers=0).run(items)
    assert decoded == [str(song)]
    soundfile.write(song, np.zeros(6 * RATE, dtype=np.float32), RATE)
    table = Extractor([ends], workers=0).run(items)
    assert decoded == [str(song)] * 2
    assert not table.values[:, :2].any()


def test_each_part_has_an_identity_that_follows_the_content(song, tmp_path):
    copy = tmp_path / "copy.wav"
    copy.write_bytes(song.read_bytes())
    with FeatureCache(tmp_path / "cache") as cache:
        whole, part, other, of_copy = (
            cache.identify(uri)
            for uri in (song, fragment(str(song), 0, 2), fragment(str(song), 0, 3), fragment(str(copy), 0, 2))
        )
    assert len({whole, part, other}) == 3
    assert part == of_copy


def test_a_part_behind_the_end_fails_with_its_place(song):
    table = Extractor([ends], workers=0).run([Item("x", fragment(str(song), 9, 12))])
    assert table.failures[0].kind == "TooShortError"
    assert "ends at 5.0 s" in table.failures[0].error
    with pytest.raises(TooShortError):
        cut(Clip(np.zeros(10, np.float32), 10), Span(1, 2))


def test_parts_can_be_named_as_inputs(song):
    uri = fragment(str(song), 1, 2)
    assert list(expand_inputs([uri, str(song)])) == [uri, str(song)]
